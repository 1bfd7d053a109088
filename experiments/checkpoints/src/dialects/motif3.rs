//! Motif-3: logits limited to 10 (read, write) and 20 (mix), a Sinkhorn of exponentials with sums
//! of at least 1e-8, rows first, and the matrix acts as destination x source.

use super::{Dialect, Flat, Last, PLAIN, attention, feed_forward, rows};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix},
    parts::Parts,
    settings::{ITERATIONS, Setting, Values},
    sinkhorn::{Direction, Divisor, Sinkhorn},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "motif3",
    title: "Motif-3",
    source: "vLLM and torch ports of Motif-3 that follow modeling_motif.py (end: mean not verified)",
    families: &["motif", "motif3"],
    sites: &[attention("mhc_attn.*"), feed_forward("mhc_ffn.*")],
    roles: &[
        ("rms_norm", "gamma"),
        ("proj_pre", "proj_pre"),
        ("proj_post", "proj_post"),
        ("proj_res", "proj_res"),
        ("bias_pre", "bias_pre"),
        ("bias_post", "bias_post"),
        ("bias_res", "bias_res"),
        ("alpha_pre", "alpha_pre"),
        ("alpha_post", "alpha_post"),
        ("alpha_res", "alpha_res"),
    ],
    required: &[
        "gamma",
        "proj_pre",
        "proj_post",
        "proj_res",
        "bias_pre",
        "bias_post",
        "bias_res",
        "alpha_pre",
        "alpha_post",
        "alpha_res",
    ],
    settings: &[ITERATIONS, GAIN, MOTIF_NORM],
    streams: &["mhc_expansion_rate", ".hyper_connection.count"],
    form,
    last: Last::Mean,
    ..PLAIN
};

/// Added to 1 for the factor of the write.
const GAIN: Setting = Setting {
    name: "mhc_h_post_alpha_end",
    keys: &["mhc_h_post_alpha_end"],
    default: 0.0,
};

/// Fixed in the code of the family.
const MOTIF_NORM: Setting = Setting {
    name: "norm eps",
    keys: &[],
    default: 1e-6,
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let mut base = parts.read("bias_pre")?.values;
    let streams = parts.streams("bias_pre", base.len(), |n| n)?;
    let gamma = parts.read("gamma")?.values;
    let mut all = Vec::new();
    let mut scale = [0.0; 3];
    let names = [
        ("proj_pre", "bias_pre", "alpha_pre", streams),
        ("proj_post", "bias_post", "alpha_post", streams),
        ("proj_res", "bias_res", "alpha_res", streams * streams),
    ];
    for (at, (projection, bias, factor, outputs)) in names.into_iter().enumerate() {
        let matrix = parts.matrix(projection, outputs, streams)?;
        all.extend(rows(&matrix, Some(&gamma)));
        if at > 0 {
            base.extend(parts.vector(bias, outputs)?);
        }
        scale[at] = parts.vector(factor, 1)?[0];
    }
    parts.expect_width("gamma", gamma.len(), streams)?;
    let flat = Flat {
        streams,
        rows: all,
        base,
        scale,
        eps: Eps::Inside(values.of(&MOTIF_NORM)),
    };
    let gate = |gain: f64| Gate::Sigmoid {
        gain,
        eps: 0.0,
        clamp: 10.0,
    };
    let rule = Sinkhorn {
        clamp: Some(20.0),
        temperature: 1.0,
        softmax: None,
        first: Direction::Rows,
        iterations: values.iterations(),
        divisor: Divisor::Floor(1e-8),
    };
    let mix = Mix::Sinkhorn {
        rule,
        transposed: true,
        share: 1.0,
    };
    Ok(flat.form(gate(1.0), gate(1.0 + values.of(&GAIN)), mix))
}
