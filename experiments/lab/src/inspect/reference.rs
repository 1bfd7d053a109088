//! The unfolded matrices of arrangements that people know, to compare with.

use figures::unfold::{LayerCoefficients, unfold};
use std::f32::consts::FRAC_1_SQRT_2;

/// A fixed arrangement. Each is a hyper-connection of constant matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `x + f(norm x)`: every output stays.
    PreNorm,
    /// `norm(x + f(x))` with x and f(x) of equal variance and uncorrelated, so that every norm
    /// divides by the root of 2 (the paper's Eq. 16 depends on the data).
    PostNorm,
    /// `x + attention(norm x) + feed_forward(norm x)`.
    ParallelBlock,
    /// Megalodon's two-hop residual: `y = x + attention(norm x)`, `x' = x +
    /// feed_forward(norm y)`; what attention says is heard by the next sublayer only.
    TwoHop,
}

impl Reference {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::PreNorm,
        Self::PostNorm,
        Self::ParallelBlock,
        Self::TwoHop,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreNorm => "pre-norm",
            Self::PostNorm => "post-norm",
            Self::ParallelBlock => "parallel block",
            Self::TwoHop => "two-hop residual",
        }
    }

    /// Its C(0) for so many sublayers, attention first.
    pub fn matrix(self, sublayers: usize) -> Vec<Vec<f64>> {
        let layers: Vec<_> = (0..sublayers).map(|k| self.layer(k % 2 == 0)).collect();
        let rate = layers.first().map_or(1, LayerCoefficients::rate);
        unfold(&layers, &vec![1.0; rate]).inputs
    }

    /// `[A_m | A_r]` and B of attention or of a feed-forward layer. With two streams the first
    /// is x, the second holds what attention has said until the block ends.
    fn layer(self, attention: bool) -> LayerCoefficients {
        let (alpha, beta): (&[f32], &[f32]) = match (self, attention) {
            (Self::PreNorm, _) => (&[1.0, 1.0], &[1.0]),
            (Self::PostNorm, _) => (&[1.0, FRAC_1_SQRT_2], &[FRAC_1_SQRT_2]),
            (_, true) => (&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0], &[0.0, 1.0]),
            (Self::ParallelBlock, false) => (&[1.0, 1.0, 0.0, 0.0, 1.0, 0.0], &[1.0, 0.0]),
            (Self::TwoHop, false) => (&[1.0, 1.0, 0.0, 1.0, 0.0, 0.0], &[1.0, 0.0]),
        };
        LayerCoefficients {
            alpha: alpha.to_vec(),
            beta: beta.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrangements_are_the_matrices_of_their_formulas() {
        let check = |reference: Reference, expected: [[f64; 5]; 5]| {
            for (found, expected) in reference.matrix(4).iter().zip(expected) {
                for (x, y) in found.iter().zip(expected) {
                    assert!((x - y).abs() < 1e-6, "{}: {found:?}", reference.name());
                }
            }
        };
        let one = |n: usize| std::array::from_fn(|j| f64::from(u8::from(j < n)));
        check(Reference::PreNorm, [1, 2, 3, 4, 5].map(one));
        check(
            Reference::ParallelBlock,
            [
                [1.0, 0.0, 0.0, 0.0, 0.0],
                [1.0, 0.0, 0.0, 0.0, 0.0],
                [1.0, 1.0, 1.0, 0.0, 0.0],
                [1.0, 1.0, 1.0, 0.0, 0.0],
                [1.0, 1.0, 1.0, 1.0, 1.0],
            ],
        );
        check(
            Reference::TwoHop,
            [
                [1.0, 0.0, 0.0, 0.0, 0.0],
                [1.0, 1.0, 0.0, 0.0, 0.0],
                [1.0, 0.0, 1.0, 0.0, 0.0],
                [1.0, 0.0, 1.0, 1.0, 0.0],
                [1.0, 0.0, 1.0, 0.0, 1.0],
            ],
        );
        let r = |power: i32| 0.5_f64.sqrt().powi(power);
        check(
            Reference::PostNorm,
            [
                [1.0, 0.0, 0.0, 0.0, 0.0],
                [r(1), r(1), 0.0, 0.0, 0.0],
                [r(2), r(2), r(1), 0.0, 0.0],
                [r(3), r(3), r(2), r(1), 0.0],
                [r(4), r(4), r(3), r(2), r(1)],
            ],
        );
    }
}
