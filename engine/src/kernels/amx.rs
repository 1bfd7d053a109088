//! Products of bf16 operands on the tile unit of x86-64 processors that have one (AMX-BF16).
//!
//! Operands are packed into blocks of 1 KiB, which are the tiles: of A 16 rows of 32 numbers along
//! the summed dimension, of B 16 rows of pairs along it and 16 columns. `tdpbf16ps` adds the
//! product of two tiles to 16 x 16 sums in f32. Numbers too small for a normal f32 count as zero
//! there.
//!
//! Every sum runs over blocks of 32 in ascending order, whichever rows of C are computed together:
//! the same bits for any number of threads.

use super::{
    bf16::rounded,
    matmul::{Layout, Product},
};
use rayon::prelude::*;
use std::{arch::asm, cell::RefCell, sync::OnceLock};

/// Rows of A and columns of B in a tile.
const SIDE: usize = 16;
/// Numbers of a tile along the summed dimension.
const DEPTH: usize = 32;
/// Words of a tile, two numbers each.
const WORDS: usize = SIDE * DEPTH / 2;
/// Rows, and columns, of C in a block of four tiles.
const BLOCK: usize = 2 * SIDE;
/// Fewest multiplications for which a second thread is woken.
const MULTIPLICATIONS_PER_THREAD: usize = 1 << 24;

/// Returns whether this processor has the tile unit and the system lets this process use it.
pub fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        // Leaf 7: AMX-BF16 is bit 22 of edx, AMX-TILE bit 24.
        let leaf = std::arch::x86_64::__cpuid_count(7, 0);
        std::arch::x86_64::__cpuid(0).eax >= 7
            && leaf.edx >> 22 & 1 == 1
            && leaf.edx >> 24 & 1 == 1
            && allowed()
    })
}

/// Asks Linux for the state of the tiles, which it saves for processes that want it only.
fn allowed() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: the call changes a permission of this process and no memory.
    unsafe {
        asm!(
            "syscall",
            inout("rax") answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

/// Words of packed operands, on the boundaries of cache lines that tile loads want.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Tile([u32; WORDS]);

const ZERO: Tile = Tile([0; WORDS]);

thread_local! {
    static PACKED: RefCell<[Vec<Tile>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `C = op(A) op(B)` or `C += ...`, operands rounded to bf16.
///
/// # Panics
/// If a slice is shorter than its matrix, or the processor has no tile unit.
#[track_caller]
pub fn product(product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
    assert!(is_available(), "amx: this processor has no tile unit");
    run(product, a, b, c, parallel, tile_unit);
}

/// Sums of a block: two tiles of rows, two of columns, each of the depth.
type Block = fn(rows: [&[Tile]; 2], columns: [&[Tile]; 2], sums: &mut [[f32; BLOCK]; BLOCK]);

#[track_caller]
fn run(product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool, block: Block) {
    let Product { m, k, n, .. } = product;
    for (name, len, want) in [
        ("a", a.len(), m * k),
        ("b", b.len(), k * n),
        ("c", c.len(), m * n),
    ] {
        assert!(
            len >= want,
            "amx: {name} has {len} numbers, expected {want}"
        );
    }
    if m * n == 0 {
        return;
    }
    let depth = k.div_ceil(DEPTH);
    // Taken out, since this thread may begin another product while it waits for others.
    let [mut packed_a, mut packed_b] = PACKED.take();
    let panels = |extent: usize| 2 * extent.div_ceil(BLOCK);
    for (packed, extent) in [(&mut packed_a, m), (&mut packed_b, n)] {
        let tiles = panels(extent) * depth;
        if packed.len() < tiles {
            packed.resize(tiles, ZERO);
        }
    }
    let tiles_a = &mut packed_a[..panels(m) * depth];
    let tiles_b = &mut packed_b[..panels(n) * depth];
    let several = parallel && m * n * k >= MULTIPLICATIONS_PER_THREAD;
    let along_k = [product.layout != Layout::Tn, product.layout == Layout::Nt];
    let pack_a = |(panel, tiles): (usize, &mut [Tile])| {
        pack(a, along_k[0], [m, k], panel, tiles, true);
    };
    let pack_b = |(panel, tiles): (usize, &mut [Tile])| {
        pack(b, along_k[1], [n, k], panel, tiles, false);
    };
    let rows_of_blocks = |(row, c): (usize, &mut [f32]), a: &[Tile], b: &[Tile]| {
        let a = &a[2 * row * depth..2 * (row + 1) * depth];
        let mut sums = [[0.0; BLOCK]; BLOCK];
        for (column, b) in b.chunks_exact(2 * depth).enumerate() {
            block(
                a.split_at(depth).into(),
                b.split_at(depth).into(),
                &mut sums,
            );
            let start = column * BLOCK;
            let width = BLOCK.min(n - start);
            for (sums, c) in sums.iter().zip(c.chunks_exact_mut(n)) {
                let c = &mut c[start..start + width];
                match product.accumulate {
                    true => c.iter_mut().zip(sums).for_each(|(c, sum)| *c += sum),
                    false => c.copy_from_slice(&sums[..width]),
                }
            }
        }
    };
    let c = &mut c[..m * n];
    if depth > 0 {
        each_chunk(tiles_a, depth, several, pack_a);
        each_chunk(tiles_b, depth, several, pack_b);
        let (a, b) = (&*tiles_a, &*tiles_b);
        each_chunk(c, BLOCK * n, several, |rows| rows_of_blocks(rows, a, b));
    } else if !product.accumulate {
        c.fill(0.0);
    }
    PACKED.replace([packed_a, packed_b]);
}

/// Calls `job` with each chunk and its index, on all threads or on this one.
fn each_chunk<T: Send>(
    values: &mut [T],
    size: usize,
    several: bool,
    job: impl Fn((usize, &mut [T])) + Send + Sync,
) {
    match several {
        true => values.par_chunks_mut(size).enumerate().for_each(job),
        false => values.chunks_mut(size).enumerate().for_each(job),
    }
}

/// Packs the rows (of A, or the columns of B) `16 panel ..` of a matrix of `[extent, k]`, which is
/// stored that way if `along_k`, else `[k, extent]`. What lies beyond its edges is zero.
fn pack(
    values: &[f32],
    along_k: bool,
    [extent, k]: [usize; 2],
    panel: usize,
    tiles: &mut [Tile],
    of_rows: bool,
) {
    let start = (panel * SIDE).min(extent);
    let rows = SIDE.min(extent - start);
    for (block, Tile(tile)) in tiles.iter_mut().enumerate() {
        let first = block * DEPTH;
        let depth = DEPTH.min(k - first);
        // Words `[row][pair]` where the numbers of a row follow each other, else `[pair][row]`.
        let mut words = [[0_u32; SIDE]; SIDE];
        if along_k {
            for (row, words) in words.iter_mut().enumerate().take(rows) {
                let from = (start + row) * k + first;
                let mut numbers = [0.0; DEPTH];
                numbers[..depth].copy_from_slice(&values[from..from + depth]);
                for (word, pair) in words.iter_mut().zip(numbers.as_chunks::<2>().0) {
                    *word = word_of(pair[0], pair[1]);
                }
            }
        } else {
            for (pair, words) in words.iter_mut().enumerate().take(depth.div_ceil(2)) {
                let row = |index: usize| {
                    let mut numbers = [0.0; SIDE];
                    if index < depth {
                        let from = (first + index) * extent + start;
                        numbers[..rows].copy_from_slice(&values[from..from + rows]);
                    }
                    numbers
                };
                let (low, high) = (row(2 * pair), row(2 * pair + 1));
                for ((word, low), high) in words.iter_mut().zip(low).zip(high) {
                    *word = word_of(low, high);
                }
            }
        }
        let (lines, _) = tile.as_chunks_mut::<SIDE>();
        match along_k == of_rows {
            true => lines.copy_from_slice(&words),
            false => {
                for (i, line) in lines.iter_mut().enumerate() {
                    for (word, words) in line.iter_mut().zip(&words) {
                        *word = words[i];
                    }
                }
            }
        }
    }
}

/// Two numbers in bf16, the first one in the lower half.
#[inline(always)]
fn word_of(low: f32, high: f32) -> u32 {
    rounded(low).to_bits() >> 16 | rounded(high).to_bits()
}

/// All eight tiles: palette 1, 16 rows of 64 bytes.
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

static CONFIG: TileConfig = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut tile = 0;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = SIDE as u8;
        tile += 1;
    }
    TileConfig(bytes)
};

/// A block on the tile unit.
fn tile_unit(rows: [&[Tile]; 2], columns: [&[Tile]; 2], sums: &mut [[f32; BLOCK]; BLOCK]) {
    let depth = rows[0].len();
    assert!(
        depth > 0
            && rows
                .iter()
                .chain(&columns)
                .all(|tiles| tiles.len() == depth)
    );
    let to = sums.as_mut_ptr().cast::<f32>();
    // SAFETY: `is_available` has been true before a block is computed. Each pointer runs over the
    // `depth` tiles of its slice, and the four tiles stored are the quarters of `sums`, whose rows
    // are 128 bytes apart.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{a0} + {line}]",
            "tileloadd tmm6, [{b0} + {line}]",
            "tileloadd tmm7, [{b1} + {line}]",
            "tileloadd tmm5, [{a1} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 1024",
            "add {a1}, 1024",
            "add {b0}, 1024",
            "add {b1}, 1024",
            "dec {depth}",
            "jnz 2b",
            "tilestored [{c} + {line}*2], tmm0",
            "tilestored [{c} + {line}*2 + 64], tmm1",
            "tilestored [{c} + {line}*2 + 2048], tmm2",
            "tilestored [{c} + {line}*2 + 2112], tmm3",
            "tilerelease",
            config = in(reg) &CONFIG,
            a0 = inout(reg) rows[0].as_ptr() => _,
            a1 = inout(reg) rows[1].as_ptr() => _,
            b0 = inout(reg) columns[0].as_ptr() => _,
            b1 = inout(reg) columns[1].as_ptr() => _,
            depth = inout(reg) depth => _,
            c = in(reg) to,
            line = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernels::matmul::matmul, skipped::skipped};
    use proptest::prelude::*;

    /// The block in plain arithmetic.
    fn plain(rows: [&[Tile]; 2], columns: [&[Tile]; 2], sums: &mut [[f32; BLOCK]; BLOCK]) {
        let half = |word: u32, odd: usize| {
            f32::from_bits(if odd == 1 {
                word & 0xffff_0000
            } else {
                word << 16
            })
        };
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = 0.0;
                for (Tile(a), Tile(b)) in rows[i / SIDE].iter().zip(columns[j / SIDE]) {
                    for k in 0..DEPTH {
                        let a = a[i % SIDE * SIDE + k / 2];
                        let b = b[k / 2 * SIDE + j % SIDE];
                        *sum += half(a, k % 2) * half(b, k % 2);
                    }
                }
            }
        }
    }

    fn values(seed: usize, len: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0)
            .collect()
    }

    fn compare(product: Product, block: Block, parallel: bool) {
        let Product { m, k, n, .. } = product;
        let (a, b, start) = (values(1, m * k), values(2, k * n), values(3, m * n));
        let round = |x: &[f32]| x.iter().map(|&x| rounded(x)).collect::<Vec<_>>();
        let (mut expected, mut got) = (start.clone(), start);
        matmul(product, &round(&a), &round(&b), &mut expected);
        run(product, &a, &b, &mut got, parallel, block);
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = (got - expected).abs();
            assert!(
                error <= 1e-6 * (k as f32 + 1.0),
                "{product:?} at {i}: {got}, expected {expected}"
            );
        }
    }

    fn products(extents: [usize; 3]) -> impl Iterator<Item = Product> {
        let [m, k, n] = extents;
        [Layout::Nn, Layout::Nt, Layout::Tn]
            .into_iter()
            .flat_map(move |layout| {
                let product = Product::new(layout, m, k, n);
                [product, product.accumulating()]
            })
    }

    proptest! {
        #[test]
        fn packed_tiles_are_the_operands_in_every_layout(m in 1..70_usize, k in 0..80_usize, n in 1..70_usize) {
            for product in products([m, k, n]) {
                compare(product, plain, false);
            }
        }
    }

    #[test]
    fn the_tile_unit_computes_the_product_of_the_rounded_operands() {
        if !is_available() {
            return skipped("this processor has no tile unit");
        }
        for extents in [
            [1, 1, 1],
            [16, 32, 16],
            [33, 65, 31],
            [512, 128, 384],
            [100, 344, 128],
            [64, 2000, 48],
        ] {
            for product in products(extents) {
                compare(product, tile_unit, false);
                compare(product, tile_unit, true);
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let block = if is_available() { tile_unit } else { plain };
        for product in products([300, 200, 310]) {
            let (a, b) = (values(1, 300 * 200), values(2, 200 * 310));
            let mut c = [values(3, 300 * 310), values(3, 300 * 310)];
            for (c, parallel) in c.iter_mut().zip([false, true]) {
                run(product, &a, &b, c, parallel, block);
            }
            assert!(c[0] == c[1]);
        }
    }
}
