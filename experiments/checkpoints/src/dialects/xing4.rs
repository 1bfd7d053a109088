//! Xing4 (TeleAI): no eps at the read; a Sinkhorn of exponentials of logits limited to 30, rows
//! first, eps in every divisor; the matrix acts as destination x source; the mean at the end.

use super::{Dialect, Last, PLAIN, attention, deepseek_v4, feed_forward};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix},
    parts::Parts,
    settings::{EPS, ITERATIONS, NORM_EPS, Setting, Values},
    sinkhorn::{Direction, Divisor, Sinkhorn},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "xing4",
    title: "Xing4 / XingChen4 (TeleAI)",
    source: "torch and vLLM ports of Xing4.0-29B-A4B that follow modeling_xing4_0.py",
    families: &["xing4", "xing40", "xingchen4", "telechat4"],
    sites: &[
        attention("attn_hc.hc_*"),
        attention("attn_hc.*"),
        attention("hc_attn_*"),
        feed_forward("ffn_hc.hc_*"),
        feed_forward("ffn_hc.*"),
        feed_forward("hc_ffn_*"),
    ],
    roles: &[
        ("fn", "fn"),
        ("base", "base"),
        ("scale", "scale"),
        ("mapping_weight", "fn"),
        ("bias", "base"),
    ],
    settings: &[ITERATIONS, XING_EPS, NORM_EPS, READ_EPS, LIMIT],
    streams: &["hc_mult", "num_residual_streams", ".hyper_connection.count"],
    form,
    last: Last::Mean,
    ..PLAIN
};

const XING_EPS: Setting = Setting {
    keys: &["hc_eps", "mhc_norm_eps", ".hyper_connection.epsilon"],
    ..EPS
};

const READ_EPS: Setting = Setting {
    name: "eps of the read",
    keys: &["mhc_pre_eps"],
    default: 0.0,
};

const LIMIT: Setting = Setting {
    name: "limit of the logits of the mix",
    keys: &["mhc_h_res_clamp_max"],
    default: 30.0,
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let flat = deepseek_v4::flat(parts, Eps::Inside(values.of(&NORM_EPS)), None)?;
    let rule = Sinkhorn {
        clamp: Some(values.of(&LIMIT)),
        temperature: 1.0,
        softmax: None,
        first: Direction::Rows,
        iterations: values.iterations(),
        divisor: Divisor::Plus(values.of(&XING_EPS)),
    };
    let mix = Mix::Sinkhorn {
        rule,
        transposed: true,
        share: 1.0,
    };
    let read = Gate::sigmoid(1.0, values.of(&READ_EPS));
    Ok(flat.form(read, Gate::sigmoid(2.0, 0.0), mix))
}
