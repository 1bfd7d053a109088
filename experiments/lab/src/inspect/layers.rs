//! The coefficients of every sublayer, taken apart.

use super::{Subject, Trace};
use engine::params::Params;
use figures::unfold::LayerCoefficients;
use serde::Serialize;

/// What the connection of one sublayer has learned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerView {
    /// The scope of the sublayer: `blocks.0.attn`.
    pub site: String,
    /// What acts, in the mean over the tokens: static and dynamic part.
    pub mean: LayerCoefficients,
    /// The static part: the coefficients with every dynamic scale at 0.
    #[serde(rename = "static")]
    pub fixed: LayerCoefficients,
    /// The mean over the tokens of the dynamic part, what is not static.
    pub dynamic: LayerCoefficients,
    /// Its standard deviation over the tokens.
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
pub fn layer_views(subject: &Subject, trace: &Trace) -> Vec<LayerView> {
    let fixed = static_parts(subject, subject.params());
    let initial = static_parts(subject, subject.initial_params());
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

fn static_parts(subject: &Subject, params: &Params) -> Vec<LayerCoefficients> {
    let mut without = params.detached();
    let scales: Vec<_> = params
        .parts()
        .filter(|part| SCALES.iter().any(|scale| part.name.ends_with(scale)))
        .map(|part| part.range.clone())
        .collect();
    for range in scales {
        without.set(range.clone(), &vec![0.0; range.len()]);
    }
    let sites = subject.coefficients(&without);
    // The same for every token now.
    sites.iter().map(|site| site.token(0)).collect()
}

fn difference(a: &LayerCoefficients, b: &LayerCoefficients) -> LayerCoefficients {
    let minus = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a - b).collect();
    LayerCoefficients {
        alpha: minus(&a.alpha, &b.alpha),
        beta: minus(&a.beta, &b.beta),
    }
}
