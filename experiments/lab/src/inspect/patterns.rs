//! Measures of the patterns that the paper sees in its unfolded matrices (its section 4.5), and the
//! matrices of known arrangements to compare with.
//!
//! An entry `c[k][j]` multiplies the output `T^j`, so what it brings is `c[k][j] s[j]` with `s[j]`
//! the root mean square of that output (embeddings can be a hundred times smaller than outputs,
//! and their entries larger). A sublayer norms what it reads, so the scale of a row means nothing
//! to it. All measures are of relative contributions, `r[k][j] = c[k][j] s[j] / rms over i < k of
//! c[k][i] s[i]`: 1 everywhere in pre-norm if outputs are of one size. The lag of an entry is
//! `k - j`, in sublayers; the last row counts as k = L + 1. Thresholds are conventions of this
//! program: the paper judges by eye.

use figures::unfold::{LayerCoefficients, unfold};
use serde::Serialize;
use std::f32::consts::FRAC_1_SQRT_2;

/// Below this share of an average weight an entry counts as nothing.
pub const NOTHING: f64 = 0.1;
/// A Lambda decays by this share at least, and reads the bottom this many times as much.
pub const LAMBDA: [f64; 2] = [0.5, 2.0];
/// Streams whose matrices correlate more negatively than this are paired by sign.
pub const OPPOSITE: f64 = -0.5;
/// Columns of the bottom: the embedding and the first block.
const BOTTOM: usize = 3;

/// Patterns of C(0) and C(1) to C(n).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Patterns {
    /// `1 - mean |r| at lags above L / 2 / mean |r| at lags up to L / 4`, without the columns of
    /// the bottom: 0 in pre-norm, towards 1 where outputs are forgotten.
    pub decay: Option<f64>,
    /// `mean |r|` of the bottom columns (the embedding and the first two sublayers) over that of
    /// the others, both at lags above L / 2: 1 in pre-norm.
    pub bottom_access: Option<f64>,
    /// Both at once: decay above 0.5 and bottom access above 2.
    pub lambda: bool,
    /// The embedding in the last row, `r[L + 1][0]`.
    pub embedding_in_output: f64,
    /// The embedding in the rows of the sublayers, median of `|r[k][0]|` over k = 2 to L.
    pub embedding_in_layers: f64,
    /// The last row leaves the embedding out: below 0.1 there but not in the layers.
    pub embedding_eliminated: bool,
    /// Sublayers k whose output the next one does not read, `|r[k + 1][k]| < 0.1`: the two could
    /// run in parallel.
    pub parallel_pairs: Vec<usize>,
    /// Of attention outputs: mean `|r|` at lags above 4 over the mean at all lags.
    pub attention_long_range: Option<f64>,
    /// The same of feed-forward outputs.
    pub feed_forward_long_range: Option<f64>,
    /// Pairs of streams, from 1, whose matrices C(i) have a correlation below -0.5, with it.
    pub sign_pairs: Vec<(usize, usize, f64)>,
    /// Sublayers, from 1, of whose output no later row takes more than 0.1.
    pub wasted: Vec<usize>,
}

/// The relative contributions of C(0), of outputs of these sizes.
pub fn relative(inputs: &[Vec<f64>], sizes: &[f64]) -> Vec<Vec<f64>> {
    let rows = inputs.iter().enumerate();
    rows.map(|(k, row)| {
        let row: Vec<f64> = row.iter().zip(sizes).map(|(c, s)| c * s).collect();
        let squares: f64 = row[..=k].iter().map(|c| c * c).sum();
        let rms = (squares / (k + 1) as f64).sqrt();
        let scale = if rms > 0.0 { 1.0 / rms } else { 0.0 };
        row.iter().map(|c| c * scale).collect()
    })
    .collect()
}

impl Patterns {
    /// Of the matrices of [`unfold`](figures::unfold::unfold), and the root mean squares of the
    /// embedding and of all outputs.
    pub fn of(inputs: &[Vec<f64>], streams: &[Vec<Vec<f64>>], sizes: &[f64]) -> Self {
        let r = relative(inputs, sizes);
        let last = r.len() - 1;
        let entries = || (0..=last).flat_map(|row| (0..=row).map(move |j| (row, j)));
        // The row of sublayer k is k - 1.
        let mean = |keep: &dyn Fn(usize, usize) -> bool| {
            let kept = entries().filter(|&(row, j)| keep(j, row + 1 - j));
            let (sum, count) = kept.fold((0.0, 0), |(sum, count), (row, j)| {
                (sum + r[row][j].abs(), count + 1)
            });
            (count > 0).then(|| sum / f64::from(count))
        };
        let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?).filter(|x| x.is_finite());
        let (far, near) = (last / 2, (last / 4).max(1));
        let forgotten = ratio(
            mean(&|j, lag| j >= BOTTOM && lag > far),
            mean(&|j, lag| j >= BOTTOM && lag <= near),
        );
        let decay = forgotten.map(|kept| 1.0 - kept);
        let bottom_access = ratio(
            mean(&|j, lag| j < BOTTOM && lag > far),
            mean(&|j, lag| j >= BOTTOM && lag > far),
        );
        let long_range = |odd: usize| {
            let mine = move |j: usize| j > 0 && j % 2 == odd;
            ratio(mean(&|j, lag| mine(j) && lag > 4), mean(&|j, _| mine(j)))
        };
        let mut in_layers: Vec<f64> = (1..last).map(|row| r[row][0].abs()).collect();
        in_layers.sort_by(f64::total_cmp);
        let embedding_in_layers = in_layers.get(in_layers.len() / 2).copied().unwrap_or(1.0);
        let embedding_in_output = r[last][0];
        let below = |row: usize, j: usize| r[row][j].abs() < NOTHING;
        Self {
            lambda: decay.is_some_and(|d| d > LAMBDA[0])
                && bottom_access.is_some_and(|b| b > LAMBDA[1]),
            decay,
            bottom_access,
            embedding_in_output,
            embedding_in_layers,
            embedding_eliminated: below(last, 0) && embedding_in_layers >= NOTHING,
            parallel_pairs: (1..last).filter(|&k| below(k, k)).collect(),
            attention_long_range: long_range(1),
            feed_forward_long_range: long_range(0),
            sign_pairs: sign_pairs(streams),
            wasted: (1..=last)
                .filter(|&j| (j..=last).all(|row| below(row, j)))
                .collect(),
        }
    }
}

fn sign_pairs(streams: &[Vec<Vec<f64>>]) -> Vec<(usize, usize, f64)> {
    let dot = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
        let (a, b) = (a.iter().flatten(), b.iter().flatten());
        a.zip(b).map(|(x, y)| x * y).sum()
    };
    let mut pairs = Vec::new();
    for i in 0..streams.len() {
        for j in i + 1..streams.len() {
            let norms = dot(&streams[i], &streams[i]) * dot(&streams[j], &streams[j]);
            let cosine = dot(&streams[i], &streams[j]) / norms.sqrt();
            if cosine < OPPOSITE {
                pairs.push((i + 1, j + 1, cosine));
            }
        }
    }
    pairs
}

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

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreNorm => "pre-norm",
            Self::PostNorm => "post-norm",
            Self::ParallelBlock => "parallel block",
            Self::TwoHop => "two-hop residual",
        }
    }

    /// C(0) for so many sublayers, attention first.
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

    fn of(matrix: &[Vec<f64>]) -> Patterns {
        Patterns::of(matrix, &[], &vec![1.0; matrix.len()])
    }

    #[test]
    fn pre_norm_forgets_nothing_and_prefers_nothing() {
        let patterns = of(&Reference::PreNorm.matrix(12));
        assert!(patterns.decay.unwrap().abs() < 1e-12);
        assert!((patterns.bottom_access.unwrap() - 1.0).abs() < 1e-12);
        assert!((patterns.attention_long_range.unwrap() - 1.0).abs() < 1e-12);
        assert!(!patterns.lambda && !patterns.embedding_eliminated);
        assert_eq!((patterns.parallel_pairs, patterns.wasted), (vec![], vec![]));
    }

    #[test]
    fn a_contribution_counts_whatever_its_sign() {
        let mut matrix = Reference::PreNorm.matrix(12);
        for (k, row) in matrix.iter_mut().enumerate() {
            row.iter_mut().skip(k % 2).step_by(2).for_each(|c| *c = -*c);
        }
        let patterns = of(&matrix);
        assert!(patterns.decay.unwrap().abs() < 1e-12);
        assert!((patterns.bottom_access.unwrap() - 1.0).abs() < 1e-12);
        assert!((patterns.feed_forward_long_range.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(patterns.embedding_in_layers, 1.0);
    }

    #[test]
    fn post_norm_decays_but_reads_the_bottom_no_more_than_the_rest() {
        let patterns = of(&Reference::PostNorm.matrix(12));
        assert!(patterns.decay.unwrap() > 0.5, "{patterns:?}");
        let decay_alone = of(&Reference::PostNorm.matrix(24)).bottom_access.unwrap();
        assert!(decay_alone < 2.0, "{decay_alone}");
    }

    #[test]
    fn every_attention_of_a_parallel_block_is_not_read_by_its_feed_forward_layer() {
        let patterns = of(&Reference::ParallelBlock.matrix(6));
        assert_eq!(patterns.parallel_pairs, [1, 3, 5]);
    }

    #[test]
    fn a_long_range_begins_beyond_four_sublayers() {
        let reaching = |most: usize| {
            let mut matrix = Reference::PreNorm.matrix(12);
            for (row, values) in matrix.iter_mut().enumerate() {
                // The row of sublayer k is k - 1, so the lag is row + 1 - column.
                let nearer = |column: usize| row < most + column;
                let entries = values.iter_mut().enumerate();
                let beyond = entries.filter(|(column, _)| !nearer(*column));
                beyond.for_each(|(_, c)| *c = 0.0);
            }
            of(&matrix).attention_long_range
        };
        assert_eq!(reaching(4), Some(0.0));
        assert!(reaching(5).unwrap() > 0.0);
    }

    #[test]
    fn attention_of_the_two_hop_residual_has_no_long_range() {
        let patterns = of(&Reference::TwoHop.matrix(12));
        assert_eq!(patterns.attention_long_range, Some(0.0));
        assert!(patterns.feed_forward_long_range.unwrap() > 0.9);
    }

    #[test]
    fn a_decaying_matrix_with_full_bottom_columns_is_a_lambda_and_silence_is_waste() {
        let mut matrix = Reference::PostNorm.matrix(12);
        for (k, row) in matrix.iter_mut().enumerate() {
            row[..3.min(k + 1)].fill(1.0);
            row[5] = 0.0;
        }
        matrix[12][0] = 0.0;
        let patterns = of(&matrix);
        assert!(
            patterns.lambda && patterns.embedding_eliminated,
            "{patterns:?}"
        );
        assert_eq!(patterns.wasted, [5]);
    }

    #[test]
    fn a_large_entry_of_a_small_output_is_no_large_contribution() {
        let mut matrix = Reference::PreNorm.matrix(4);
        matrix.iter_mut().for_each(|row| row[0] = 50.0);
        let r = relative(&matrix, &[0.02, 1.0, 1.0, 1.0, 1.0]);
        assert!(r[4].iter().all(|x| (x - 1.0).abs() < 1e-12), "{r:?}");
    }

    #[test]
    fn streams_of_opposite_sign_are_paired() {
        let matrix = Reference::PreNorm.matrix(4);
        let negative: Vec<Vec<f64>> = matrix
            .iter()
            .map(|row| row.iter().map(|x| -x).collect())
            .collect();
        let patterns = Patterns::of(
            &matrix,
            &[matrix.clone(), negative, matrix.clone()],
            &[1.0; 5],
        );
        let pairs: Vec<_> = patterns.sign_pairs.iter().map(|p| (p.0, p.1)).collect();
        assert_eq!(pairs, [(1, 2), (2, 3)]);
    }

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
