//! Tencent Hy4: no mix. With m as in DeepSeek-V4, read `sigmoid(scale_0 m + base) + hc_eps`, write
//! `hc_magnitude sigmoid(scale_1 m + base) + hc_eps`.

use super::{Dialect, FN_ROLES, Flat, PLAIN, attention, feed_forward, rows};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix},
    parts::Parts,
    settings::{EPS, NORM_EPS_5, Setting, Values},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "hy_v4",
    title: "Tencent Hy4-preview (independent hyper-connections)",
    source: "transformers 5.24, models/hy_v4",
    families: &["hyv4", "hyv4vl", "hyv4text"],
    sites: &[
        attention("hc_attn_layer.hc_*"),
        attention("hc_attn_layer.hc_pre.hc_*"),
        attention("attn_hc.*"),
        attention("hc_attn_*"),
        feed_forward("hc_mlp_layer.hc_*"),
        feed_forward("hc_mlp_layer.hc_pre.hc_*"),
        feed_forward("ffn_hc.*"),
        feed_forward("hc_ffn_*"),
    ],
    heads: &["hc_head_*", "hc_head.hc_*", "output_hc_*"],
    settings: &[MAGNITUDE, EPS, NORM_EPS_5],
    fits: |shape| shape("scale") == Some(vec![2]),
    form,
    ..PLAIN
};

const MAGNITUDE: Setting = Setting {
    name: "magnitude of the write",
    keys: &["hc_magnitude", ".hyper_connection.magnitude"],
    default: 2.0,
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let base = parts.read(FN_ROLES[1])?.values;
    let streams = parts.streams(FN_ROLES[1], base.len(), |n| 2 * n)?;
    let matrix = parts.matrix(FN_ROLES[0], base.len(), streams)?;
    let scale = parts.vector(FN_ROLES[2], 2)?;
    let eps = values.of(&EPS);
    let flat = Flat {
        streams,
        rows: rows(&matrix, None),
        base,
        scale: [scale[0], scale[1], 0.0],
        eps: Eps::Inside(values.of(&NORM_EPS_5)),
    };
    let write = Gate::sigmoid(values.of(&MAGNITUDE), eps);
    Ok(flat.form(Gate::sigmoid(1.0, eps), write, Mix::Identity))
}
