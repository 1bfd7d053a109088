//! The source of the kernels of attention, written out for a kind.
//!
//! Every block of rows lies in workgroup memory with its columns outermost and four rows in a
//! vector; columns are an array of arrays, so that most indices are constants and the others
//! are checked once for all steps of a loop (see the products). Invocation (x, y) has the rows
//! 4 y .. 4 y + 3 of the workgroup's side. Of the scores it computes the columns 4 x .. 4 x + 3,
//! and of what is summed up over the other side every eighth column from x on.
//!
//! Where a head does not fit, a chunk of its columns at a time is in workgroup memory: the
//! scores are added up over the chunks, which are then loaded again for the sums.

use super::{ACROSS, Kind, Pass, ROWS, SIZE};
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

/// Components of a vector.
const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// Waits for what the other invocations do in workgroup memory.
const BARRIER: &str = "    workgroupBarrier();\n";

impl Kind {
    /// Chunks of the columns of a head.
    fn chunks(&self) -> usize {
        self.head_dim / self.chunk
    }

    /// Sums of an invocation for each of its rows and each column of a chunk that is its own.
    fn rounds(&self) -> usize {
        self.chunk / ACROSS
    }

    /// First column of a round of a chunk, without the invocation's own x. A chunk has as
    /// many columns of the first half of a head as of the second.
    fn column(&self, chunk: usize, round: usize) -> usize {
        let half = self.rounds() / 2;
        let start = round / half * (self.head_dim / 2) + chunk * self.chunk / 2;
        start + round % half * ACROSS
    }

    /// Factor of the scores.
    fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }

    /// Blocks in workgroup memory, and the functions that read matrices.
    fn write_start(&self, w: &mut String, tiles: &[&str]) -> std::fmt::Result {
        for (tile, columns) in tiles.iter().zip(self.tiles()) {
            writeln!(
                w,
                "var<workgroup> {tile}: array<array<array<vec4<f32>, {}>, {ACROSS}>, {}>;",
                ROWS / 4,
                columns / ACROSS
            )?;
        }
        for (name, parts) in [("qkv", 3), ("dout", 1)] {
            if name == "dout" && self.pass == Pass::Forward {
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
                vectors = self.head_dim / 4,
            )?;
        }
        if self.rotary {
            let half = self.head_dim / 2;
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
    let own = {own} * {ROWS}u;
    let row = vec4<u32>(own + 4u * y) + vec4<u32>(0u, 1u, 2u, 3u);
",
            y = ROWS / 4,
        )
    }

    /// Brings columns of the block of rows from `start` on to a tile.
    fn write_load(&self, w: &mut String, tile: &str, start: &str, chunk: &str) -> std::fmt::Result {
        let (name, part) = match tile {
            "queries" => ("qkv", 0),
            "keys" => ("qkv", 1),
            "values" => ("qkv", 2),
            _ => ("dout", 0),
        };
        let (groups, half) = (ROWS / 4, self.chunk / 8);
        write!(
            w,
            "    for (var at = me; at < {count}u; at += {SIZE}u) {{
        let rows = at % {groups}u;
        let place = at / {groups}u;
        let column = {chunk} * {half}u + place;
        let t = {start} + 4u * rows;
        let origin = ({part}u * extents.heads + head) * {vectors}u + column;
        ",
            count = groups * half,
            vectors = self.head_dim / 4,
        )?;
        let right = self.head_dim / 8;
        let [low, high] =
            [0, right].map(|right| format!("rows_{name}(first, t, origin + {right}u)"));
        match self.rotary && name == "qkv" && part < 2 {
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
        let scale = match tile {
            "queries" => format!(" * {:?}", self.scale()),
            _ => String::new(),
        };
        for (value, right) in [("low", 0), ("high", half)] {
            writeln!(
                w,
                "        {{ let to = 4u * (place + {right}u);
        let round = to / {ACROSS}u; let offset = to % {ACROSS}u;"
            )?;
            for i in 0..4 {
                writeln!(
                    w,
                    "        {tile}[round][offset + {i}u][rows] = {value}[{i}]{scale};"
                )?;
            }
            writeln!(w, "        }}")?;
        }
        writeln!(w, "    }}")
    }

    /// `name_j = sum over the columns of own times other`, for the scores of the invocation,
    /// of each `[name, own, other]`. `early` tiles of the other side are loaded with it
    /// if a head is not cut into chunks.
    fn write_scores(
        &self,
        w: &mut String,
        factors: &[[&str; 3]],
        early: &[&str],
    ) -> std::fmt::Result {
        for [name, ..] in factors {
            for j in 0..4 {
                writeln!(w, "    var {name}_{j} = vec4<f32>();")?;
            }
        }
        let chunks = self.chunks();
        match chunks {
            1 => {
                for tile in factors.iter().map(|[.., other]| other).chain(early) {
                    self.write_load(w, tile, "start", "0u")?;
                }
            }
            _ => {
                writeln!(w, "    for (var chunk = 0u; chunk < {chunks}u; chunk++) {{")?;
                for [_, own, other] in factors {
                    self.write_load(w, own, "own", "chunk")?;
                    self.write_load(w, other, "start", "chunk")?;
                }
            }
        }
        writeln!(
            w,
            "{BARRIER}    for (var round = 0u; round < {}u; round++) {{",
            self.rounds()
        )?;
        for offset in 0..ACROSS {
            writeln!(w, "        {{")?;
            for [name, own, other] in factors {
                writeln!(
                    w,
                    "        let {name}_own = {own}[round][{offset}][y]; \
                     let {name}_other = {other}[round][{offset}][x];"
                )?;
            }
            for [name, ..] in factors {
                for (j, component) in COMPONENTS.into_iter().enumerate() {
                    writeln!(
                        w,
                        "        {name}_{j} = fma({name}_own, \
                         vec4<f32>({name}_other.{component}), {name}_{j});"
                    )?;
                }
            }
            writeln!(w, "        }}")?;
        }
        w.push_str("    }\n");
        match chunks {
            1 => Ok(()),
            _ => writeln!(w, "{BARRIER}    }}"),
        }
    }

    /// Puts a value for each score where it is found by its column.
    fn write_put(&self, w: &mut String, tile: &str, name: &str) -> std::fmt::Result {
        (0..4).try_for_each(|j| {
            writeln!(
                w,
                "    {tile}[4u * x / {ACROSS}u][4u * x % {ACROSS}u + {j}u][y] = {name}_{j};"
            )
        })
    }

    /// `sums_i += sum over the other side of weights times rows`, of each `[sums, weights,
    /// rows]`.
    fn write_sums(&self, w: &mut String, products: &[[&str; 3]]) -> std::fmt::Result {
        let quarters = ACROSS / 4;
        for chunk in 0..self.chunks() {
            if self.chunks() > 1 {
                for [.., rows] in products {
                    self.write_load(w, rows, "start", &format!("{chunk}u"))?;
                }
                w.push_str(BARRIER);
            }
            writeln!(
                w,
                "    for (var round = 0u; round < {}u; round++) {{",
                ROWS / ACROSS
            )?;
            for quarter in 0..quarters {
                for [sums, weights, rows] in products {
                    writeln!(w, "        {{")?;
                    for j in 0..4 {
                        let offset = 4 * quarter + j;
                        writeln!(w, "        let w_{j} = {weights}[round][{offset}][y];")?;
                    }
                    for i in 0..self.rounds() {
                        let sum = format!("{sums}_{}", chunk * self.rounds() + i);
                        writeln!(
                            w,
                            "        let r_{i} = {rows}[{i}][x][{quarters}u * round + {quarter}u];"
                        )?;
                        for (j, component) in COMPONENTS.into_iter().enumerate() {
                            writeln!(
                                w,
                                "        {sum} = fma(w_{j}, vec4<f32>(r_{i}.{component}), {sum});"
                            )?;
                        }
                    }
                    writeln!(w, "        }}")?;
                }
            }
            writeln!(w, "    }}\n{BARRIER}")?;
        }
        Ok(())
    }

    /// Sums of an invocation for each of its rows, zero at first.
    fn write_zeros(&self, w: &mut String, sums: &str) -> std::fmt::Result {
        let mut all = 0..self.head_dim / ACROSS;
        all.try_for_each(|i| writeln!(w, "    var {sums}_{i} = vec4<f32>();"))
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
        let (head_dim, half) = (self.head_dim, self.rounds() / 2);
        for (r, component) in COMPONENTS.into_iter().enumerate() {
            writeln!(
                w,
                "    if (row.{component} < seq) {{
        let to = (((first + row.{component}) * 3u + {part}u) * extents.heads + head) \
                 * {head_dim}u + x;"
            )?;
            for pair in 0..self.chunks() * half {
                let (chunk, round) = (pair / half, pair % half);
                let columns = [round, round + half].map(|round| self.column(chunk, round));
                let [a, b] = [round, round + half].map(|round| {
                    let sum = chunk * self.rounds() + round;
                    format!("{sums}_{sum}.{component} * {scale:?}")
                });
                let values = match self.rotary && part < 2 {
                    true => {
                        let column = columns[0];
                        writeln!(
                            w,
                            "        let cosine_{pair} = angle(0u, row[{r}], {column}u + x);
        let sine_{pair} = angle(1u, row[{r}], {column}u + x);"
                        )?;
                        [
                            format!("({a} * cosine_{pair} + {b} * sine_{pair})"),
                            format!("({b} * cosine_{pair} - {a} * sine_{pair})"),
                        ]
                    }
                    false => [a, b],
                };
                for (column, value) in columns.into_iter().zip(values) {
                    let to = format!("to + {column}u");
                    writeln!(w, "        {}", put(&to, &value, self.adds))?;
                }
            }
            writeln!(w, "    }}")?;
        }
        Ok(())
    }

    /// The block of the other side from which and up to which there is something to be seen.
    fn write_loop(&self, w: &mut String) -> std::fmt::Result {
        let (begin, end) = match (self.causal, self.pass) {
            (false, _) => ("0u", "seq".to_owned()),
            (true, Pass::Keys) => ("own", "seq".to_owned()),
            (true, _) => ("0u", format!("min(seq, own + {ROWS}u)")),
        };
        writeln!(
            w,
            "    let end = {end};
    for (var start = {begin}; start < end; start += {ROWS}u) {{"
        )
    }

    /// Columns of the scores of an invocation, and which of its rows see them.
    fn write_seen(&self, w: &mut String) -> std::fmt::Result {
        let sees = match (self.causal, self.pass) {
            (false, _) => "",
            (true, Pass::Keys) => " & (row <= vec4<u32>(column_{j}))",
            (true, _) => " & (vec4<u32>(column_{j}) <= row)",
        };
        for j in 0..4 {
            let sees = sees.replace("{j}", &j.to_string());
            writeln!(
                w,
                "    let column_{j} = start + 4u * x + {j}u;
    let seen_{j} = vec4<bool>(column_{j} < seq){sees};"
            )?;
        }
        Ok(())
    }
}

fn write_forward(w: &mut String, kind: Kind) -> std::fmt::Result {
    // Behind the probabilities.
    let partial = ROWS / ACROSS;
    let mut read = vec![("qkv", "vec4<f32>")];
    read.extend(kind.rotary.then_some(("tables", "vec4<f32>")));
    write_bindings(w, "positions", &read, &["out", "lse"])?;
    kind.write_start(w, &["queries", "keys", "values"])?;
    kind.write_main(w, "(groups.y - 1u - group.y)")?;
    writeln!(
        w,
        "    var highest = vec4<f32>({HIDDEN});
    var total = vec4<f32>();"
    )?;
    kind.write_zeros(w, "sum")?;
    if kind.chunks() == 1 {
        kind.write_load(w, "queries", "own", "0u")?;
    }
    kind.write_loop(w)?;
    kind.write_scores(w, &[["score", "queries", "keys"]], &["values"])?;
    kind.write_seen(w)?;
    writeln!(w, "    var most = vec4<f32>({HIDDEN});")?;
    for j in 0..4 {
        writeln!(
            w,
            "    score_{j} = select(vec4<f32>({HIDDEN}), score_{j}, seen_{j});
    most = max(most, score_{j});"
        )?;
    }
    writeln!(
        w,
        "{BARRIER}    keys[{partial}][x][y] = most;
{BARRIER}    most = highest;"
    )?;
    for i in 0..ACROSS {
        writeln!(w, "    most = max(most, keys[{partial}][{i}][y]);")?;
    }
    writeln!(
        w,
        "    let fading = exp(highest - most);
    highest = most;
    total *= fading;"
    )?;
    for j in 0..4 {
        writeln!(
            w,
            "    score_{j} = exp(score_{j} - highest); total += score_{j};"
        )?;
    }
    kind.write_put(w, "keys", "score")?;
    w.push_str(BARRIER);
    for i in 0..kind.head_dim / ACROSS {
        writeln!(w, "    sum_{i} *= fading;")?;
    }
    kind.write_sums(w, &[["sum", "keys", "values"]])?;
    writeln!(
        w,
        "    }}
    keys[{partial}][x][y] = total;
{BARRIER}    total = vec4<f32>();"
    )?;
    for i in 0..ACROSS {
        writeln!(w, "    total += keys[{partial}][{i}][y];")?;
    }
    writeln!(w, "    let sums = highest + log(total);")?;
    for component in COMPONENTS {
        writeln!(
            w,
            "    if (row.{component} < seq) {{
        if (x == 0u) {{ lse[lse_at + row.{component}] = sums.{component}; }}
        let to = ((first + row.{component}) * extents.heads + head) * {}u + x;",
            kind.head_dim
        )?;
        for i in 0..kind.head_dim / ACROSS {
            let column = kind.column(i / kind.rounds(), i % kind.rounds());
            writeln!(
                w,
                "        out[to + {column}u] = sum_{i}.{component} / total.{component};"
            )?;
        }
        writeln!(w, "    }}")?;
    }
    writeln!(w, "}}")
}

fn write_backward(w: &mut String, kind: Kind) -> std::fmt::Result {
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
    kind.write_start(w, &[&own[..], &other, &["weights", "dscores"]].concat())?;
    kind.write_main(w, order)?;
    if kind.chunks() == 1 {
        for tile in own {
            kind.write_load(w, tile, "own", "0u")?;
        }
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
    kind.write_zeros(w, "sum")?;
    if by_keys {
        kind.write_zeros(w, "value_sum")?;
    }
    kind.write_loop(w)?;
    let scores = [["score", own[0], other[0]], ["dscore", own[1], other[1]]];
    kind.write_scores(w, &scores, &[])?;
    kind.write_seen(w)?;
    for j in 0..4 {
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
    // The queries, and so what is made of them, were scaled when they were loaded.
    match by_keys {
        true => {
            kind.write_put(w, "weights", "score")?;
            kind.write_put(w, "dscores", "dscore")?;
            w.push_str(BARRIER);
            let products = [
                ["sum", "dscores", "queries"],
                ["value_sum", "weights", "dqueries"],
            ];
            kind.write_sums(w, &products)?;
            w.push_str("    }\n");
            kind.write_gradient(w, "sum", 1, 1.0)?;
            kind.write_gradient(w, "value_sum", 2, 1.0)?;
        }
        false => {
            w.push_str(BARRIER);
            kind.write_put(w, "values", "dscore")?;
            w.push_str(BARRIER);
            kind.write_sums(w, &[["sum", "values", "keys"]])?;
            w.push_str("    }\n");
            kind.write_gradient(w, "sum", 0, kind.scale())?;
        }
    }
    writeln!(w, "}}")
}
