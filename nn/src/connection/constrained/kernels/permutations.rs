//! The Birkhoff-von-Neumann form: a mean of all permutation matrices (mHC-lite).
//!
//! `H = sum_q a_q P_q` with `a = softmax(logits)`, the permutations in lexicographic
//! order, the identity first, and `P_q[i, q(i)] = 1`. Rows and columns sum to 1 exactly.

use super::gates::{softmax, softmax_backward};
use engine::simd::F32;

/// The most streams for which all permutations are spelt out: 120 of them.
pub const MOST_STREAMS: usize = 5;

/// Vectors of scratch memory: one per permutation.
pub(super) fn scratch(n: usize) -> usize {
    (1..=n).product()
}

/// Calls `visit(index, q)` for all permutations of `0..n` in lexicographic order.
fn each_permutation(n: usize, mut visit: impl FnMut(usize, &[usize])) {
    let mut all: [usize; MOST_STREAMS] = std::array::from_fn(|i| i);
    let q = &mut all[..n];
    for index in 0.. {
        visit(index, q);
        // The next one raises the last element that has a larger one behind it.
        let Some(pivot) = (1..n).rev().find(|&i| q[i - 1] < q[i]) else {
            return;
        };
        let larger = (pivot..n).rev().find(|&i| q[i] > q[pivot - 1]);
        q.swap(pivot - 1, larger.expect("a larger element behind"));
        q[pivot..].reverse();
    }
}

/// The mean of the permutations.
pub(super) fn mix(n: usize, logits: &[F32], mix: &mut [F32], scratch: &mut [F32]) {
    let a = &mut scratch[..logits.len()];
    softmax(logits, a);
    mix.fill(F32::ZERO);
    each_permutation(n, |index, q| {
        for (i, &j) in q.iter().enumerate() {
            mix[i * n + j] += a[index];
        }
    });
}

/// `da_q = sum_i dH[i, q(i)]`, then through the softmax.
pub(super) fn backward(
    n: usize,
    logits: &[F32],
    mix_grad: &[F32],
    logits_grad: &mut [F32],
    scratch: &mut [F32],
) {
    let a = &mut scratch[..logits.len()];
    softmax(logits, a);
    each_permutation(n, |index, q| {
        let mut grad = F32::ZERO;
        for (i, &j) in q.iter().enumerate() {
            grad += mix_grad[i * n + j];
        }
        logits_grad[index] = grad;
    });
    softmax_backward(a, logits_grad);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_come_in_lexicographic_order() {
        let mut all = Vec::new();
        each_permutation(3, |index, q| {
            assert_eq!(index, all.len());
            all.push(q.to_vec());
        });
        let expected = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        assert_eq!(all, expected);
    }
}
