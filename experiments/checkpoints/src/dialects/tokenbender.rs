//! tokenbender/mHC: static connections. Read and write by softmax, the mix by a Sinkhorn with a
//! temperature in the log domain, rows first; perhaps `(1 - a) I + a S` with a learned a.

use super::{Dialect, Last, PLAIN, any};
use crate::{
    CheckpointError,
    form::{Form, Gate, Mix},
    parts::Parts,
    settings::{ITERATIONS, Setting, Values},
    sinkhorn::{Direction, Divisor, Sinkhorn},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "tokenbender",
    title: "tokenbender/mHC-manifold-constrained-hyper-connections",
    source: "its hyper_connections/hyper_connections_mhc.py",
    sites: &[any("*")],
    roles: &[
        ("H_pre_logits", "read"),
        ("H_post_logits", "write"),
        ("H_res_logits", "mix"),
        ("H_res_alpha_logit", "share"),
    ],
    required: &["read", "write", "mix"],
    settings: &[TEN, TEMPERATURE],
    streams: &["hc_num_streams", "num_residual_streams"],
    form,
    last: Last::Sum,
    ..PLAIN
};

const TEN: Setting = Setting {
    default: 10.0,
    ..ITERATIONS
};

const TEMPERATURE: Setting = Setting {
    name: "temperature",
    keys: &["mhc_tau"],
    default: 0.05,
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let mut base = parts.read("read")?.values;
    let streams = parts.streams("read", base.len(), |n| n)?;
    base.extend(parts.vector("write", streams)?);
    base.extend(parts.vector("mix", streams * streams)?);
    let share = parts
        .optional("share")?
        .and_then(|share| share.first().copied());
    let rule = Sinkhorn {
        clamp: None,
        temperature: values.of(&TEMPERATURE),
        softmax: None,
        first: Direction::Rows,
        iterations: values.of(&TEN) as usize,
        divisor: Divisor::Plus(0.0),
    };
    Ok(Form {
        streams,
        views: 1,
        predictor: None,
        base,
        scale: [0.0; 3],
        read: Gate::Softmax,
        write: Gate::Softmax,
        mix: Mix::Sinkhorn {
            rule,
            transposed: false,
            share: share.map_or(1.0, |logit| 1.0 / (1.0 + (-logit).exp())),
        },
    })
}
