//! Products of packed tiles on vectors of AVX512-BF16.
//!
//! A lane of `vdpbf16ps` adds the products of a pair of A and a pair of B to a sum in f32.

use super::tile::{Packed, SIDE, Tile};
use std::arch::x86_64::*;

/// Rows of C in a block of two vectors of columns: 16 sums, more than the multiply-adds that are
/// under way at once, in 32 registers.
const ROWS: usize = 8;

/// Returns whether this processor has the instructions.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// Writes the product to rows of C, each of `n` numbers, or adds it to them.
///
/// # Panics
/// If the processor does not have the instructions.
pub fn multiply(packed: Packed<'_>, c: &mut [f32], n: usize, add: bool) {
    assert!(is_available(), "bf16: this processor has no AVX512-BF16");
    let Packed {
        rows,
        columns,
        steps,
    } = packed;
    for (column, b) in columns.chunks_exact(2 * steps).enumerate() {
        let start = column * 2 * SIDE;
        let block = Block {
            columns: b.split_at(steps).into(),
            c_stride: n,
            c_width: (n - start).min(2 * SIDE),
            add,
        };
        let halves = rows.chunks_exact(steps).flat_map(|a| [(a, 0), (a, ROWS)]);
        for (c, (a, first)) in c[start..].chunks_mut(ROWS * n).zip(halves) {
            // SAFETY: the processor has the instructions.
            unsafe { block.multiply(a, first, c) };
        }
    }
}

/// The columns of C that a pair of panels of B make.
struct Block<'a> {
    columns: [&'a [Tile]; 2],
    /// Numbers from one row of C to the next.
    c_stride: usize,
    /// Columns, at most 32.
    c_width: usize,
    add: bool,
}

impl Block<'_> {
    /// The rows of a panel of A from `first` on, up to [`ROWS`]; those of C begin in `c`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn multiply(&self, a: &[Tile], first: usize, c: &mut [f32]) {
        let Self {
            columns: [b0, b1],
            c_stride,
            c_width,
            add,
        } = *self;
        let middle = SIDE.min(c_width);
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        if add {
            for (sums, c) in sums.iter_mut().zip(c.chunks(c_stride)) {
                *sums = [load(&c[..middle]), load(&c[middle..c_width])];
            }
        }
        for ((Tile(a), Tile(b0)), Tile(b1)) in a.iter().zip(b0).zip(b1) {
            let a: &[[u32; SIDE]; ROWS] = a.as_chunks().0[first..].first_chunk().expect("8 rows");
            let [b0, b1] = [b0, b1].map(|b| b.as_chunks::<SIDE>().0);
            for (pair, (b0, b1)) in b0.iter().zip(b1).enumerate() {
                let [b0, b1] = [pairs(b0), pairs(b1)];
                for (sums, a) in sums.iter_mut().zip(a) {
                    let a = pairs(&[a[pair]; SIDE]);
                    sums[0] = _mm512_dpbf16_ps(sums[0], a, b0);
                    sums[1] = _mm512_dpbf16_ps(sums[1], a, b1);
                }
            }
        }
        for (sums, c) in sums.iter().zip(c.chunks_mut(c_stride)) {
            let (low, high) = c[..c_width].split_at_mut(middle);
            store(low, sums[0]);
            store(high, sums[1]);
        }
    }
}

/// Words of pairs in the registers of the products.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(words: &[u32; SIDE]) -> __m512bh {
    // SAFETY: both are 64 bytes of plain numbers.
    unsafe { std::mem::transmute_copy::<[u32; SIDE], __m512bh>(words) }
}

/// The lanes of the first `len` numbers.
#[inline]
fn mask(len: usize) -> __mmask16 {
    ((1_u32 << len.min(SIDE)) - 1) as __mmask16
}

/// Up to 16 numbers, then zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[f32]) -> __m512 {
    // SAFETY: no lane beyond the end is read.
    unsafe { _mm512_maskz_loadu_ps(mask(x.len()), x.as_ptr()) }
}

/// Writes as many numbers as `to` has, up to 16.
#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [f32], x: __m512) {
    // SAFETY: no lane beyond the end is written.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), x) };
}
