//! Megatron-LM: the form of DeepSeek-V4 with eps 1e-6 outside the root of the norm; with
//! `mhc_single_pass` eps is inside and reads act one site later.

use super::{
    Dialect, Flat, PLAIN, as_it_is, attention, deepseek_v4, feed_forward, rows, softmax_first,
};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate},
    parts::Parts,
    settings::{ITERATIONS, Setting, Values},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "megatron",
    title: "Megatron-LM (state dict)",
    source: "megatron/core/transformer/hyper_connection.py",
    families: &["megatron"],
    sites: &[
        attention("self_attention_hyper_connection.*"),
        feed_forward("mlp_hyper_connection.*"),
    ],
    heads: &["hc_head_*"],
    roles: &[
        ("mapping_proj", "fn"),
        ("bias", "base"),
        ("alpha_pre", "alpha_pre"),
        ("alpha_post", "alpha_post"),
        ("alpha_res", "alpha_res"),
        ("fn", "fn"),
        ("base", "base"),
        ("scale", "scale"),
    ],
    required: &["fn", "base", "alpha_pre", "alpha_post", "alpha_res"],
    settings: &[ITERATIONS, MEGATRON_EPS, MEGATRON_NORM, SINGLE_PASS],
    streams: &["num_residual_streams", "mhc_num_residual_streams"],
    form,
    head,
    delayed: |config| config.says(SINGLE_PASS.name),
    ..PLAIN
};

/// The eps of read and Sinkhorn: a setting of the single pass only, whose default it is.
const MEGATRON_EPS: Setting = Setting {
    name: "eps",
    keys: &["mhc_epsilon"],
    default: 1e-6,
};

/// The eps of the norm in the single pass and at the end; 1e-6 elsewhere.
const MEGATRON_NORM: Setting = Setting {
    name: "norm eps",
    keys: &["layernorm_epsilon", "rms_norm_eps"],
    default: 1e-5,
};

/// Whether the network is of the single pass, as 0 or 1.
const SINGLE_PASS: Setting = Setting {
    name: "mhc_single_pass",
    keys: &["mhc_single_pass"],
    default: 0.0,
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let base = parts.read("base")?.values;
    let streams = parts.streams("base", base.len(), |n| n * (n + 2))?;
    let matrix = parts.matrix("fn", base.len(), streams)?;
    let mut scale = [0.0; 3];
    for (scale, role) in scale
        .iter_mut()
        .zip(["alpha_pre", "alpha_post", "alpha_res"])
    {
        *scale = parts.vector(role, 1)?[0];
    }
    let single_pass = values.of(&SINGLE_PASS) != 0.0;
    let (eps, norm) = match single_pass {
        true => (
            values.of(&MEGATRON_EPS),
            Eps::Inside(values.of(&MEGATRON_NORM)),
        ),
        false => (1e-6, Eps::Outside(1e-6)),
    };
    let flat = Flat {
        streams,
        rows: rows(&matrix, None),
        base,
        scale,
        eps: norm,
    };
    Ok(flat.form(
        Gate::sigmoid(1.0, eps),
        Gate::sigmoid(2.0, 0.0),
        as_it_is(softmax_first(values.iterations(), eps)),
    ))
}

fn head(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let norm = Eps::Inside(values.of(&MEGATRON_NORM));
    deepseek_v4::head_with(parts, norm, &MEGATRON_NORM, values, None)
}
