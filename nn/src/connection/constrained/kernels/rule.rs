//! How a mix is made of its logits.

use super::{cayley, cayley_steps, kronecker, permutations, sinkhorn};
use engine::simd::F32;

/// How a mix is made of its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `I`, without logits.
    Identity,
    /// Sinkhorn-Knopp of `exp(logits)`, columns then rows, this many times.
    Sinkhorn {
        /// Iterations of both normalisations.
        iterations: usize,
    },
    /// The mean of all permutation matrices in lexicographic order, weighted by the
    /// softmax of the logits.
    Permutations,
    /// The Kronecker product of `[[p, 1 - p], [1 - p, p]]`, `(p, 1 - p)` the softmax of two
    /// logits, one for each bit of the stream's number.
    Kronecker,
    /// The Cayley transform `(I - S)⁻¹ (I + S)` of a skew-symmetric S, the logits above its
    /// diagonal row by row.
    Cayley,
    /// The same transform by its fixed-point iteration, this many steps.
    CayleySteps {
        /// Steps after the start `I + 2 S`.
        iterations: usize,
    },
}

impl Rule {
    /// How many logits a mix of n streams has; none where there is nothing to choose.
    pub fn logits(self, n: usize) -> usize {
        match self {
            _ if n == 1 => 0,
            Rule::Identity => 0,
            Rule::Sinkhorn { .. } => n * n,
            Rule::Permutations => (1..=n).product(),
            Rule::Kronecker => 2 * n.ilog2() as usize,
            Rule::Cayley | Rule::CayleySteps { .. } => n * (n - 1) / 2,
        }
    }

    /// Whether the mix is made of probabilities.
    pub fn is_stochastic(self) -> bool {
        match self {
            Rule::Identity | Rule::Cayley | Rule::CayleySteps { .. } => false,
            Rule::Sinkhorn { .. } | Rule::Permutations | Rule::Kronecker => true,
        }
    }

    /// Logits with `on` where the identity needs weight and `off` elsewhere. The Cayley
    /// transform is the identity at zero and knows neither.
    pub fn logits_near_identity(self, n: usize, on: f32, off: f32) -> Vec<f32> {
        let value = |index: usize| {
            let is_on = match self {
                Rule::Identity | Rule::Cayley | Rule::CayleySteps { .. } => return 0.0,
                Rule::Sinkhorn { .. } => index / n == index % n,
                Rule::Permutations => index == 0,
                Rule::Kronecker => index.is_multiple_of(2),
            };
            if is_on { on } else { off }
        };
        (0..self.logits(n)).map(value).collect()
    }

    /// Vectors of scratch memory that a mix and its backward need.
    pub(super) fn scratch(self, n: usize) -> usize {
        match self {
            Rule::Identity => 0,
            Rule::Sinkhorn { iterations } => sinkhorn::scratch(n, iterations),
            Rule::Permutations => permutations::scratch(n),
            Rule::Kronecker => kronecker::scratch(n),
            Rule::Cayley => cayley::scratch(n),
            Rule::CayleySteps { iterations } => cayley_steps::scratch(n, iterations),
        }
    }

    pub(super) fn mix(self, n: usize, logits: &[F32], mix: &mut [F32], scratch: &mut [F32]) {
        match self {
            Rule::Sinkhorn { iterations } if n > 1 => {
                sinkhorn::mix(n, iterations, logits, mix, scratch);
            }
            Rule::Permutations if n > 1 => permutations::mix(n, logits, mix, scratch),
            Rule::Kronecker if n > 1 => kronecker::mix(n, logits, mix, scratch),
            Rule::Cayley if n > 1 => cayley::mix(n, logits, mix, scratch),
            Rule::CayleySteps { iterations } if n > 1 => {
                cayley_steps::mix(n, iterations, logits, mix, scratch);
            }
            _ => {
                mix.fill(F32::ZERO);
                for i in 0..n {
                    mix[i * n + i] = F32::ONE;
                }
            }
        }
    }

    /// The gradient of the logits from that of the mix.
    pub(super) fn mix_backward(
        self,
        n: usize,
        logits: &[F32],
        mix: &[F32],
        mix_grad: &[F32],
        logits_grad: &mut [F32],
        scratch: &mut [F32],
    ) {
        match self {
            _ if n == 1 => {}
            Rule::Identity => {}
            Rule::Sinkhorn { iterations } => {
                sinkhorn::backward(n, iterations, logits, mix_grad, logits_grad, scratch);
            }
            Rule::Permutations => permutations::backward(n, logits, mix_grad, logits_grad, scratch),
            Rule::Kronecker => kronecker::backward(n, logits, mix_grad, logits_grad, scratch),
            Rule::Cayley => cayley::backward(n, mix, mix_grad, logits_grad, scratch),
            Rule::CayleySteps { iterations } => {
                cayley_steps::backward(n, iterations, logits, mix_grad, logits_grad, scratch);
            }
        }
    }
}
