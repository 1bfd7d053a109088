//! Norms, similarity of streams and gradients by depth.

use super::{
    Trace,
    similarity::cosine,
    trace::{LayerTrace, norm, rms},
};
use serde::Serialize;

/// One sublayer.
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
