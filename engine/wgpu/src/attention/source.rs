//! The source of the kernels of attention, written out for a kind.
//!
//! Every block of rows lies in workgroup memory with its columns outermost and four rows in a
//! vector; columns are an array of arrays, so that most indices are constants and the others
//! are checked once for all steps of a loop (see the products). An invocation (x, y) has the
//! four rows 4 y .. of the workgroup's side. Of the scores it computes some neighbouring
//! columns, and of what is summed up over the other side every X-th column from x on, X being
//! the number of invocations that share its rows.

use super::{Kind, Pass, SIZE};
use crate::element_wise::{self, put};
use std::fmt::Write;

/// What stands for the score of a key that is not seen: less than any score.
const HIDDEN: &str = "-1e30";

/// The kernel in WGSL. Bindings: what is read, what is written, the extents.
pub(crate) fn source(kind: Kind) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match kind.pass {
        Pass::Forward => write_forward(&mut text, kind),
        Pass::Means => write_means(&mut text, kind),
        Pass::Queries | Pass::Keys => write_backward(&mut text, kind),
    };
    text
}

/// The declarations of matrices: `[name, element, access]`.
fn write_bindings(
    w: &mut String,
    third: &str,
    read: &[(&str, &str)],
    written: &[&str],
) -> std::fmt::Result {
    writeln!(
        w,
        "struct Extents {{ seq: u32, heads: u32, {third}: u32, unused: u32 }}"
    )?;
    let mut binding = 0..;
    let mut next = || binding.next().unwrap_or(0);
    for (name, element) in read {
        let at = next();
        writeln!(
            w,
            "@group(0) @binding({at}) var<storage, read> {name}: array<{element}>;"
        )?;
    }
    for name in written {
        let at = next();
        writeln!(
            w,
            "@group(0) @binding({at}) var<storage, read_write> {name}: array<f32>;"
        )?;
    }
    writeln!(
        w,
        "@group(0) @binding({}) var<uniform> extents: Extents;",
        next()
    )
}

fn write_means(w: &mut String, kind: Kind) -> std::fmt::Result {
    let vectors = kind.head_dim / 4;
    let read = [("out", "vec4<f32>"), ("dout", "vec4<f32>")];
    write_bindings(w, "count", &read, &["means"])?;
    write!(
        w,
        "@compute @workgroup_size({size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) me: u32) {{
    let i = {i};
    if (i >= extents.count) {{ return; }}
    let t = i % extents.seq;
    let head = i / extents.seq % extents.heads;
    let sequence = i / extents.seq / extents.heads;
    let at = ((sequence * extents.seq + t) * extents.heads + head) * {vectors}u;
    var sum = 0.0;
    for (var c = 0u; c < {vectors}u; c++) {{ sum += dot(out[at + c], dout[at + c]); }}
    means[i] = sum;
}}
",
        size = element_wise::SIZE,
        i = element_wise::number(),
    )
}

/// The extents of a kernel's blocks.
#[derive(Clone, Copy)]
struct Blocks {
    kind: Kind,
    /// Rows of a block.
    rows: usize,
    /// Invocations that share rows: X.
    across: usize,
    /// Neighbouring columns of scores of an invocation.
    scores: usize,
    /// Sums of an invocation for each of its rows.
    sums: usize,
}

impl Blocks {
    fn new(kind: Kind) -> Self {
        let (rows, across) = (kind.block, kind.across());
        Self {
            kind,
            rows,
            across,
            scores: rows / across,
            sums: kind.head_dim / across,
        }
    }

    /// Blocks in workgroup memory, and the functions that read matrices.
    fn write_start(&self, w: &mut String, tiles: &[&str]) -> std::fmt::Result {
        let Self { kind, across, .. } = *self;
        for (tile, columns) in tiles.iter().zip(kind.tiles()) {
            writeln!(
                w,
                "var<workgroup> {tile}: array<array<array<vec4<f32>, {}>, {across}>, {}>;",
                self.rows / 4,
                columns.div_ceil(across)
            )?;
        }
        for (name, parts) in [("qkv", 3), ("dout", 1)] {
            if name == "dout" && kind.pass == Pass::Forward {
                continue;
            }
            let row =
                |i| format!("{name}[(first + min(t + {i}u, extents.seq - 1u)) * width + column]");
            writeln!(
                w,
                "fn rows_{name}(first: u32, t: u32, column: u32) -> mat4x4<f32> {{
    let width = {parts}u * extents.heads * {vectors}u;
    return mat4x4<f32>({}, {}, {}, {});
}}",
                row(0),
                row(1),
                row(2),
                row(3),
                vectors = kind.head_dim / 4,
            )?;
        }
        if kind.rotary {
            let half = kind.head_dim / 2;
            writeln!(w, "struct Halves {{ low: mat4x4<f32>, high: mat4x4<f32> }}")?;
            writeln!(
                w,
                "fn turned(x: Halves, t: u32, column: u32) -> Halves {{
    var y: Halves;"
            )?;
            for i in 0..4 {
                writeln!(
                    w,
                    "    {{
        let at = min(t + {i}u, extents.seq - 1u) * {vectors}u + column;
        let cosine = tables[at];
        let sine = tables[extents.positions * {vectors}u + at];
        y.low[{i}] = x.low[{i}] * cosine - x.high[{i}] * sine;
        y.high[{i}] = x.low[{i}] * sine + x.high[{i}] * cosine;
    }}",
                    vectors = half / 4
                )?;
            }
            writeln!(w, "    return y;\n}}")?;
            // The same matrix of single elements.
            writeln!(
                w,
                "fn angle(sines: u32, t: u32, column: u32) -> f32 {{
    let at = (sines * extents.positions + t) * {half}u + column;
    return tables[at / 4u][at % 4u];
}}"
            )?;
        }
        Ok(())
    }

    /// The beginning of the kernel.
    fn write_main(&self, w: &mut String, own: &str) -> std::fmt::Result {
        write!(
            w,
            "@compute @workgroup_size({SIZE})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) me: u32,
    @builtin(num_workgroups) groups: vec3<u32>) {{
    let y = me % {y}u;
    let x = me / {y}u;
    let seq = extents.seq;
    let head = group.x;
    let first = group.z * seq;
    let lse_at = (group.z * extents.heads + head) * seq;
    // The longest rows of blocks first.
    let own = {own} * {rows}u;
    let row = vec4<u32>(own + 4u * y) + vec4<u32>(0u, 1u, 2u, 3u);
",
            y = self.rows / 4,
            rows = self.rows,
        )
    }

    /// Brings the block of rows from `start` on to `tile`: part 0, 1, 2 of the projections, or
    /// the gradient of the output.
    fn write_load(
        &self,
        w: &mut String,
        tile: &str,
        (name, part): (&str, usize),
        start: &str,
    ) -> std::fmt::Result {
        let (head_dim, groups, across) = (self.kind.head_dim, self.rows / 4, self.across);
        let half = head_dim / 8;
        let turns = self.kind.rotary && name == "qkv" && part < 2;
        write!(
            w,
            "    for (var at = me; at < {count}u; at += {SIZE}u) {{
        let rows = at % {groups}u;
        let column = at / {groups}u;
        let t = {start} + 4u * rows;
        let from = ({part}u * extents.heads + head) * {vectors}u + column;
        ",
            count = groups * half,
            vectors = head_dim / 4,
        )?;
        let [low, high] = [0, half].map(|right| format!("rows_{name}(first, t, from + {right}u)"));
        match turns {
            true => writeln!(
                w,
                "let halves = turned(Halves({low}, {high}), t, column);
        let low = transpose(halves.low); let high = transpose(halves.high);"
            )?,
            false => writeln!(
                w,
                "let low = transpose({low}); let high = transpose({high});"
            )?,
        }
        let scale = match (name, part) {
            ("qkv", 0) => format!(" * {:?}", self.scale()),
            _ => String::new(),
        };
        for (value, right) in [("low", 0), ("high", half)] {
            writeln!(
                w,
                "        {{ let to = 4u * (column + {right}u);
        let round = to / {across}u; let place = to % {across}u;"
            )?;
            for i in 0..4 {
                writeln!(
                    w,
                    "        {tile}[round][place + {i}u][rows] = {value}[{i}]{scale};"
                )?;
            }
            writeln!(w, "        }}")?;
        }
        writeln!(w, "    }}")
    }

    /// Factor of the scores.
    fn scale(&self) -> f32 {
        (1.0 / (self.kind.head_dim as f64).sqrt()) as f32
    }

    /// `name_j = sum over the columns of own times other` for the scores of the invocation.
    fn write_scores(&self, w: &mut String, factors: &[[&str; 3]]) -> std::fmt::Result {
        let count = self.scores;
        for [name, ..] in factors {
            for j in 0..count {
                writeln!(w, "    var {name}_{j} = vec4<f32>();")?;
            }
        }
        writeln!(
            w,
            "    for (var round = 0u; round < {}u; round++) {{",
            self.sums
        )?;
        for place in 0..self.across {
            writeln!(w, "        {{")?;
            for [name, own, other] in factors {
                let other = format!("{other}[round][{place}]");
                let other = match count {
                    4 => format!("{other}[x]"),
                    _ => format!("vec4<f32>({other}[x / 4u][x % 4u])"),
                };
                writeln!(
                    w,
                    "        let {name}_own = {own}[round][{place}][y]; let {name}_other = {other};"
                )?;
            }
            for [name, ..] in factors {
                for j in 0..count {
                    let component = ["x", "y", "z", "w"][j];
                    writeln!(
                        w,
                        "        {name}_{j} = fma({name}_own, vec4<f32>({name}_other.{component}), \
                         {name}_{j});"
                    )?;
                }
            }
            writeln!(w, "        }}")?;
        }
        writeln!(w, "    }}")
    }

    /// Puts a value for each score where it is found by its column.
    fn write_put(&self, w: &mut String, tile: &str, name: &str) -> std::fmt::Result {
        let (count, across) = (self.scores, self.across);
        for j in 0..count {
            writeln!(
                w,
                "    {tile}[({count}u * x) / {across}u][({count}u * x) % {across}u + {j}u][y] = \
                 {name}_{j};"
            )?;
        }
        Ok(())
    }

    /// `sums_i += sum over the other side of weights times rows`.
    fn write_sums(&self, w: &mut String, products: &[[&str; 3]]) -> std::fmt::Result {
        writeln!(
            w,
            "    for (var round = 0u; round < {}u; round++) {{",
            self.rows / self.across
        )?;
        let quarters = self.across / 4;
        for quarter in 0..quarters {
            for [sums, weights, rows] in products {
                writeln!(w, "        {{")?;
                for j in 0..4 {
                    writeln!(
                        w,
                        "        let w_{j} = {weights}[round][{}][y];",
                        4 * quarter + j
                    )?;
                }
                for i in 0..self.sums {
                    writeln!(
                        w,
                        "        let r_{i} = {rows}[{i}][x][{quarters}u * round + {quarter}u];"
                    )?;
                    for (j, component) in ["x", "y", "z", "w"].into_iter().enumerate() {
                        writeln!(
                            w,
                            "        {sums}_{i} = fma(w_{j}, vec4<f32>(r_{i}.{component}), \
                             {sums}_{i});"
                        )?;
                    }
                }
                writeln!(w, "        }}")?;
            }
        }
        writeln!(w, "    }}")
    }

    fn write_zeros(&self, w: &mut String, sums: &str) -> std::fmt::Result {
        (0..self.sums).try_for_each(|i| writeln!(w, "    var {sums}_{i} = vec4<f32>();"))
    }

    /// Stores a gradient times `scale` as part 0, 1, 2 of dqkv, turned back if it is one of
    /// queries or keys.
    fn write_gradient(
        &self,
        w: &mut String,
        sums: &str,
        part: usize,
        scale: f32,
    ) -> std::fmt::Result {
        let Self { kind, across, .. } = *self;
        let head_dim = kind.head_dim;
        for (r, component) in ["x", "y", "z", "w"].into_iter().enumerate() {
            writeln!(
                w,
                "    if (row.{component} < seq) {{
        let to = ((first + row.{component}) * 3u + {part}u) * extents.heads * {head_dim}u + head * {head_dim}u + x;"
            )?;
            for i in 0..self.sums / 2 {
                let other = i + self.sums / 2;
                let [a, b] = [i, other].map(|i| format!("{sums}_{i}.{component} * {scale:?}"));
                let (low, high) = match kind.rotary && part < 2 {
                    true => {
                        let column = i * across;
                        for (name, sines) in [("cosine", 0), ("sine", 1)] {
                            writeln!(
                                w,
                                "        let {name}_{i} = angle({sines}u, row[{r}], {column}u + x);"
                            )?;
                        }
                        (
                            format!("({a} * cosine_{i} + {b} * sine_{i})"),
                            format!("({b} * cosine_{i} - {a} * sine_{i})"),
                        )
                    }
                    false => (a, b),
                };
                for (i, value) in [(i, low), (other, high)] {
                    let to = format!("to + {}u", i * across);
                    writeln!(w, "        {}", put(&to, &value, kind.adds))?;
                }
            }
            writeln!(w, "    }}")?;
        }
        Ok(())
    }

    /// The block of the other side from which and up to which there is something to be seen.
    fn write_loop(&self, w: &mut String) -> std::fmt::Result {
        let (begin, end) = match (self.kind.causal, self.kind.pass) {
            (false, _) => ("0u", "seq".to_owned()),
            (true, Pass::Keys) => ("own", "seq".to_owned()),
            (true, _) => ("0u", format!("min(seq, own + {}u)", self.rows)),
        };
        writeln!(
            w,
            "    let end = {end};
    for (var start = {begin}; start < end; start += {}u) {{",
            self.rows
        )
    }

    /// Columns of the scores of an invocation, and which of its rows see them.
    fn write_seen(&self, w: &mut String) -> std::fmt::Result {
        let sees = match (self.kind.causal, self.kind.pass) {
            (false, _) => "",
            (true, Pass::Keys) => " & (row <= vec4<u32>(column_{j}))",
            (true, _) => " & (vec4<u32>(column_{j}) <= row)",
        };
        for j in 0..self.scores {
            let sees = sees.replace("{j}", &j.to_string());
            writeln!(
                w,
                "    let column_{j} = start + {}u * x + {j}u;
    let seen_{j} = vec4<bool>(column_{j} < seq){sees};",
                self.scores
            )?;
        }
        Ok(())
    }
}

const BARRIER: &str = "    workgroupBarrier();\n";

fn write_forward(w: &mut String, kind: Kind) -> std::fmt::Result {
    let blocks = Blocks::new(kind);
    let (rows, across) = (blocks.rows, blocks.across);
    // Behind the probabilities.
    let partial = rows / across;
    let mut read = vec![("qkv", "vec4<f32>")];
    read.extend(kind.rotary.then_some(("tables", "vec4<f32>")));
    write_bindings(w, "positions", &read, &["out", "lse"])?;
    blocks.write_start(w, &["queries", "keys", "values"])?;
    blocks.write_main(w, "(groups.y - 1u - group.y)")?;
    writeln!(
        w,
        "    var highest = vec4<f32>({HIDDEN});
    var total = vec4<f32>();"
    )?;
    blocks.write_zeros(w, "sum")?;
    blocks.write_load(w, "queries", ("qkv", 0), "own")?;
    blocks.write_loop(w)?;
    blocks.write_load(w, "keys", ("qkv", 1), "start")?;
    blocks.write_load(w, "values", ("qkv", 2), "start")?;
    w.push_str(BARRIER);
    blocks.write_scores(w, &[["score", "queries", "keys"]])?;
    blocks.write_seen(w)?;
    writeln!(w, "    var most = vec4<f32>({HIDDEN});")?;
    for j in 0..blocks.scores {
        writeln!(
            w,
            "    score_{j} = select(vec4<f32>({HIDDEN}), score_{j}, seen_{j});
    most = max(most, score_{j});"
        )?;
    }
    let all = |w: &mut String, into: &str, function: &str| -> std::fmt::Result {
        (0..across).try_for_each(|i| {
            writeln!(
                w,
                "    {into} = {};",
                function.replace("{}", &format!("keys[{partial}][{i}][y]"))
            )
        })
    };
    writeln!(
        w,
        "{BARRIER}    keys[{partial}][x][y] = most;
{BARRIER}    most = highest;"
    )?;
    all(w, "most", "max(most, {})")?;
    writeln!(
        w,
        "    let fading = exp(highest - most);
    highest = most;
    total *= fading;"
    )?;
    for j in 0..blocks.scores {
        writeln!(
            w,
            "    score_{j} = exp(score_{j} - highest); total += score_{j};"
        )?;
    }
    blocks.write_put(w, "keys", "score")?;
    w.push_str(BARRIER);
    for i in 0..blocks.sums {
        writeln!(w, "    sum_{i} *= fading;")?;
    }
    blocks.write_sums(w, &[["sum", "keys", "values"]])?;
    writeln!(
        w,
        "{BARRIER}    }}\n    keys[{partial}][x][y] = total;\n{BARRIER}    total = vec4<f32>();"
    )?;
    all(w, "total", "total + {}")?;
    writeln!(w, "    let sums = highest + log(total);")?;
    for component in ["x", "y", "z", "w"] {
        writeln!(
            w,
            "    if (row.{component} < seq) {{
        if (x == 0u) {{ lse[lse_at + row.{component}] = sums.{component}; }}
        let to = ((first + row.{component}) * extents.heads + head) * {}u + x;",
            kind.head_dim
        )?;
        for i in 0..blocks.sums {
            writeln!(
                w,
                "        out[to + {}u] = sum_{i}.{component} / total.{component};",
                i * across
            )?;
        }
        writeln!(w, "    }}")?;
    }
    writeln!(w, "}}")
}

fn write_backward(w: &mut String, kind: Kind) -> std::fmt::Result {
    let blocks = Blocks::new(kind);
    let by_keys = kind.pass == Pass::Keys;
    let mut read = vec![
        ("qkv", "vec4<f32>"),
        ("dout", "vec4<f32>"),
        ("lse", "f32"),
        ("means", "f32"),
    ];
    read.extend(kind.rotary.then_some(("tables", "vec4<f32>")));
    write_bindings(w, "positions", &read, &["c"])?;
    let (query_side, key_side) = (["queries", "dqueries"], ["keys", "values"]);
    let (own, other, order) = match by_keys {
        true => (key_side, query_side, "group.y"),
        false => (query_side, key_side, "(groups.y - 1u - group.y)"),
    };
    let tiles = [own, other, ["weights", "dscores"]].concat();
    blocks.write_start(w, &tiles)?;
    blocks.write_main(w, order)?;
    let from = |tile: &str| match tile {
        "queries" => ("qkv", 0),
        "keys" => ("qkv", 1),
        "values" => ("qkv", 2),
        _ => ("dout", 0),
    };
    for tile in own {
        blocks.write_load(w, tile, from(tile), "own")?;
    }
    let at_row = |name: &str| {
        let at = |i| format!("{name}[lse_at + min(row[{i}], seq - 1u)]");
        format!("vec4<f32>({}, {}, {}, {})", at(0), at(1), at(2), at(3))
    };
    let at_column =
        |name: &str, j: usize| format!("vec4<f32>({name}[lse_at + min(column_{j}, seq - 1u)])");
    if !by_keys {
        writeln!(w, "    let sums = {};", at_row("lse"))?;
        writeln!(w, "    let mean = {};", at_row("means"))?;
    }
    blocks.write_zeros(w, "first_sum")?;
    if by_keys {
        blocks.write_zeros(w, "second_sum")?;
    }
    blocks.write_loop(w)?;
    for tile in other {
        blocks.write_load(w, tile, from(tile), "start")?;
    }
    w.push_str(BARRIER);
    blocks.write_scores(
        w,
        &[["score", own[0], other[0]], ["dscore", own[1], other[1]]],
    )?;
    blocks.write_seen(w)?;
    for j in 0..blocks.scores {
        let (sums, mean) = match by_keys {
            true => (at_column("lse", j), at_column("means", j)),
            false => ("sums".to_owned(), "mean".to_owned()),
        };
        writeln!(
            w,
            "    score_{j} = select(vec4<f32>(), exp(score_{j} - {sums}), seen_{j});
    dscore_{j} = score_{j} * (dscore_{j} - {mean});"
        )?;
    }
    match by_keys {
        true => {
            blocks.write_put(w, "weights", "score")?;
            blocks.write_put(w, "dscores", "dscore")?;
            w.push_str(BARRIER);
            let products = [
                ["first_sum", "dscores", "queries"],
                ["second_sum", "weights", "dqueries"],
            ];
            blocks.write_sums(w, &products)?;
        }
        false => {
            w.push_str(BARRIER);
            blocks.write_put(w, "values", "dscore")?;
            w.push_str(BARRIER);
            blocks.write_sums(w, &[["first_sum", "values", "keys"]])?;
        }
    }
    writeln!(w, "{BARRIER}    }}")?;
    match by_keys {
        true => {
            // The queries were scaled when they were loaded.
            blocks.write_gradient(w, "first_sum", 1, 1.0)?;
            blocks.write_gradient(w, "second_sum", 2, 1.0)?;
        }
        false => blocks.write_gradient(w, "first_sum", 0, blocks.scale())?,
    }
    writeln!(w, "}}")
}
