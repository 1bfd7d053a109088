//! openPangu 2.0: the form of DeepSeek-V4 with a weight in the norm. Whether the end norms with
//! `rms_norm_eps` or with its own 1e-6 differs between ports; here it is `rms_norm_eps`.

use super::{Dialect, PLAIN, as_it_is, attention, deepseek_v4, feed_forward, softmax_first};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate},
    parts::Parts,
    settings::{ITERATIONS, NORM_EPS, Setting, Values},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "openpangu",
    title: "openPangu-2.0-Flash and its relatives",
    source: "vLLM ports of openPangu 2.0 (eps of the norm at the end not verified)",
    families: &[
        "openpanguv2",
        "panguv2moe",
        "panguultramoe",
        "openpangu",
        "openpanguv2moe",
    ],
    sites: &[
        attention("attn_mhc_module.*"),
        feed_forward("mlp_mhc_module.*"),
    ],
    heads: &["merge_mhc_module.*"],
    roles: &[
        ("phi", "fn"),
        ("branch_alpha", "scale"),
        ("branch_beta", "base"),
        ("branch_alpha_pre", "scale"),
        ("branch_beta_pre", "base"),
        ("norm_gamma", "gamma"),
    ],
    settings: &[ITERATIONS, PANGU_EPS, NORM_EPS],
    streams: &["mhc_num_stream"],
    form,
    head,
    ..PLAIN
};

/// Fixed in the code of the family.
const PANGU_EPS: Setting = Setting {
    name: "eps",
    keys: &[],
    default: 1e-6,
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let eps = values.of(&PANGU_EPS);
    let gamma = parts.optional("gamma")?;
    let norm = Eps::Inside(values.of(&NORM_EPS));
    let flat = deepseek_v4::flat(parts, norm, gamma.as_deref())?;
    Ok(flat.form(
        Gate::sigmoid(1.0, eps),
        Gate::sigmoid(2.0, 0.0),
        as_it_is(softmax_first(values.iterations(), eps)),
    ))
}

fn head(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let gamma = parts.optional("gamma")?;
    let norm = Eps::Inside(values.of(&NORM_EPS));
    deepseek_v4::head_with(parts, norm, &PANGU_EPS, values, gamma.as_deref())
}
