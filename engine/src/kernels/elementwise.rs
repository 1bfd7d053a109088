//! Arithmetic element by element.
//!
//! Every function writes `y = ...` or, where `accumulate` is set, `y += ...`; so the
//! same ones serve forward and as their own backward. Without `accumulate`, `y` is not
//! read and may hold anything. All slices have the same length, else they panic.

use crate::simd::{F32, map};

/// `y = x`.
#[track_caller]
pub fn copy(y: &mut [f32], accumulate: bool, x: &[f32]) {
    map(y, accumulate, [x], |[x]| x);
}

/// `y = a + b`. Backward: [`copy`] of `dy` to each input.
#[track_caller]
pub fn add(y: &mut [f32], accumulate: bool, a: &[f32], b: &[f32]) {
    map(y, accumulate, [a, b], |[a, b]| a + b);
}

/// `y = a - b`. Backward: [`copy`] of `dy` to `a`, [`scale`] by -1 to `b`.
#[track_caller]
pub fn sub(y: &mut [f32], accumulate: bool, a: &[f32], b: &[f32]) {
    map(y, accumulate, [a, b], |[a, b]| a - b);
}

/// `y = a b`. Backward: [`mul`] of `dy` with the other input. A [dropout mask](dropout_mask)
/// is applied the same way.
#[track_caller]
pub fn mul(y: &mut [f32], accumulate: bool, a: &[f32], b: &[f32]) {
    map(y, accumulate, [a, b], |[a, b]| a * b);
}

/// `y = factor x`; with `accumulate` the axpy of BLAS. Backward: the same on `dy`.
#[track_caller]
pub fn scale(y: &mut [f32], accumulate: bool, x: &[f32], factor: f32) {
    let factor = F32::splat(factor);
    map(y, accumulate, [x], |[x]| x * factor);
}

/// Fills a dropout mask with 0 with probability `p`, else with `1 / (1 - p)`, so that
/// applying it, forward and backward, is [`mul`]. `next` supplies
/// uniform 32-bit numbers, one an element, in order.
///
/// # Panics
/// If `p` is not in `[0, 1)`.
#[track_caller]
pub fn dropout_mask(mask: &mut [f32], p: f32, mut next: impl FnMut() -> u32) {
    assert!(
        (0.0..1.0).contains(&p),
        "dropout_mask: p is {p}, expected 0 <= p < 1"
    );
    let kept = 1.0 / (1.0 - p);
    let threshold = (f64::from(p) * 2f64.powi(32)) as u64;
    for mask in mask {
        *mask = if u64::from(next()) < threshold {
            0.0
        } else {
            kept
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn arithmetic_agrees_with_f64_and_overwrites_poison() {
        for len in SIZES {
            let (a, b) = (normals(len, 1), normals(len, 2));
            assert_written(&wide(&a), 0.0, |y, acc| copy(y, acc, &a));
            assert_written(&each2(&a, &b, |a, b| a + b), 1e-7, |y, acc| {
                add(y, acc, &a, &b)
            });
            assert_written(&each2(&a, &b, |a, b| a - b), 1e-7, |y, acc| {
                sub(y, acc, &a, &b)
            });
            assert_written(&each2(&a, &b, |a, b| a * b), 1e-7, |y, acc| {
                mul(y, acc, &a, &b)
            });
            assert_written(&each(&a, |a| a * -0.75), 1e-7, |y, acc| {
                scale(y, acc, &a, -0.75)
            });
        }
    }

    #[test]
    #[should_panic(expected = "input 1 has 2 elements, expected 3")]
    fn a_length_mismatch_panics() {
        add(&mut [0.0; 3], false, &[0.0; 3], &[0.0; 2]);
    }

    #[test]
    fn a_fraction_p_is_dropped_and_the_rest_scaled_to_keep_the_mean() {
        for p in [0.0, 0.1, 0.5, 0.9] {
            let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(7);
            let mut mask = vec![f32::NAN; 100_000];
            dropout_mask(&mut mask, p, || generator.next_u32());
            let dropped = mask.iter().filter(|&&m| m == 0.0).count() as f64 / 1e5;
            assert!((dropped - f64::from(p)).abs() < 0.006, "{dropped} for {p}");
            assert!(mask.iter().all(|&m| m == 0.0 || m == 1.0 / (1.0 - p)));
        }
    }

    #[test]
    fn the_numbers_are_compared_with_p() {
        let mut numbers = [0, (1 << 31) - 1, 1 << 31, u32::MAX].into_iter();
        let mut mask = [f32::NAN; 4];
        dropout_mask(&mut mask, 0.5, || numbers.next().unwrap());
        assert_eq!(mask, [0.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "dropout_mask: p is 1, expected 0 <= p < 1")]
    fn dropping_everything_panics() {
        dropout_mask(&mut [0.0], 1.0, || 0);
    }
}
