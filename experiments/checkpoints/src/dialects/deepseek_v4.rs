//! DeepSeek-V4: the names of the vendor, of Hugging Face transformers, of llama.cpp.
//!
//! `x` the streams as one vector, `r = 1 / sqrt(mean(x^2) + rms_norm_eps)`, `m = r fn x`:
//! read `sigmoid(scale_0 m + base) + hc_eps`, write `2 sigmoid(scale_1 m + base)`, mix by
//! [`softmax_first`] of `scale_2 m + base`. The end has its own fn, base and scale, with the rule
//! of the read.

use super::{
    Dialect, FN_ROLES, Flat, PLAIN, as_it_is, attention, feed_forward, rows, softmax_first,
};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix},
    parts::Parts,
    settings::{EPS, ITERATIONS, NORM_EPS, Setting, Values},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "deepseek_v4",
    title: "DeepSeek-V4-Flash, -Pro and what follows their form",
    source: "transformers 5.24, models/deepseek_v4; inference code of the release; llama.cpp",
    families: &["deepseekv4", "deepseek4"],
    sites: SITES,
    heads: &["hc_head_*", "hc_head.hc_*", "output_hc_*"],
    settings: &[ITERATIONS, EPS, NORM_EPS],
    ..PLAIN
};

pub(super) const SITES: &[super::Ending] = &[
    attention("hc_attn_*"),
    attention("attn_hc.*"),
    feed_forward("hc_ffn_*"),
    feed_forward("ffn_hc.*"),
];

/// The factor of the write.
const GAIN: f64 = 2.0;

/// Reads fn, base and scale; n from the `(2 + n) n` logits.
pub(super) fn flat(
    parts: &mut Parts<'_>,
    eps: Eps,
    gamma: Option<&[f64]>,
) -> Result<Flat, CheckpointError> {
    let base = parts.read(FN_ROLES[1])?.values;
    let streams = parts.streams(FN_ROLES[1], base.len(), |n| n * (n + 2))?;
    let matrix = parts.matrix(FN_ROLES[0], base.len(), streams)?;
    let scale = parts.vector(FN_ROLES[2], 3)?;
    Ok(Flat {
        streams,
        rows: rows(&matrix, gamma),
        base,
        scale: [scale[0], scale[1], scale[2]],
        eps,
    })
}

pub(super) fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let eps = values.of(&EPS);
    let flat = flat(parts, Eps::Inside(values.of(&NORM_EPS)), None)?;
    Ok(flat.form(
        Gate::sigmoid(1.0, eps),
        Gate::sigmoid(GAIN, 0.0),
        as_it_is(softmax_first(values.iterations(), eps)),
    ))
}

/// The learned end: a form whose read are the weights.
pub(super) fn head(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    head_with(parts, Eps::Inside(values.of(&NORM_EPS)), &EPS, values, None)
}

pub(super) fn head_with(
    parts: &mut Parts<'_>,
    norm: Eps,
    eps: &Setting,
    values: &Values,
    gamma: Option<&[f64]>,
) -> Result<Form, CheckpointError> {
    let base = parts.read(FN_ROLES[1])?.values;
    let streams = parts.streams(FN_ROLES[1], base.len(), |n| n)?;
    let matrix = parts.matrix(FN_ROLES[0], streams, streams)?;
    let scale = parts.vector(FN_ROLES[2], 1)?[0];
    let unused = vec![0.0; streams];
    let flat = Flat {
        streams,
        rows: rows(&matrix, gamma)
            .into_iter()
            .chain(vec![Vec::new(); streams])
            .collect(),
        base: base.into_iter().chain(unused).collect(),
        scale: [scale, 0.0, 0.0],
        eps: norm,
    };
    let read = Gate::sigmoid(1.0, values.of(eps));
    Ok(flat.form(read, Gate::Absent, Mix::Identity))
}
