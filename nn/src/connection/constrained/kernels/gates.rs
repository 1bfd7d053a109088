//! How read and write are made of their logits.

use super::softmax;
use engine::simd::{F32, sigmoid};

/// What makes read and write of their logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// The read is their sigmoid, the write twice their sigmoid.
    Sigmoid,
    /// Each is the softmax of its n logits.
    Softmax,
}

impl Gates {
    /// What a gate is multiplied with to be a write.
    pub(super) fn write_factor(self) -> F32 {
        match self {
            Self::Sigmoid => F32::splat(2.0),
            Self::Softmax => F32::ONE,
        }
    }

    /// The gates of n read and n write logits, without the factor of the write.
    pub(super) fn forward(self, n: usize, logits: &[F32], gates: &mut [F32]) {
        match self {
            Self::Sigmoid => {
                for (gate, &logit) in gates[..2 * n].iter_mut().zip(logits) {
                    *gate = sigmoid(logit);
                }
            }
            Self::Softmax => {
                softmax::forward(&logits[..n], &mut gates[..n]);
                softmax::forward(&logits[n..2 * n], &mut gates[n..2 * n]);
            }
        }
    }

    /// From the gradients of n reads and n writes to those of their logits, in place.
    pub(super) fn backward(self, n: usize, gates: &[F32], grads: &mut [F32]) {
        let (read, rest) = grads.split_at_mut(n);
        let write = &mut rest[..n];
        match self {
            Self::Sigmoid => {
                for (grad, &gate) in read.iter_mut().zip(gates) {
                    *grad = *grad * gate * (F32::ONE - gate);
                }
                for (grad, &gate) in write.iter_mut().zip(&gates[n..]) {
                    *grad *= gate * (F32::ONE - gate) * self.write_factor();
                }
            }
            Self::Softmax => {
                softmax::backward(&gates[..n], read);
                softmax::backward(&gates[n..2 * n], write);
            }
        }
    }
}
