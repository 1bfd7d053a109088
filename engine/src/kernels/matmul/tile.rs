//! The innermost loop: a tile of C that stays in registers while the summed dimension
//! runs.
//!
//! At each step an element of every row of A is broadcast and multiplied by the vectors
//! of one row of B. The broadcasts and loads of a step must be fewer than its FMAs, since
//! a core does two of each a cycle: 8 x 2 vectors take 10 loads for 16 FMAs, 6 x 2 take 8
//! for 12, and 12 accumulators are enough to hide the latency of an FMA (4 cycles).

use crate::simd::register::{LANES, Register, load, load_partial, store, store_partial};

/// Rows of a tile and vectors in a row, by the registers of the target: 32 of 16 `f32`
/// with AVX-512, 16 of 8 with AVX, 32 of 4 with NEON, 16 of 4 elsewhere. The sums, the
/// vectors of one step and a broadcast have to fit.
const SHAPE: (usize, usize) = if cfg!(target_feature = "avx512f") {
    (8, 2)
} else if cfg!(target_feature = "avx") {
    (6, 2)
} else if cfg!(target_feature = "neon") {
    (6, 4)
} else {
    (2, 4)
};
/// Rows of a tile.
pub const MR: usize = SHAPE.0;
/// Vectors in a row of a tile, an even number.
pub const NV: usize = SHAPE.1;
/// Columns of a tile.
pub const NR: usize = NV * LANES;
/// Columns of a half tile, which is what few columns get.
pub const HALF: usize = NR / 2;

/// Sums of a tile: `R` rows of `V` vectors.
pub type Tile<const R: usize, const V: usize> = [[Register; V]; R];

#[inline(always)]
fn step<const R: usize, const V: usize>(
    sums: &mut Tile<R, V>,
    left: impl Fn(usize) -> f32,
    right: [Register; V],
) {
    for (i, row) in sums.iter_mut().enumerate() {
        let x = Register::splat(left(i));
        for (sum, &y) in row.iter_mut().zip(&right) {
            *sum = x.mul_add(y, *sum);
        }
    }
}

/// `sums[i] = Σ_p rows[i][p] right[p]`, where A is stored by rows.
#[inline(always)]
pub fn of_rows<const R: usize, const V: usize>(
    rows: [&[f32]; R],
    right: impl ExactSizeIterator<Item = [Register; V]>,
) -> Tile<R, V> {
    // Equal lengths, so that one bound serves all rows.
    let rows = rows.map(|row| &row[..right.len()]);
    let mut sums = [[Register::splat(0.0); V]; R];
    for (p, right) in right.enumerate() {
        step(&mut sums, |i| rows[i][p], right);
    }
    sums
}

/// `sums[i] = Σ_p columns[p * stride + i] right[p]`, where A is stored by columns.
#[inline(always)]
pub fn of_columns<const R: usize, const V: usize>(
    columns: &[f32],
    stride: usize,
    right: impl ExactSizeIterator<Item = [Register; V]>,
) -> Tile<R, V> {
    let mut sums = [[Register::splat(0.0); V]; R];
    for (left, right) in columns.chunks(stride).zip(right) {
        let left: &[f32; R] = left[..R].try_into().expect("R elements");
        step(&mut sums, |i| left[i], right);
    }
    sums
}

/// Writes the tile, or adds it, to the first `width` columns of the rows of `c`, which
/// are `stride` apart.
#[inline(always)]
pub fn write<const R: usize, const V: usize>(
    sums: &Tile<R, V>,
    c: &mut [f32],
    stride: usize,
    width: usize,
    add: bool,
) {
    for (row, c) in sums.iter().zip(c.chunks_mut(stride)) {
        let c = &mut c[..width];
        if width == V * LANES {
            for (&sum, c) in row.iter().zip(c.chunks_exact_mut(LANES)) {
                store(c, if add { load(c) + sum } else { sum });
            }
        } else {
            for (&sum, c) in row.iter().zip(c.chunks_mut(LANES)) {
                let sum = if add { load_partial(c) + sum } else { sum };
                store_partial(c, sum);
            }
        }
    }
}
