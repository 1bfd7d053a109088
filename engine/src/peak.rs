//! The rate of this machine's multiply-adds, measured: what a kernel can reach at most.

use crate::simd::register::{LANES, Register};
use std::{hint::black_box, time::Instant};

/// Independent sums: enough to hide the latency of a multiply-add, few enough for the registers,
/// 32 with AVX-512 and NEON and 16 elsewhere.
const SUMS: usize = if cfg!(any(target_feature = "avx512f", target_feature = "neon")) {
    24
} else {
    12
};
/// Multiply-adds of each sum in a round: about a millisecond, in which the threads meet at once.
const LENGTH: usize = 1 << 18;
/// Rounds, of which the fastest counts: other work on the machine only ever adds time.
const ROUNDS: usize = 100;

/// GFLOP/s of a loop of independent multiply-adds in the widest registers of the build, on all
/// threads of the current pool at once. A multiply-add is two operations. Takes about 0.2 s.
pub fn gflops() -> f64 {
    let threads = rayon::current_num_threads();
    let round = |_| {
        let begun = Instant::now();
        rayon::broadcast(|_| black_box(chain(black_box(0.5), black_box(1.0))));
        begun.elapsed().as_secs_f64()
    };
    let fastest = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    (2 * LENGTH * SUMS * LANES * threads) as f64 / fastest / 1e9
}

/// `x ← a x + b`, [`LENGTH`] times in every lane of every sum.
fn chain(a: f32, b: f32) -> [Register; SUMS] {
    let (a, b) = (Register::splat(a), Register::splat(b));
    let mut sums = [Register::splat(0.0); SUMS];
    for _ in 0..LENGTH {
        for sum in &mut sums {
            *sum = sum.mul_add(a, b);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_of_every_sum_goes_to_the_fixed_point() {
        for sum in chain(0.5, 1.0) {
            assert_eq!(sum.to_array(), [2.0; LANES]);
        }
    }

    /// Both are measured on the same thread within a second.
    #[test]
    #[cfg(any(target_feature = "fma", target_feature = "neon"))]
    fn no_product_of_matrices_is_faster() {
        use crate::kernels::matmul::{Layout, Product, matmul};
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.expect("a thread").install(|| {
            let product = Product::new(Layout::Nn, 256, 256, 256);
            let (a, mut c) = (vec![1.0; 256 * 256], vec![0.0; 256 * 256]);
            let round = |_| {
                let begun = Instant::now();
                matmul(product, &a, &a, &mut c);
                begun.elapsed().as_secs_f64()
            };
            let fastest = (0..200).map(round).fold(f64::INFINITY, f64::min);
            let reached = product.flops() as f64 / fastest / 1e9;
            let peak = gflops();
            assert!(reached < 1.15 * peak, "{reached} of {peak} GFLOP/s");
        });
    }
}
