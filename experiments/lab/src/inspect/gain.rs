//! Gains of mixing matrices, single and composed: bounds on how much they enlarge a vector.

use figures::unfold::LayerCoefficients;
use serde::Serialize;

/// Measures of one mixing matrix. With the source stream in the row, a forward pass multiplies
/// by the transpose: the largest sum of magnitudes in a column bounds what a destination stream
/// can receive, the largest in a row what gradient a source stream can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Gain {
    /// Forward Amax gain: the largest absolute column sum (mHC, section 5.4, where it is the
    /// row sum of the transpose).
    pub forward: f64,
    /// Backward Amax gain: the largest absolute row sum.
    pub backward: f64,
    /// The largest singular value.
    pub spectral_norm: f64,
    /// The smallest singular value.
    pub smallest: f64,
    /// Effective rank: exp of the entropy of the singular values, as shares of their sum.
    pub effective_rank: f64,
}

impl Gain {
    /// Of a matrix of rows.
    pub fn of(matrix: &[Vec<f64>]) -> Self {
        let n = matrix.len();
        let column = |c: usize| matrix.iter().map(|row| row[c].abs()).sum::<f64>();
        let row = |row: &Vec<f64>| row.iter().map(|x| x.abs()).sum::<f64>();
        let values = singular_values(matrix);
        Self {
            forward: (0..n).map(column).fold(0.0, f64::max),
            backward: matrix.iter().map(row).fold(0.0, f64::max),
            spectral_norm: values[0],
            smallest: values[n - 1],
            effective_rank: effective_rank(&values),
        }
    }

    fn add(&mut self, other: &Self, weight: f64) {
        self.forward += weight * other.forward;
        self.backward += weight * other.backward;
        self.spectral_norm += weight * other.spectral_norm;
        self.smallest += weight * other.smallest;
        self.effective_rank += weight * other.effective_rank;
    }
}

/// Gains of the mix of one sublayer, by itself and after all before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayerGain {
    /// Of `A_r^k`.
    pub single: Gain,
    /// Of `A_r^1 A_r^2 ... A_r^k`.
    pub composed: Gain,
    /// The sums of the rows of `A_r^k`: what leaves each source stream.
    pub row_sums: Vec<f64>,
    /// The sums of its columns: what each destination stream receives.
    pub column_sums: Vec<f64>,
    /// Number of streams that the sublayer reads: the participation ratio
    /// `(sum_i |A_m[i]|)^2 / sum_i A_m[i]^2`, 1 for a single stream, n for equal weights.
    pub read_usage: f64,
    /// The same of the write B.
    pub write_usage: f64,
}

/// The gains of all sublayers, each measure averaged over the given coefficients: one for each
/// token, or those of a mean.
pub fn gains(tokens: &[Vec<LayerCoefficients>]) -> Vec<LayerGain> {
    let Some(first) = tokens.first() else {
        return Vec::new();
    };
    let rate = first.first().map_or(0, LayerCoefficients::rate);
    let empty = LayerGain {
        row_sums: vec![0.0; rate],
        column_sums: vec![0.0; rate],
        ..LayerGain::default()
    };
    let mut means = vec![empty; first.len()];
    let weight = 1.0 / tokens.len() as f64;
    for layers in tokens {
        let mut composed: Option<Vec<Vec<f64>>> = None;
        for (layer, mean) in layers.iter().zip(&mut means) {
            let mix = mix_of(layer);
            let product = match &composed {
                Some(before) => multiplied(before, &mix),
                None => mix.clone(),
            };
            mean.single.add(&Gain::of(&mix), weight);
            mean.composed.add(&Gain::of(&product), weight);
            for i in 0..rate {
                mean.row_sums[i] += weight * mix[i].iter().sum::<f64>();
                mean.column_sums[i] += weight * mix.iter().map(|row| row[i]).sum::<f64>();
            }
            mean.read_usage += weight * participation(layer.read());
            let writes = layer.beta.iter().map(|&b| f64::from(b));
            mean.write_usage += weight * participation(writes);
            composed = Some(product);
        }
    }
    means
}

fn mix_of(layer: &LayerCoefficients) -> Vec<Vec<f64>> {
    let n = layer.rate();
    let row = |i| (0..n).map(|j| layer.mix(i, j)).collect();
    (0..n).map(row).collect()
}

fn multiplied(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = a.len();
    let entry = |i: usize, j: usize| (0..n).map(|k| a[i][k] * b[k][j]).sum();
    (0..n)
        .map(|i| (0..n).map(|j| entry(i, j)).collect())
        .collect()
}

/// `(sum |x|)^2 / sum x^2`; 0 if all are 0.
fn participation(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) = values.fold((0.0, 0.0), |(sum, squares), x| {
        (sum + x.abs(), squares + x * x)
    });
    if squares == 0.0 {
        return 0.0;
    }
    sum * sum / squares
}

/// Sweeps over all pairs of columns; five or six suffice for what is not degenerate.
const SWEEPS: usize = 30;

/// The singular values of a square matrix of rows, largest first, by one-sided Jacobi rotations
/// (Hestenes 1958): columns are rotated in pairs until they are orthogonal, and then their
/// lengths are the singular values.
pub fn singular_values(matrix: &[Vec<f64>]) -> Vec<f64> {
    let n = matrix.len();
    let mut columns: Vec<Vec<f64>> = (0..n)
        .map(|c| matrix.iter().map(|row| row[c]).collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for i in 0..n {
            for j in i + 1..n {
                let (a, b) = (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]));
                let c = dot(&columns[i], &columns[j]);
                if c.abs() <= f64::EPSILON * (a * b).sqrt() {
                    continue;
                }
                rotated = true;
                let zeta = (b - a) / (2.0 * c);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = cosine * tangent;
                let (left, right) = columns.split_at_mut(j);
                for (x, y) in left[i].iter_mut().zip(&mut right[0]) {
                    (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
                }
            }
        }
        if !rotated {
            break;
        }
    }
    let mut values: Vec<f64> = columns.iter().map(|c| dot(c, c).sqrt()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// The effective rank of Roy and Vetterli (2007): `exp(-sum_i p_i ln p_i)` with `p_i` the
/// singular values over their sum. 1 for rank one, n for equal singular values; 0 for zero.
pub fn effective_rank(singular_values: &[f64]) -> f64 {
    let sum: f64 = singular_values.iter().sum();
    if sum == 0.0 {
        return 0.0;
    }
    let shares = singular_values.iter().map(|s| s / sum);
    let entropy: f64 = shares.filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(alpha: &[f32]) -> LayerCoefficients {
        LayerCoefficients {
            alpha: alpha.to_vec(),
            beta: vec![1.0, 0.0],
        }
    }

    #[test]
    fn forward_gain_is_of_columns_and_backward_of_rows() {
        let gain = Gain::of(&[vec![1.0, -2.0], vec![0.0, 3.0]]);
        assert_eq!((gain.forward, gain.backward), (5.0, 3.0));
    }

    #[test]
    fn compositions_are_products_from_the_bottom() {
        let shift = layer(&[1.0, 0.0, 2.0, 1.0, 0.0, 0.0]);
        let back = layer(&[1.0, 0.0, 0.0, 0.0, 3.0, 0.0]);
        // [0 2; 0 0] [0 0; 3 0] = [6 0; 0 0]
        let found = gains(&[vec![shift, back]]);
        assert_eq!(found[0].composed, found[0].single);
        assert_eq!(found[1].single.forward, 3.0);
        assert_eq!(found[1].composed.forward, 6.0);
        assert_eq!(found[1].composed.smallest, 0.0);
        assert_eq!((found[0].read_usage, found[1].read_usage), (2.0, 1.0));
        assert_eq!(found[0].column_sums, [0.0, 2.0]);
    }

    #[test]
    fn streams_are_used_whatever_their_sign() {
        assert_eq!(participation([1.0, -1.0].into_iter()), 2.0);
        assert_eq!(participation([3.0, -1.0].into_iter()), 1.6);
        assert_eq!(participation([0.0, 0.0].into_iter()), 0.0);
    }

    /// `H' = A_rᵀ H` of one sublayer after the other: the first factor is that of the bottom.
    #[test]
    fn the_composition_of_mixes_that_do_not_commute_is_that_of_the_forward() {
        let all_to_first = layer(&[1.0, 1.0, 0.0, 1.0, 3.0, 0.0]);
        let first_to_second = layer(&[1.0, 0.0, 2.0, 1.0, 0.0, 0.0]);
        // [1 0; 3 0] [0 2; 0 0] = [0 2; 0 6]; the other way round it is [6 0; 0 0].
        let found = gains(&[vec![all_to_first, first_to_second]]);
        let composed = found[1].composed;
        assert_eq!((composed.forward, composed.backward), (8.0, 6.0));
        assert!((composed.spectral_norm - 40_f64.sqrt()).abs() < 1e-12);
        assert_eq!(found[0].row_sums, [1.0, 3.0]);
        assert_eq!(found[0].column_sums, [4.0, 0.0]);
    }

    #[test]
    fn measures_are_means_over_tokens() {
        let once = layer(&[1.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        let thrice = layer(&[1.0, 3.0, 0.0, 0.0, 0.0, 3.0]);
        let found = &gains(&[vec![once], vec![thrice]])[0];
        for gain in [found.single, found.composed] {
            assert_eq!((gain.forward, gain.backward), (2.0, 2.0));
            assert_eq!((gain.spectral_norm, gain.smallest), (2.0, 2.0));
            assert!((gain.effective_rank - 2.0).abs() < 1e-12);
        }
        assert_eq!((found.read_usage, found.write_usage), (1.5, 1.0));
        assert_eq!(found.row_sums, [2.0, 2.0]);
    }

    #[test]
    fn doubly_stochastic_mixes_gain_nothing_however_many() {
        let half = layer(&[1.0, 0.5, 0.5, 1.0, 0.5, 0.5]);
        for gain in gains(&[vec![half; 5]]) {
            assert!((gain.composed.forward - 1.0).abs() < 1e-12);
            assert!((gain.composed.backward - 1.0).abs() < 1e-12);
            assert!((gain.composed.effective_rank - 1.0).abs() < 1e-6);
        }
    }

    #[track_caller]
    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (x, y) in found.iter().zip(expected) {
            assert!((x - y).abs() < 1e-12, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn singular_values_are_those_known_on_paper() {
        close(
            &singular_values(&[vec![0.0, -3.0], vec![2.0, 0.0]]),
            &[3.0, 2.0],
        );
        close(
            &singular_values(&[vec![1.0, 1.0], vec![1.0, 1.0]]),
            &[2.0, 0.0],
        );
        // A shear: the golden ratio and its inverse.
        let golden = (1.0 + 5.0_f64.sqrt()) / 2.0;
        close(
            &singular_values(&[vec![1.0, 1.0], vec![0.0, 1.0]]),
            &[golden, 1.0 / golden],
        );
    }

    #[test]
    fn their_squares_add_up_to_those_of_the_entries_and_their_product_is_the_determinant() {
        let matrix = [
            vec![0.9, -0.4, 0.1],
            vec![0.3, 1.2, -0.7],
            vec![-0.2, 0.5, 2.1],
        ];
        let values = singular_values(&matrix);
        let squares: f64 = matrix.iter().flatten().map(|x| x * x).sum();
        let determinant = 0.9 * (1.2 * 2.1 + 0.7 * 0.5)
            + 0.4 * (0.3 * 2.1 - 0.7 * 0.2)
            + 0.1 * (0.3 * 0.5 + 1.2 * 0.2);
        close(&[values.iter().map(|s| s * s).sum()], &[squares]);
        close(&[values.iter().product()], &[determinant]);
    }

    #[test]
    fn effective_rank_is_between_one_and_the_number_of_streams() {
        close(&[effective_rank(&[2.0, 2.0, 2.0])], &[3.0]);
        close(&[effective_rank(&[5.0, 0.0, 0.0])], &[1.0]);
        close(&[effective_rank(&[0.0])], &[0.0]);
        // Shares of 3/4 and 1/4: exp of their entropy is 4 / 3^(3/4).
        close(&[effective_rank(&[3.0, 1.0])], &[4.0 / 3_f64.powf(0.75)]);
    }
}
