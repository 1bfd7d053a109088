//! Softmax of a few logits, one token in each lane.

use engine::simd::{F32, exp_nonpositive};

/// The softmax of the logits.
pub(super) fn forward(logits: &[F32], weights: &mut [F32]) {
    let largest = logits
        .iter()
        .fold(logits[0], |largest, &x| largest.fast_max(x));
    let mut sum = F32::ZERO;
    for (weight, &logit) in weights.iter_mut().zip(logits) {
        *weight = exp_nonpositive(logit - largest);
        sum += *weight;
    }
    for weight in weights {
        *weight /= sum;
    }
}

/// From the gradient of the weights to that of the logits, in place: `dz_i = w_i (dw_i - sum_j w_j
/// dw_j)`.
pub(super) fn backward(weights: &[F32], grads: &mut [F32]) {
    let mean = weights
        .iter()
        .zip(&*grads)
        .fold(F32::ZERO, |mean, (&weight, &grad)| {
            weight.mul_add(grad, mean)
        });
    for (grad, &weight) in grads.iter_mut().zip(weights) {
        *grad = (*grad - mean) * weight;
    }
}
