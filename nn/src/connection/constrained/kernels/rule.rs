//! How a mix is made of its logits.

use super::{
    cayley, kronecker, permutations, permutations::MOST_STREAMS, quaternions, sinkhorn,
    softmax_sinkhorn,
};
use engine::simd::F32;

/// The rule that makes a mix of its logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `I`, without logits.
    Identity,
    /// Sinkhorn-Knopp of `exp(logits)`, columns then rows, this many times.
    Sinkhorn {
        /// Iterations of both normalisations.
        iterations: usize,
    },
    /// Sinkhorn-Knopp of the softmax of each row plus `eps`, with `eps` in every divisor, as
    /// DeepSeek-V4 has it: columns, then `iterations - 1` times rows and columns. The rows of its
    /// logits are the sources.
    SoftmaxSinkhorn {
        /// Divisions of the columns.
        iterations: usize,
        /// Added to the weights and to every sum.
        eps: f32,
    },
    /// The mean of all permutation matrices in lexicographic order, weighted by the
    /// softmax of the logits.
    Permutations,
    /// The Kronecker product of `[[p, 1 - p], [1 - p, p]]`, `(p, 1 - p)` the softmax of two
    /// logits, one for each bit of the stream's number.
    Kronecker,
    /// Multiplication of four streams by two unit quaternions, from the left and from the right.
    Quaternions,
    /// The Cayley transform `(I - S)⁻¹ (I + S)` of a skew-symmetric S, the logits above its
    /// diagonal row by row.
    Cayley,
    /// The same transform by its fixed-point iteration, this many steps.
    CayleySteps {
        /// Steps after the start `I + 2 S`.
        iterations: usize,
    },
}

/// The most iterations that make a mix: the backward keeps every one of them.
const MOST_ITERATIONS: usize = 10_000;

impl Rule {
    /// Says what is wrong with the rule for so many streams.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    pub fn validate(self, rate: usize) -> Result<(), String> {
        let (key, value, expected) = match self {
            Rule::Sinkhorn { iterations } | Rule::SoftmaxSinkhorn { iterations, .. }
                if !(1..=MOST_ITERATIONS).contains(&iterations) =>
            {
                (
                    "sinkhorn_iters",
                    iterations,
                    format!("1 to {MOST_ITERATIONS} (the paper has 20)"),
                )
            }
            Rule::CayleySteps { iterations } if iterations > MOST_ITERATIONS => (
                "iterations",
                iterations,
                format!("at most {MOST_ITERATIONS} (the paper has 2)"),
            ),
            Rule::Permutations if rate > MOST_STREAMS => (
                "rate",
                rate,
                format!(
                    "at most {MOST_STREAMS}: the mix has a logit for each of the rate! permutations"
                ),
            ),
            Rule::Quaternions if rate != quaternions::STREAMS => {
                ("rate", rate, "4: the mix is made of quaternions".into())
            }
            Rule::Kronecker if !rate.is_power_of_two() => (
                "rate",
                rate,
                "a power of two: the mix is a product of 2 x 2 matrices".into(),
            ),
            _ => return Ok(()),
        };
        Err(format!("{key} is {value}, expected {expected}"))
    }

    /// The rule that acts on n streams: there is nothing to choose for one, but that DeepSeek-V4
    /// has a logit for it all the same.
    fn of(self, n: usize) -> Self {
        match self {
            Rule::SoftmaxSinkhorn { .. } => self,
            _ if n == 1 => Rule::Identity,
            _ => self,
        }
    }

    /// Number of logits of a mix of n streams; none where there is nothing to choose.
    pub fn logits(self, n: usize) -> usize {
        match self.of(n) {
            Rule::Identity => 0,
            Rule::Sinkhorn { .. } | Rule::SoftmaxSinkhorn { .. } => n * n,
            Rule::Permutations => (1..=n).product(),
            Rule::Kronecker => 2 * n.ilog2() as usize,
            Rule::Quaternions => quaternions::LOGITS,
            Rule::Cayley | Rule::CayleySteps { .. } => n * (n - 1) / 2,
        }
    }

    /// Returns whether the mix is made of probabilities.
    pub fn is_stochastic(self) -> bool {
        matches!(
            self,
            Rule::Sinkhorn { .. }
                | Rule::SoftmaxSinkhorn { .. }
                | Rule::Permutations
                | Rule::Kronecker
        )
    }

    /// Logits with `on` where the identity needs weight and `off` elsewhere. The Cayley
    /// transform is the identity at zero, and quaternions are where both are 1; they know neither.
    pub fn logits_near_identity(self, n: usize, on: f32, off: f32) -> Vec<f32> {
        let value = |index: usize| {
            let is_on = match self {
                Rule::Identity | Rule::Cayley | Rule::CayleySteps { .. } => return 0.0,
                Rule::Quaternions => {
                    return f32::from(index.is_multiple_of(quaternions::STREAMS));
                }
                Rule::Sinkhorn { .. } | Rule::SoftmaxSinkhorn { .. } => index / n == index % n,
                Rule::Permutations => index == 0,
                Rule::Kronecker => index.is_multiple_of(2),
            };
            if is_on { on } else { off }
        };
        (0..self.logits(n)).map(value).collect()
    }

    /// Floating-point operations of one mix, about.
    pub fn flops(self, n: usize) -> usize {
        match self {
            Rule::Identity => 0,
            Rule::Sinkhorn { iterations } | Rule::SoftmaxSinkhorn { iterations, .. } => {
                8 * iterations * n * n
            }
            Rule::Permutations => (3 + n) * self.logits(n),
            Rule::Kronecker => 3 * self.logits(n) + n * self.logits(n) / 2,
            Rule::Quaternions | Rule::Cayley => 2 * n * n * n,
            Rule::CayleySteps { iterations } => 2 * iterations * n * n * n,
        }
    }

    /// Vectors of scratch memory that a mix and its backward need.
    pub(super) fn scratch(self, n: usize) -> usize {
        match self {
            Rule::Identity | Rule::Quaternions => 0,
            Rule::Sinkhorn { iterations } => sinkhorn::scratch(n, iterations),
            Rule::SoftmaxSinkhorn { iterations, .. } => softmax_sinkhorn::scratch(n, iterations),
            Rule::Permutations => permutations::scratch(n),
            Rule::Kronecker => kronecker::scratch(n),
            Rule::Cayley => cayley::scratch(n),
            Rule::CayleySteps { iterations } => cayley::scratch_of_steps(n, iterations),
        }
    }

    pub(super) fn mix(self, n: usize, logits: &[F32], mix: &mut [F32], scratch: &mut [F32]) {
        match self.of(n) {
            Rule::Identity => {
                mix.fill(F32::ZERO);
                mix.iter_mut().step_by(n + 1).for_each(|x| *x = F32::ONE);
            }
            Rule::Sinkhorn { iterations } => sinkhorn::mix(n, iterations, logits, mix, scratch),
            Rule::SoftmaxSinkhorn { iterations, eps } => {
                softmax_sinkhorn::mix(n, (iterations, eps), logits, mix, scratch);
            }
            Rule::Permutations => permutations::mix(n, logits, mix, scratch),
            Rule::Kronecker => kronecker::mix(n, logits, mix, scratch),
            Rule::Quaternions => quaternions::mix(logits, mix),
            Rule::Cayley => cayley::mix(n, logits, mix, scratch),
            Rule::CayleySteps { iterations } => {
                cayley::mix_by_steps(n, iterations, logits, mix, scratch);
            }
        }
    }

    /// The gradient of the logits from that of the mix.
    pub(super) fn mix_backward(
        self,
        n: usize,
        logits: &[F32],
        mix: &[F32],
        grad: &[F32],
        logits_grad: &mut [F32],
        scratch: &mut [F32],
    ) {
        match self.of(n) {
            Rule::Identity => {}
            Rule::Sinkhorn { iterations } => {
                sinkhorn::backward(n, iterations, logits, grad, logits_grad, scratch);
            }
            Rule::SoftmaxSinkhorn { iterations, eps } => {
                let how = (iterations, eps);
                softmax_sinkhorn::backward(n, how, logits, grad, logits_grad, scratch);
            }
            Rule::Permutations => permutations::backward(n, logits, grad, logits_grad, scratch),
            Rule::Kronecker => kronecker::backward(n, logits, grad, logits_grad, scratch),
            Rule::Quaternions => quaternions::backward(logits, grad, logits_grad),
            Rule::Cayley => cayley::backward(n, mix, grad, logits_grad, scratch),
            Rule::CayleySteps { iterations } => {
                cayley::backward_of_steps(n, iterations, logits, grad, logits_grad, scratch);
            }
        }
    }
}
