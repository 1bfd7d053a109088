//! Sums over a whole slice, the same bits for any number of threads.
//!
//! A slice is cut into blocks of [`BLOCK`] elements. A block's sum is an f64 sum of short
//! f32 sums, and the blocks are added in their order, whoever computed them.

use crate::simd;
use rayon::prelude::*;

/// Elements in a block.
pub const BLOCK: usize = 64 * 1024;

/// Elements that are summed in f32.
const RUN: usize = 4096;

/// Blocks whose sums are held at a time.
const HELD: usize = 64;

/// `sum x`.
pub fn sum(x: &[f32]) -> f64 {
    x.chunks(BLOCK).map(block_sum).sum()
}

/// `sum x^2`.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(BLOCK).map(block_sum_of_squares).sum()
}

/// [`sum_of_squares`], blocks in parallel; the same bits.
pub fn sum_of_squares_in_parallel(x: &[f32]) -> f64 {
    // The iterator sums of the sequential version start from -0.0.
    let mut total = -0.0;
    for x in x.chunks(HELD * BLOCK) {
        let mut held = [0.0; HELD];
        held.par_iter_mut()
            .zip(x.par_chunks(BLOCK))
            .for_each(|(held, x)| *held = block_sum_of_squares(x));
        for value in &held[..x.len().div_ceil(BLOCK)] {
            total += value;
        }
    }
    total
}

fn block_sum(x: &[f32]) -> f64 {
    x.chunks(RUN).map(|x| f64::from(simd::sum(x))).sum()
}

fn block_sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(RUN).map(|x| f64::from(simd::dot(x, x))).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn sums_agree_with_f64_and_do_not_depend_on_threads() {
        for len in SIZES
            .into_iter()
            .chain([BLOCK - 1, 5 * BLOCK + 3, (HELD + 2) * BLOCK + 1])
        {
            let x: Vec<f32> = (0..len).map(|i| (i as f32 * 0.37).sin() + 0.1).collect();
            let exact: f64 = wide(&x).iter().sum();
            let exact_squares: f64 = wide(&x).iter().map(|x| x * x).sum();
            assert!((sum(&x) - exact).abs() <= 1e-6 * exact_squares, "{len}");
            assert!(
                (sum_of_squares(&x) - exact_squares).abs() <= 1e-6 * exact_squares,
                "{len}"
            );
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| {
                    let squares = sum_of_squares_in_parallel(&x);
                    assert_eq!(squares.to_bits(), sum_of_squares(&x).to_bits());
                });
            }
        }
        assert_eq!(sum_of_squares_in_parallel(&[]), 0.0);
    }
}
