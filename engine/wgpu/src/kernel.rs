//! The source of the kernel, written out for one tile and one kind of product.

use crate::element_wise::put;
use engine::backend::{Layout, Product};
use std::fmt::Write;

/// Division of a block of C by a workgroup.
///
/// A workgroup of `rows` times `columns` invocations computes a block of C of
/// `m_each * rows` times `n_each * columns`; it goes through the summed dimension in steps
/// of `depth`. Each invocation holds `m_each * n_each` sums in registers. With several
/// `slices` of the summed dimension there is a workgroup for each of them, so that a small C
/// occupies a large device; what they have made is added up afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tile {
    pub m_each: u32,
    pub n_each: u32,
    pub rows: u32,
    pub columns: u32,
    pub depth: u32,
    pub slices: u32,
}

const fn tile(m_each: u32, n_each: u32, rows: u32, columns: u32, depth: u32) -> Tile {
    Tile {
        m_each,
        n_each,
        rows,
        columns,
        depth,
        slices: 1,
    }
}

const fn sliced(slices: u32, tile: Tile) -> Tile {
    Tile { slices, ..tile }
}

/// The tiles that are tried, the least demanding first.
pub(super) const TILES: [Tile; 13] = [
    tile(4, 4, 8, 8, 8),
    tile(4, 4, 16, 16, 16),
    tile(8, 8, 8, 8, 8),
    tile(8, 8, 8, 8, 16),
    tile(8, 4, 16, 16, 16),
    tile(8, 8, 8, 16, 8),
    tile(8, 8, 16, 16, 8),
    tile(8, 8, 16, 16, 16),
    tile(16, 8, 8, 16, 8),
    tile(16, 8, 16, 16, 8),
    sliced(4, tile(8, 8, 8, 8, 16)),
    sliced(4, tile(8, 4, 16, 16, 16)),
    sliced(4, tile(8, 8, 16, 16, 8)),
];

/// Bytes of what all slices make: more, and they are not worth their traffic.
const SLICED_BYTES: usize = 1 << 26;

impl Tile {
    /// Rows and columns of the block of C.
    pub fn block(&self) -> [u32; 2] {
        [self.m_each * self.rows, self.n_each * self.columns]
    }

    /// The tile for a product: without slices if it is short along the summed dimension, or
    /// large all the same.
    pub fn for_product(self, product: &Product) -> Self {
        let Product { m, k, n, .. } = *product;
        let long = k >= 4 * (self.slices * self.depth) as usize;
        match long && 4 * self.slices as usize * m * n <= SLICED_BYTES {
            true => self,
            false => Self { slices: 1, ..self },
        }
    }

    /// Invocations of a workgroup.
    pub fn invocations(&self) -> u32 {
        self.rows * self.columns
    }

    /// Bytes of workgroup memory: both factors, twice, so that one half is filled while the
    /// other is read.
    pub fn memory(&self) -> u32 {
        let [m, n] = self.block();
        2 * 4 * self.depth * (m + n)
    }
}

/// The kind of product that a kernel is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// True if A is stored `[m, k]`, and so has to be turned to lie along m.
    pub turn_a: bool,
    /// True if B is stored `[n, k]`.
    pub turn_b: bool,
    /// True if the stored rows of all matrices are multiples of four elements, so that they
    /// are read four at a time.
    pub whole: bool,
    /// True if the last step through the summed dimension is a short one.
    pub short: bool,
    /// True if the product is added to C.
    pub adds: bool,
}

impl Kind {
    pub fn new(product: &Product, tile: Tile, adds: bool) -> Self {
        Self {
            turn_a: product.layout != Layout::Tn,
            turn_b: product.layout == Layout::Nt,
            whole: whole(product),
            short: !product.k.is_multiple_of(tile.depth as usize),
            adds,
        }
    }
}

/// Returns whether the stored rows of all matrices are multiples of four elements.
pub(super) fn whole(product: &Product) -> bool {
    product.shapes().iter().all(|[_, columns]| columns % 4 == 0)
}

/// The kernel in WGSL. Bindings: 0 A, 1 B, 2 C, 3 the extents m, k, n.
///
/// Both factors lie in workgroup memory with the summed dimension outermost. They are
/// brought there as blocks of 4 x 4, which are turned in registers where the stored rows
/// run along the summed dimension. Invocations that are neighbours read neighbouring
/// vectors, so that no bank of the memory is asked twice.
///
/// The memory is an array of arrays: an index that is a constant needs no check against the
/// end, and the checks of the others are the same in all steps, so that the compiler does
/// them once, outside of the inner loop.
pub(super) fn source(tile: Tile, kind: Kind) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_source(&mut text, tile, kind);
    text
}

fn write_source(w: &mut String, tile: Tile, kind: Kind) -> std::fmt::Result {
    let [block_m, block_n] = tile.block();
    let (wide_m, wide_n) = (block_m / 4, block_n / 4);
    let (depth, size) = (tile.depth, tile.invocations());
    let element = if kind.whole { "vec4<f32>" } else { "f32" };
    write!(
        w,
        "struct Extents {{ m: u32, k: u32, n: u32, unused: u32 }}
@group(0) @binding(0) var<storage, read> a: array<{element}>;
@group(0) @binding(1) var<storage, read> b: array<{element}>;
@group(0) @binding(2) var<storage, read_write> c: array<{element}>;
@group(0) @binding(3) var<uniform> extents: Extents;
var<workgroup> left: array<array<array<vec4<f32>, {wide_m}>, {depth}>, 2>;
var<workgroup> right: array<array<array<vec4<f32>, {wide_n}>, {depth}>, 2>;
"
    )?;
    write_read(w, "a", (kind.turn_a, "extents.m"), kind)?;
    write_read(w, "b", (kind.turn_b, "extents.n"), kind)?;
    write_store(w, kind)?;

    // Blocks 0 .. blocks_a are of A, the others of B.
    let blocks_a = depth / 4 * wide_m;
    let blocks = blocks_a + depth / 4 * wide_n;
    let place = |turn: bool, wide: u32| match turn {
        // Neighbours read along the stored row in both cases.
        true => format!("let along = at / {0}u; let deep = at % {0}u;", depth / 4),
        false => format!("let along = at % {wide}u; let deep = at / {wide}u;"),
    };
    let fetch = |name: &str, turn: bool, origin: &str| {
        let quarter = |i: u32| match turn {
            true => format!("read_{name}({origin} + 4u * along + {i}u, k0 + 4u * deep)"),
            false => format!("read_{name}(k0 + 4u * deep + {i}u, {origin} + 4u * along)"),
        };
        let block = format!(
            "mat4x4<f32>({}, {}, {}, {})",
            quarter(0),
            quarter(1),
            quarter(2),
            quarter(3)
        );
        if turn {
            format!("transpose({block})")
        } else {
            block
        }
    };
    let (place_a, place_b) = (place(kind.turn_a, wide_m), place(kind.turn_b, wide_n));
    write!(
        w,
        "fn fetch(number: u32, m0: u32, n0: u32, k0: u32) -> mat4x4<f32> {{
    if (number < {blocks_a}u) {{
        let at = number; {place_a}
        return {};
    }}
    if (number < {blocks}u) {{
        let at = number - {blocks_a}u; {place_b}
        return {};
    }}
    return mat4x4<f32>();
}}
",
        fetch("a", kind.turn_a, "m0"),
        fetch("b", kind.turn_b, "n0")
    )?;
    let put = |memory: &str| -> String {
        (0..4)
            .map(|i| format!("{memory}[half][4u * deep + {i}u][along] = block[{i}]; "))
            .collect()
    };
    write!(
        w,
        "fn put(number: u32, half: u32, block: mat4x4<f32>) {{
    if (number < {blocks_a}u) {{
        let at = number; {place_a}
        {}
    }} else if (number < {blocks}u) {{
        let at = number - {blocks_a}u; {place_b}
        {}
    }}
}}
",
        put("left"),
        put("right")
    )?;

    let rounds = blocks.div_ceil(size);
    let (groups, vectors) = (tile.m_each / 4, tile.n_each / 4);
    // A slice is so many whole steps; its sums lie behind those of the slices before it.
    let slice = match tile.slices {
        1 => "let begin = 0u; let end = extents.k; let first = 0u;".to_owned(),
        slices => format!(
            "let steps = (extents.k + {}u) / {}u;
    let begin = group.z * steps * {depth}u;
    let end = min(extents.k, begin + steps * {depth}u);
    let first = group.z * extents.m * extents.n;",
            slices * depth - 1,
            slices * depth
        ),
    };
    write!(
        w,
        "@compute @workgroup_size({size})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) me: u32) {{
    let x = me % {columns}u;
    let y = me / {columns}u;
    let m0 = group.y * {block_m}u;
    let n0 = group.x * {block_n}u;
    {slice}
",
        columns = tile.columns
    )?;
    for i in 0..4 * groups {
        for j in 0..vectors {
            writeln!(w, "    var sum_{i}_{j} = vec4<f32>();")?;
        }
    }
    for r in 0..rounds {
        let number = r * size;
        writeln!(
            w,
            "    var next_{r} = fetch(me + {number}u, m0, n0, begin);"
        )?;
        writeln!(w, "    put(me + {number}u, 0u, next_{r});")?;
    }
    write!(
        w,
        "    workgroupBarrier();
    var half = 0u;
    for (var k0 = begin + {depth}u; k0 < end + {depth}u; k0 += {depth}u) {{
"
    )?;
    for r in 0..rounds {
        let number = r * size;
        writeln!(w, "        next_{r} = fetch(me + {number}u, m0, n0, k0);")?;
    }
    for p in 0..depth {
        writeln!(w, "        {{")?;
        for g in 0..groups {
            writeln!(
                w,
                "        let a_{g} = left[half][{p}][{}u + y];",
                g * tile.rows
            )?;
        }
        for j in 0..vectors {
            writeln!(
                w,
                "        let b_{j} = right[half][{p}][{}u + x];",
                j * tile.columns
            )?;
        }
        for i in 0..4 * groups {
            for j in 0..vectors {
                let component = ["x", "y", "z", "w"][i as usize % 4];
                writeln!(
                    w,
                    "        sum_{i}_{j} = fma(vec4<f32>(a_{}.{component}), b_{j}, sum_{i}_{j});",
                    i / 4
                )?;
            }
        }
        writeln!(w, "        }}")?;
    }
    writeln!(w, "        half = 1u - half;")?;
    for r in 0..rounds {
        writeln!(w, "        put(me + {}u, half, next_{r});", r * size)?;
    }
    writeln!(w, "        workgroupBarrier();\n    }}")?;
    for i in 0..4 * groups {
        for j in 0..vectors {
            writeln!(
                w,
                "    store(first, m0 + 4u * ({}u + y) + {}u, n0 + 4u * ({}u + x), sum_{i}_{j});",
                i / 4 * tile.rows,
                i % 4,
                j * tile.columns
            )?;
        }
    }
    writeln!(w, "}}")
}

/// A function that reads four elements along a stored row, zeros beyond the end of the summed
/// dimension. What it reads beyond the other edge goes into sums that are not stored: it may
/// be anything.
fn write_read(
    w: &mut String,
    name: &str,
    (turn, along): (bool, &str),
    kind: Kind,
) -> std::fmt::Result {
    let columns = if turn { "extents.k" } else { along };
    writeln!(
        w,
        "fn read_{name}(row: u32, column: u32) -> vec4<f32> {{
    let at = row * {columns} + column;"
    )?;
    if kind.short {
        let deep = if turn { "column" } else { "row" };
        writeln!(w, "    if ({deep} >= extents.k) {{ return vec4<f32>(); }}")?;
    }
    if kind.whole {
        writeln!(w, "    return {name}[at / 4u];")?;
    } else if kind.short && turn {
        writeln!(w, "    var v = vec4<f32>({name}[at], 0.0, 0.0, 0.0);")?;
        for (i, component) in [(1, "y"), (2, "z"), (3, "w")] {
            writeln!(
                w,
                "    if (column + {i}u < extents.k) {{ v.{component} = {name}[at + {i}u]; }}"
            )?;
        }
        writeln!(w, "    return v;")?;
    } else {
        let element = |i| format!("{name}[at + {i}u]");
        writeln!(
            w,
            "    return vec4<f32>({}, {}, {}, {});",
            element(0),
            element(1),
            element(2),
            element(3)
        )?;
    }
    writeln!(w, "}}")
}

/// A function that writes four elements along a row of C, nothing beyond the edges.
fn write_store(w: &mut String, kind: Kind) -> std::fmt::Result {
    let put = |at: &str, new: &str| put(at, new, kind.adds);
    writeln!(
        w,
        "fn store(first: u32, row: u32, column: u32, v: vec4<f32>) {{
    if (row >= extents.m || column >= extents.n) {{ return; }}
    let at = first + row * extents.n + column;"
    )?;
    if kind.whole {
        writeln!(w, "    {}", put("at / 4u", "v"))?;
    } else {
        writeln!(w, "    {}", put("at", "v.x"))?;
        for (i, component) in [(1, "y"), (2, "z"), (3, "w")] {
            writeln!(
                w,
                "    if (column + {i}u < extents.n) {{ {} }}",
                put(&format!("at + {i}u"), &format!("v.{component}"))
            )?;
        }
    }
    writeln!(w, "}}")
}
