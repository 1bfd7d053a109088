//! Measures by depth: similarity of inputs, norms, gradients, and the coefficients of every
//! sublayer, taken apart.

use super::{
    network::InspectedNetwork,
    trace::{LayerTrace, Trace, norm, rms},
};
use engine::params::Params;
use figures::unfold::LayerCoefficients;
use serde::Serialize;

/// The name of a number, and where a `T` has it.
pub(super) type Measure<T> = (&'static str, fn(&T) -> f64);

/// The distribution of a number over the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Band {
    /// The 5th percentile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The 95th percentile.
    pub high: f64,
}

impl Band {
    /// Of some numbers, interpolating between neighbours.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "band: no values");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let [below, above] = [place.floor(), place.ceil()].map(|at| values[at as usize]);
            below + place.fract() * (above - below)
        };
        Self {
            low: at(0.05),
            median: at(0.5),
            high: at(0.95),
        }
    }
}

/// The cosine of the inputs of sublayers k and k + 1 over the tokens, for k = 1 to L - 1 (the
/// paper's Fig. 3). Near 1 everywhere is collapse: layers see the same again and again.
pub fn adjacent_similarity(trace: &Trace) -> Vec<Band> {
    let pairs = trace.layers.windows(2).map(|pair| {
        let [rows, next] = [&pair[0], &pair[1]].map(|layer| layer.input.chunks_exact(trace.dim));
        Band::of(rows.zip(next).map(|(a, b)| cosine(a, b)).collect())
    });
    pairs.collect()
}

/// The cosine of the angle between two vectors; 0 if one of them is 0.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    let norms = (aa * bb).sqrt();
    if norms > 0.0 { dot / norms } else { 0.0 }
}

/// Norms and gradients of one sublayer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DepthView {
    /// The scope of the sublayer.
    pub site: String,
    /// The root mean square of what it reads.
    pub input_rms: f64,
    /// The root mean square of what it writes.
    pub output_rms: f64,
    /// The Frobenius norm of the gradient of the mean loss at its output.
    pub output_gradient: f64,
    /// The root mean square of each stream before it; empty without streams.
    pub stream_rms: Vec<f64>,
    /// The cosine of each pair of streams before it, mean over the tokens, `[n][n]`.
    pub stream_cosine: Vec<Vec<f64>>,
}

impl DepthView {
    /// The mean cosine of different streams, if there are several.
    pub fn mean_cosine(&self) -> Option<f64> {
        let n = self.stream_cosine.len();
        let pairs = (0..n).flat_map(|i| (0..n).filter(move |&j| j != i).map(move |j| (i, j)));
        let sum: f64 = pairs.map(|(i, j)| self.stream_cosine[i][j]).sum();
        (n > 1).then(|| sum / (n * (n - 1)) as f64)
    }
}

/// All sublayers of a trace.
pub fn by_depth(trace: &Trace) -> Vec<DepthView> {
    let layers = trace.layers.iter();
    layers.map(|layer| view(layer, trace.dim)).collect()
}

fn view(layer: &LayerTrace, dim: usize) -> DepthView {
    let hidden = layer.hidden.as_deref().unwrap_or_default();
    let rate = hidden.len() / layer.input.len();
    let tokens = layer.input.len() / dim;
    let stream = |token: usize, i: usize| &hidden[(token * rate + i) * dim..][..dim];
    let over_tokens = |of: &dyn Fn(usize) -> f64| (0..tokens).map(of).sum::<f64>() / tokens as f64;
    let squares = |i: usize| over_tokens(&|token| norm(stream(token, i)).powi(2));
    let cosines =
        |i: usize, j: usize| over_tokens(&|token| cosine(stream(token, i), stream(token, j)));
    DepthView {
        site: layer.site.clone(),
        input_rms: rms(&layer.input),
        output_rms: rms(&layer.output),
        output_gradient: layer.output_gradient,
        stream_rms: (0..rate)
            .map(|i| (squares(i) / dim as f64).sqrt())
            .collect(),
        stream_cosine: (0..rate)
            .map(|i| (0..rate).map(|j| cosines(i, j)).collect())
            .collect(),
    }
}

/// Learned coefficients of the connection of one sublayer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerView {
    /// The scope of the sublayer: `blocks.0.attn`.
    pub site: String,
    /// Mean over the tokens of static and dynamic part together.
    pub mean: LayerCoefficients,
    /// The static part: the coefficients with every dynamic scale at 0.
    #[serde(rename = "static")]
    pub fixed: LayerCoefficients,
    /// Mean over the tokens of the dynamic part.
    pub dynamic: LayerCoefficients,
    /// Standard deviation of the dynamic part over the tokens.
    pub spread: LayerCoefficients,
    /// The mean minus the static part before training.
    pub change: LayerCoefficients,
}

/// Names of the scalars that the dynamic parts are multiplied with: of hyper-connections, and
/// of constrained ones.
const SCALES: [&str; 5] = [
    ".dynamic_alpha_scale",
    ".dynamic_beta_scale",
    ".alpha_pre",
    ".alpha_post",
    ".alpha_res",
];

/// The sublayers of a network of streams; empty for others.
pub fn layer_views(network: &InspectedNetwork, trace: &Trace) -> Vec<LayerView> {
    let fixed = static_parts(network, &network.params);
    let initial = static_parts(network, &network.initial);
    let layers = trace.layers.iter().zip(fixed.into_iter().zip(initial));
    let views = layers.filter_map(|(layer, (fixed, initial))| {
        let coefficients = layer.coefficients.as_ref()?;
        let mean = coefficients.mean();
        Some(LayerView {
            site: layer.site.clone(),
            dynamic: difference(&mean, &fixed),
            spread: coefficients.deviation(),
            change: difference(&mean, &initial),
            mean,
            fixed,
        })
    });
    views.collect()
}

fn static_parts(network: &InspectedNetwork, params: &Params) -> Vec<LayerCoefficients> {
    let mut without = params.detached();
    let is_scale = |name: &str| SCALES.iter().any(|scale| name.ends_with(scale));
    for part in params.parts().filter(|part| is_scale(&part.name)) {
        without.set(part.range.clone(), &vec![0.0; part.range.len()]);
    }
    let sites = network.coefficients(&without);
    // The same for every token now.
    sites.iter().map(|site| site.token(0)).collect()
}

/// Entry by entry, `a - b`.
pub(super) fn difference(a: &LayerCoefficients, b: &LayerCoefficients) -> LayerCoefficients {
    let minus = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect();
    LayerCoefficients {
        alpha: minus(&a.alpha, &b.alpha),
        beta: minus(&a.beta, &b.beta),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_the_percentiles() {
        let band = Band::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((band.low, band.median, band.high), (5.0, 50.0, 95.0));
        let band = Band::of(vec![1.0, 2.0]);
        assert!((band.low - 1.05).abs() < 1e-12 && band.median == 1.5);
    }

    #[test]
    fn cosines_are_of_directions() {
        assert!((cosine(&[1.0, 1.0], &[2.0, 2.0]) - 1.0).abs() < 1e-12);
        assert!((cosine(&[1.0, 0.0], &[-3.0, 0.0]) + 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}
