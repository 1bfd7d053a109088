//! How read and write are made of their logits.

use engine::simd::{F32, exp_nonpositive, sigmoid};

/// The gates that make read and write of their logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gates {
    /// The read is their sigmoid, the write twice their sigmoid.
    Sigmoid,
    /// The same with `floor` added to the read.
    FlooredSigmoid {
        /// Added to the read.
        floor: f32,
    },
    /// Each is made of n softmaxes of n logits: the read is their mean, the write their sum.
    Softmax,
}

impl Gates {
    /// Number of logits of the read, and of the write.
    pub fn logits(self, n: usize) -> usize {
        match self {
            Self::Sigmoid | Self::FlooredSigmoid { .. } => n,
            Self::Softmax => n * n,
        }
    }

    /// The factor between a gate and a write.
    pub(super) fn write_factor(self, n: usize) -> F32 {
        match self {
            Self::Sigmoid | Self::FlooredSigmoid { .. } => F32::splat(2.0),
            Self::Softmax => F32::splat(n as f32),
        }
    }

    /// Added to a gate that reads.
    pub(super) fn floor(self) -> F32 {
        match self {
            Self::FlooredSigmoid { floor } => F32::splat(floor),
            Self::Sigmoid | Self::Softmax => F32::ZERO,
        }
    }

    /// Vectors of scratch memory: the softmaxes.
    pub(super) fn scratch(self, n: usize) -> usize {
        match self {
            Self::Sigmoid | Self::FlooredSigmoid { .. } => 0,
            Self::Softmax => 2 * n * n,
        }
    }

    /// The gates of the read and write logits, without the factor of the write and the floor of the
    /// read.
    pub(super) fn forward(
        self,
        n: usize,
        logits: &[F32],
        gates: &mut [F32],
        softmaxes: &mut [F32],
    ) {
        match self {
            Self::Sigmoid | Self::FlooredSigmoid { .. } => {
                for (gate, &logit) in gates.iter_mut().zip(logits) {
                    *gate = sigmoid(logit);
                }
            }
            Self::Softmax => {
                let part = F32::splat(1.0 / n as f32);
                gates.fill(F32::ZERO);
                let rows = logits.chunks_exact(n).zip(softmaxes.chunks_exact_mut(n));
                for (row, (logits, weights)) in rows.enumerate() {
                    softmax(logits, weights);
                    for (gate, &weight) in gates[row / n * n..].iter_mut().zip(&*weights) {
                        *gate = part.mul_add(weight, *gate);
                    }
                }
            }
        }
    }

    /// From the gradients of n reads and n writes to those of their logits.
    pub(super) fn backward(
        self,
        n: usize,
        (gates, softmaxes): (&[F32], &[F32]),
        gates_grad: &[F32],
        logits_grad: &mut [F32],
    ) {
        match self {
            Self::Sigmoid | Self::FlooredSigmoid { .. } => {
                let (read, write) = logits_grad.split_at_mut(n);
                let of = gates.iter().zip(gates_grad);
                for ((&gate, &grad), to) in of.clone().zip(read) {
                    *to = grad * gate * (F32::ONE - gate);
                }
                for ((&gate, &grad), to) in of.skip(n).zip(write) {
                    *to = grad * (gate * (F32::ONE - gate) * self.write_factor(n));
                }
            }
            Self::Softmax => {
                let factors = [F32::splat(1.0 / n as f32), F32::ONE];
                let rows = softmaxes
                    .chunks_exact(n)
                    .zip(logits_grad.chunks_exact_mut(n));
                for (row, (weights, grads)) in rows.enumerate() {
                    let factor = factors[row / n];
                    for (grad, &of_gate) in grads.iter_mut().zip(&gates_grad[row / n * n..]) {
                        *grad = of_gate * factor;
                    }
                    softmax_backward(weights, grads);
                }
            }
        }
    }
}

/// The softmax of a few logits, one token in each lane.
pub(super) fn softmax(logits: &[F32], weights: &mut [F32]) {
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
pub(super) fn softmax_backward(weights: &[F32], grads: &mut [F32]) {
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
