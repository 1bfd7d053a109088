//! Qwen3.8-Flash-Next: Gated Residual. Every stream is normed by itself (weight minus one on
//! disk); the write is `2 sigmoid(block_inject_weight x / n)`, the mix the identity, and the read
//! has a weight for every channel. Nothing exists without a token.

use super::{Dialect, Last, PLAIN, attention, feed_forward, rows};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix, Predictor},
    parts::Parts,
    settings::{NORM_EPS, Values},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "qwen4_exp",
    title: "Qwen3.8-Flash-Next (Gated Residual): write gains with states, no static matrices",
    source: "transformers 5.24, models/qwen4_exp",
    families: &["qwen4exp", "qwen4exptext", "qwen4expmoe"],
    sites: &[
        attention("attn_hyper_connection.*"),
        feed_forward("mlp_hyper_connection.*"),
    ],
    roles: &[("hc_norm", "gamma"), ("block_inject_weight", "inject")],
    required: &["gamma", "inject"],
    settings: &[NORM_EPS],
    streams: &["hc_count"],
    form,
    last: Last::Mean,
    fixed: false,
    ..PLAIN
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let shape = parts.read("inject")?.shape;
    let streams = shape.first().copied().unwrap_or(0);
    let streams = parts.streams("inject", streams, |n| n)?;
    let matrix = parts.matrix("inject", streams, streams)?;
    let gamma = parts.read("gamma")?.values;
    parts.expect_width("gamma", gamma.len(), streams)?;
    let gamma: Vec<f64> = gamma.iter().map(|g| 1.0 + g).collect();
    let unused = vec![Vec::new(); streams];
    let predictor = Predictor {
        eps: Eps::Inside(values.of(&NORM_EPS)),
        norm_per_stream: true,
        per_stream: false,
        before: Vec::new(),
        tanh: false,
        proposals: vec![
            unused
                .into_iter()
                .chain(rows(&matrix, Some(&gamma)))
                .collect(),
        ],
    };
    Ok(Form {
        streams,
        views: 1,
        predictor: Some(predictor),
        base: vec![0.0; 2 * streams],
        scale: [0.0, 1.0 / streams as f64, 0.0],
        read: Gate::Absent,
        write: Gate::sigmoid(2.0, 0.0),
        mix: Mix::Identity,
    })
}
