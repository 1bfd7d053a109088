//! The hyper-connections library of lucidrains: hyper-connections, and manifold-constrained ones
//! (mHC, both versions of 0.4). Every stream predicts its own row of alpha and its own beta from
//! `x / |x| sqrt(d) (gamma + 1)`.

use super::{Dialect, Last, PLAIN, any, as_it_is, columns};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix, Predictor},
    parts::Parts,
    settings::{ITERATIONS, Values},
    sinkhorn::{Direction, Divisor, Sinkhorn},
};

/// Hyper-connections whose predictions go through tanh, the default.
pub(super) static HYPER: Dialect = PREDICTED;

/// The same without tanh: nothing in a file tells the two apart, so it has to be named.
pub(super) static WITHOUT_TANH: Dialect = Dialect {
    name: "lucidrains_no_tanh",
    title: "hyper-connections 0.4 (lucidrains): hyper-connections without tanh",
    source: "hyper-connections 0.4.11, hyper_connections.py with tanh = False; by --dialect alone",
    fits: |_| false,
    form: |parts, _| hyper(parts, false),
    ..PREDICTED
};

const PREDICTED: Dialect = Dialect {
    name: "lucidrains",
    title: "hyper-connections 0.4 (lucidrains): hyper-connections",
    source: "hyper-connections 0.4.11, hyper_connections.py (tanh = True, its default)",
    sites: &[any("*")],
    roles: &[
        ("static_alpha", "static_alpha"),
        ("static_beta", "static_beta"),
        ("dynamic_alpha_fn", "alpha_fn"),
        ("dynamic_beta_fn", "beta_fn"),
        ("dynamic_alpha_scale", "alpha_scale"),
        ("dynamic_beta_scale", "beta_scale"),
        ("norm.gamma", "gamma"),
    ],
    required: &[
        "static_alpha",
        "static_beta",
        "alpha_fn",
        "beta_fn",
        "alpha_scale",
        "beta_scale",
        "gamma",
    ],
    settings: &[],
    streams: &["num_residual_streams", "num_streams"],
    fits: |shape| shape("alpha_scale").is_some(),
    form: |parts, _| hyper(parts, true),
    last: Last::Sum,
    ..PLAIN
};

pub(super) static CONSTRAINED: Dialect = Dialect {
    name: "lucidrains_mhc",
    title: "hyper-connections 0.4 (lucidrains): manifold-constrained (mHC)",
    source: "hyper-connections 0.4.11, manifold_constrained_hyper_connections.py and mHCv2.py",
    roles: CONSTRAINED_ROLES,
    required: CONSTRAINED_REQUIRED,
    settings: &[ITERATIONS],
    fits: |shape| {
        shape("read_scale").is_some() && shape("alpha_fn").is_some_and(|shape| shape.len() == 3)
    },
    form: constrained,
    sites: &[any("*")],
    streams: &["num_residual_streams", "num_streams"],
    last: Last::Sum,
    ..PLAIN
};

pub(super) const CONSTRAINED_ROLES: &[(&str, &str)] = &[
    ("static_alpha", "static_alpha"),
    ("static_beta", "static_beta"),
    ("dynamic_alpha_fn", "alpha_fn"),
    ("dynamic_beta_fn", "beta_fn"),
    ("pre_branch_scale", "read_scale"),
    ("residual_scale", "mix_scale"),
    ("h_post_scale", "beta_scale"),
    ("norm.gamma", "gamma"),
];

pub(super) const CONSTRAINED_REQUIRED: &[&str] = &[
    "static_alpha",
    "static_beta",
    "alpha_fn",
    "beta_fn",
    "read_scale",
    "mix_scale",
    "beta_scale",
    "gamma",
];

/// The eps of PyTorch's `normalize`.
pub(super) const NORMALIZE: f64 = 1e-12;

fn hyper(parts: &mut Parts<'_>, tanh: bool) -> Result<Form, CheckpointError> {
    let (streams, base) = fixed(parts)?;
    let alpha = parts.vector("alpha_scale", 1)?[0];
    let beta = parts.vector("beta_scale", 1)?[0];
    Ok(Form {
        streams,
        predictor: Some(predictor(parts, streams, tanh)?),
        base,
        scale: [alpha, beta, alpha],
        read: Gate::Linear,
        write: Gate::Linear,
        mix: Mix::Linear,
    })
}

fn constrained(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let (streams, base) = fixed(parts)?;
    let mut scale = [0.0; 3];
    for (scale, role) in scale
        .iter_mut()
        .zip(["read_scale", "beta_scale", "mix_scale"])
    {
        *scale = parts.vector(role, 1)?[0];
    }
    Ok(Form {
        streams,
        predictor: Some(predictor(parts, streams, false)?),
        base,
        scale,
        read: Gate::sigmoid(1.0, 0.0),
        write: Gate::sigmoid(2.0, 0.0),
        mix: as_it_is(columns_first(values.iterations())),
    })
}

/// The Sinkhorn of lucidrains: exponentials, then columns and rows in turn, rows last.
pub(super) fn columns_first(iterations: usize) -> Sinkhorn {
    Sinkhorn {
        clamp: None,
        temperature: 1.0,
        softmax: None,
        first: Direction::Columns,
        iterations,
        divisor: Divisor::Floor(NORMALIZE),
    }
}

/// The number of streams, and the logits read, write, mix of `static_alpha` `[n, 1 + n]` and
/// `static_beta`.
pub(super) fn fixed(parts: &mut Parts<'_>) -> Result<(usize, Vec<f64>), CheckpointError> {
    let alpha = parts.read("static_alpha")?;
    let streams = alpha.shape.first().copied().unwrap_or(0);
    let streams = parts.streams("static_alpha", streams, |n| n)?;
    if alpha.shape != [streams, streams + 1] {
        return Err(parts.wrong(
            "static_alpha",
            format!(
                "the shape is {:?}, expected [n, n + 1]; several views or fractions cannot be \
                 shown as one read and one mix",
                alpha.shape
            ),
        ));
    }
    let beta = parts.vector("static_beta", streams)?;
    let rows = || alpha.values.chunks_exact(streams + 1);
    let read = rows().map(|row| row[0]);
    let mix = rows().flat_map(|row| row[1..].to_vec());
    Ok((streams, read.chain(beta).chain(mix).collect()))
}

fn predictor(
    parts: &mut Parts<'_>,
    streams: usize,
    tanh: bool,
) -> Result<Predictor, CheckpointError> {
    let gamma = parts.read("gamma")?.values;
    let gamma: Vec<f64> = gamma.iter().map(|g| 1.0 + g).collect();
    let width = gamma.len();
    parts.expect_width("gamma", width * streams, streams)?;
    let beta = parts.vector("beta_fn", width)?;
    let beta: Vec<f64> = beta.iter().zip(&gamma).map(|(w, g)| w * g).collect();
    let alpha = parts.read("alpha_fn")?;
    let size = width * (streams + 1);
    if size == 0 || !alpha.values.len().is_multiple_of(size) || alpha.values.is_empty() {
        let reason = format!(
            "the shape is {:?}, expected [.., {width}, {}]",
            alpha.shape,
            streams + 1
        );
        return Err(parts.wrong("alpha_fn", reason));
    }
    let proposals = alpha.values.chunks_exact(size).map(|matrix| {
        let mut rows = columns(matrix, streams + 1, &gamma);
        rows.insert(1, beta.clone());
        rows
    });
    Ok(Predictor {
        eps: Eps::Floor(NORMALIZE),
        norm_per_stream: true,
        per_stream: true,
        tanh,
        proposals: proposals.collect(),
    })
}
