//! The steps of the kernels of attention: loading, scores, sums, storing.
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
use crate::element_wise::put;
use std::fmt::Write;

/// Components of a vector.
pub const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// Waits for what the other invocations do in workgroup memory.
pub const BARRIER: &str = "    workgroupBarrier();\n";

impl Kind {
    /// Chunks of the columns of a head.
    pub fn chunks(&self) -> usize {
        self.head_dim / self.chunk
    }

    /// Sums of an invocation for each of its rows and each column of a chunk that is its own.
    pub fn rounds(&self) -> usize {
        self.chunk / ACROSS
    }

    /// First column of a round of a chunk, without the invocation's own x. A chunk has as
    /// many columns of the first half of a head as of the second.
    pub fn column(&self, chunk: usize, round: usize) -> usize {
        let half = self.rounds() / 2;
        let start = round / half * (self.head_dim / 2) + chunk * self.chunk / 2;
        start + round % half * ACROSS
    }

    /// Factor of the scores.
    pub fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }

    /// Blocks in workgroup memory, and the functions that read matrices.
    pub fn write_start(&self, w: &mut String, tiles: &[&str]) -> std::fmt::Result {
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
    pub fn write_main(&self, w: &mut String, own: &str) -> std::fmt::Result {
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
    pub fn write_load(
        &self,
        w: &mut String,
        tile: &str,
        start: &str,
        chunk: &str,
    ) -> std::fmt::Result {
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
    pub fn write_scores(
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
    pub fn write_put(&self, w: &mut String, tile: &str, name: &str) -> std::fmt::Result {
        (0..4).try_for_each(|j| {
            writeln!(
                w,
                "    {tile}[4u * x / {ACROSS}u][4u * x % {ACROSS}u + {j}u][y] = {name}_{j};"
            )
        })
    }

    /// `sums_i += sum over the other side of weights times rows`, of each `[sums, weights,
    /// rows]`.
    pub fn write_sums(&self, w: &mut String, products: &[[&str; 3]]) -> std::fmt::Result {
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
    pub fn write_zeros(&self, w: &mut String, sums: &str) -> std::fmt::Result {
        let mut all = 0..self.head_dim / ACROSS;
        all.try_for_each(|i| writeln!(w, "    var {sums}_{i} = vec4<f32>();"))
    }

    /// Stores a gradient times `scale` as part 0, 1, 2 of dqkv, turned back if it is one of
    /// queries or keys.
    pub fn write_gradient(
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
    pub fn write_loop(&self, w: &mut String) -> std::fmt::Result {
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
    pub fn write_seen(&self, w: &mut String) -> std::fmt::Result {
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
