//! Hyper-connections unfolded into dense matrices (Zhu et al., Eq. 27 to 29).

use serde::{Deserialize, Serialize};

/// The coefficients of one sublayer, of one token or for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerCoefficients {
    /// `[A_m | A_r]`, `[n, n + 1]`: row = source stream.
    pub alpha: Vec<f32>,
    /// `B`, `[n]`.
    pub beta: Vec<f32>,
}

impl LayerCoefficients {
    /// Number of streams.
    pub fn rate(&self) -> usize {
        self.beta.len()
    }

    /// The read `A_m`, by source stream.
    pub fn read(&self) -> impl Iterator<Item = f64> {
        let columns = self.rate() + 1;
        self.alpha.iter().step_by(columns).map(|&a| f64::from(a))
    }

    /// `A_r[source, destination]`.
    pub fn mix(&self, source: usize, destination: usize) -> f64 {
        self.alpha[source * (self.rate() + 1) + 1 + destination].into()
    }
}

/// A network of streams as one sum per sublayer over all earlier outputs. In all
/// matrices column 0 is the embedding (`T^0`) and column j sublayer j; row `k - 1` belongs
/// to sublayer k = 1 to L, and the last row to what follows sublayer L. Entries with `j >= k`
/// are zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unfolded {
    /// C(0): `h0^k = sum over j < k of c[k][j] T^j`, and in the last row the vector before the
    /// final norm. `c[k][j] = B^j (A_r^{j+1} ... A_r^{k-1}) A_m^k`, with `B^0 = 1` and in the
    /// last row the weights of the final sum for `A_m` (Eq. 27).
    pub inputs: Vec<Vec<f64>>,
    /// C(1) to C(n): what stream i holds of each output once sublayer k has mixed the streams
    /// and before it writes, `(B^j A_r^{j+1} ... A_r^k)_i` (Eq. 29); in the last row, at the
    /// end.
    pub streams: Vec<Vec<Vec<f64>>>,
}

impl Unfolded {
    /// All entries of all matrices, in one order.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let streams = self.streams.iter_mut().flatten();
        self.inputs.iter_mut().chain(streams).flatten()
    }
}

/// Unfolds the coefficients of all sublayers; `last` are the weights with which the streams
/// are summed at the end, 1 for all in the paper.
///
/// # Panics
/// If the coefficients of a layer are not for as many streams as there are weights.
#[track_caller]
pub fn unfold(layers: &[LayerCoefficients], last: &[f64]) -> Unfolded {
    let (count, rate) = (layers.len(), last.len());
    for layer in layers {
        assert_eq!(layer.alpha.len(), rate * (rate + 1), "unfold: alpha");
        assert_eq!(layer.beta.len(), rate, "unfold: beta");
    }
    let mut inputs = vec![vec![0.0; count + 1]; count + 1];
    let mut streams = vec![inputs.clone(); rate];
    for j in 0..=count {
        // What the streams hold of the output of sublayer j.
        let mut share: Vec<f64> = match j {
            0 => vec![1.0; rate],
            _ => layers[j - 1].beta.iter().map(|&b| b.into()).collect(),
        };
        for (k, layer) in layers.iter().enumerate().skip(j) {
            inputs[k][j] = share.iter().zip(layer.read()).map(|(s, a)| s * a).sum();
            let mixed = |to| {
                (0..rate)
                    .map(|from| share[from] * layer.mix(from, to))
                    .sum()
            };
            share = (0..rate).map(mixed).collect();
            for (stream, &share) in streams.iter_mut().zip(&share) {
                stream[k][j] = share;
            }
        }
        inputs[count][j] = share.iter().zip(last).map(|(s, w)| s * w).sum();
        for (stream, share) in streams.iter_mut().zip(share) {
            stream[count][j] = share;
        }
    }
    Unfolded { inputs, streams }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initial(rate: usize, index: usize) -> LayerCoefficients {
        let at = |i: usize, c: usize| match c {
            0 => i == index % rate,
            _ => i + 1 == c,
        };
        LayerCoefficients {
            alpha: (0..rate * (rate + 1))
                .map(|x| f32::from(at(x / (rate + 1), x % (rate + 1))))
                .collect(),
            beta: vec![1.0; rate],
        }
    }

    #[test]
    fn the_initial_matrices_unfold_to_pre_norm_times_the_rate_at_the_end() {
        let layers: Vec<_> = (0..4).map(|k| initial(2, k)).collect();
        let c = unfold(&layers, &[1.0; 2]).inputs;
        for (k, row) in c.iter().enumerate() {
            let expected = if k == 4 { 2.0 } else { 1.0 };
            for (j, &entry) in row.iter().enumerate() {
                assert_eq!(
                    entry,
                    if j <= k { expected } else { 0.0 },
                    "row {k}, column {j}"
                );
            }
        }
    }

    #[test]
    fn a_stream_that_is_dropped_is_in_no_later_row() {
        let mut layers: Vec<_> = (0..3).map(|k| initial(2, k)).collect();
        // Sublayer 2 writes to stream 2 only, and sublayer 3 carries stream 1 only.
        layers[1].beta = vec![0.0, 1.0];
        layers[2].alpha = vec![1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let c = unfold(&layers, &[1.0; 2]).inputs;
        assert_eq!(c[2], [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(c[3], [1.0, 1.0, 0.0, 2.0]);
    }
}
