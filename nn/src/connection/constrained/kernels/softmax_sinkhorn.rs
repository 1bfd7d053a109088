//! Sinkhorn's iteration as DeepSeek-V4 runs it: from a softmax, with eps in every divisor, and
//! with the gradient of every division.
//!
//! ```text
//! C = softmax of each row of L, + eps
//! C_ij /= sum_i C_ij + eps                          columns
//! t - 1 times: C_ij /= sum_j C_ij + eps             rows
//!              C_ij /= sum_i C_ij + eps             columns
//! ```
//! C has the source in the row: it is `A_r`, the transpose of `H_res`. The divisors are kept, and
//! the backward multiplies them back: with `y = x / q`, `q = sum x + eps`, `dx = (dy - sum dy y) / q`.

use super::gates::{softmax, softmax_backward};
use engine::simd::F32;

/// Vectors of scratch memory: the softmax, the divisors, and the matrix.
pub(super) fn scratch(n: usize, iterations: usize) -> usize {
    2 * n * n + n * divisions(iterations)
}

fn divisions(iterations: usize) -> usize {
    2 * iterations - 1
}

/// The place of element `k` of group `group`: groups are columns in even divisions, rows in odd
/// ones.
#[inline(always)]
fn place(n: usize, division: usize, group: usize, k: usize) -> usize {
    match division % 2 {
        0 => k * n + group,
        _ => group * n + k,
    }
}

/// All divisions of C, `[n, n]`, in place; `divisors` receives n of each.
fn divide(n: usize, eps: F32, c: &mut [F32], divisors: &mut [F32]) {
    for (division, divisors) in divisors.chunks_exact_mut(n).enumerate() {
        for (group, divisor) in divisors.iter_mut().enumerate() {
            let mut sum = eps;
            for k in 0..n {
                sum += c[place(n, division, group, k)];
            }
            // Without eps, a sum of weights that are too small for f32 is 0, as they are.
            *divisor = sum.fast_max(F32::splat(f32::MIN_POSITIVE));
            for k in 0..n {
                c[place(n, division, group, k)] /= *divisor;
            }
        }
    }
}

/// The softmax of each row of the logits, C of it and its divisors, in scratch memory.
fn forward<'s>(
    n: usize,
    (iterations, eps): (usize, f32),
    logits: &[F32],
    scratch: &'s mut [F32],
) -> [&'s mut [F32]; 3] {
    let eps = F32::splat(eps);
    let (weights, rest) = scratch.split_at_mut(n * n);
    let (divisors, rest) = rest.split_at_mut(n * divisions(iterations));
    let c = &mut rest[..n * n];
    for (logits, weights) in logits.chunks_exact(n).zip(weights.chunks_exact_mut(n)) {
        softmax(logits, weights);
    }
    for (c, &weight) in c.iter_mut().zip(&*weights) {
        *c = weight + eps;
    }
    divide(n, eps, c, divisors);
    [weights, c, divisors]
}

/// The last iterate, transposed: `mix` has the destination in the row.
pub(super) fn mix(
    n: usize,
    settings: (usize, f32),
    logits: &[F32],
    mix: &mut [F32],
    scratch: &mut [F32],
) {
    let [_, c, _] = forward(n, settings, logits, scratch);
    for i in 0..n {
        for j in 0..n {
            mix[j * n + i] = c[i * n + j];
        }
    }
}

/// The gradient of the logits.
pub(super) fn backward(
    n: usize,
    settings: (usize, f32),
    logits: &[F32],
    mix_grad: &[F32],
    logits_grad: &mut [F32],
    scratch: &mut [F32],
) {
    let [weights, c, divisors] = forward(n, settings, logits, scratch);
    for i in 0..n {
        for j in 0..n {
            logits_grad[i * n + j] = mix_grad[j * n + i];
        }
    }
    for (division, divisors) in divisors.chunks_exact(n).enumerate().rev() {
        for (group, &divisor) in divisors.iter().enumerate() {
            let mut along = F32::ZERO;
            for k in 0..n {
                let at = place(n, division, group, k);
                along = logits_grad[at].mul_add(c[at], along);
            }
            for k in 0..n {
                let at = place(n, division, group, k);
                logits_grad[at] = (logits_grad[at] - along) / divisor;
                c[at] *= divisor;
            }
        }
    }
    let rows = weights.chunks_exact(n).zip(logits_grad.chunks_exact_mut(n));
    for (weights, grads) in rows {
        softmax_backward(weights, grads);
    }
}
