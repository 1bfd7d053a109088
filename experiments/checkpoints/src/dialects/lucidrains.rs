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
    ("maybe_mix_streams", "before"),
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
    let (streams, views, base) = fixed(parts)?;
    let alpha = parts.vector("alpha_scale", 1)?[0];
    let beta = parts.vector("beta_scale", 1)?[0];
    Ok(Form {
        streams,
        views,
        predictor: Some(predictor(parts, [streams, views], tanh)?),
        base,
        scale: [alpha, beta, alpha],
        read: Gate::Linear,
        write: Gate::Linear,
        mix: Mix::Linear,
    })
}

fn constrained(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let (streams, base) = fixed_of_one_view(parts)?;
    let mut scale = [0.0; 3];
    for (scale, role) in scale
        .iter_mut()
        .zip(["read_scale", "beta_scale", "mix_scale"])
    {
        *scale = parts.vector(role, 1)?[0];
    }
    Ok(Form {
        streams,
        views: 1,
        predictor: Some(predictor(parts, [streams, 1], false)?),
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

/// The number of streams, that of views, and the logits read, write, mix of `static_alpha` `[n, views +
/// n]` and `static_beta`.
fn fixed(parts: &mut Parts<'_>) -> Result<(usize, usize, Vec<f64>), CheckpointError> {
    let alpha = parts.read("static_alpha")?;
    let (rows, columns) = match alpha.shape[..] {
        [rows, columns] => (rows, columns),
        _ => (0, 0),
    };
    let streams = parts.streams("static_alpha", rows, |n| n)?;
    if columns <= streams {
        let reason = format!("the shape is {:?}, expected [n, n + 1]", alpha.shape);
        return Err(parts.wrong("static_alpha", reason));
    }
    let beta = parts.vector("static_beta", streams)?;
    let (views, row) = (columns - streams, |i: usize| &alpha.values[i * columns..]);
    let reads = (0..views).flat_map(|view| (0..streams).map(move |i| row(i)[view]));
    let mix = (0..streams).flat_map(|i| row(i)[views..columns].to_vec());
    let base = reads.chain(beta).chain(mix).collect();
    Ok((streams, views, base))
}

/// The same where a sublayer reads one view, as it has to: with several the library's mHC fails.
pub(super) fn fixed_of_one_view(
    parts: &mut Parts<'_>,
) -> Result<(usize, Vec<f64>), CheckpointError> {
    let (streams, views, base) = fixed(parts)?;
    if views > 1 {
        let columns = streams + views;
        let reason = format!("the shape is [{streams}, {columns}], expected [n, n + 1]");
        return Err(parts.wrong("static_alpha", reason));
    }
    Ok((streams, base))
}

fn predictor(
    parts: &mut Parts<'_>,
    [streams, views]: [usize; 2],
    tanh: bool,
) -> Result<Predictor, CheckpointError> {
    let beta_fn = parts.read("beta_fn")?.shape;
    if beta_fn.len() == 2 && beta_fn[1] > 1 {
        let reason = format!(
            "the shape is {beta_fn:?}: several fractions cannot be shown as one read and one mix"
        );
        return Err(parts.wrong("beta_fn", reason));
    }
    let gamma = parts.read("gamma")?.values;
    let gamma: Vec<f64> = gamma.iter().map(|g| 1.0 + g).collect();
    let width = gamma.len();
    parts.expect_width("gamma", width * streams, streams)?;
    let beta = parts.vector("beta_fn", width)?;
    let beta: Vec<f64> = beta.iter().zip(&gamma).map(|(w, g)| w * g).collect();
    let before = match parts.optional("before")? {
        Some(_) => parts.vector("before", streams * streams)?,
        None => Vec::new(),
    };
    let alpha = parts.read("alpha_fn")?;
    let size = width * (streams + views);
    if size == 0 || !alpha.values.len().is_multiple_of(size) || alpha.values.is_empty() {
        let reason = format!(
            "the shape is {:?}, expected [.., {width}, {}]",
            alpha.shape,
            streams + views
        );
        return Err(parts.wrong("alpha_fn", reason));
    }
    let proposals = alpha.values.chunks_exact(size).map(|matrix| {
        let mut rows = columns(matrix, streams + views, &gamma);
        rows.insert(views, beta.clone());
        rows
    });
    Ok(Predictor {
        eps: Eps::Floor(NORMALIZE),
        norm_per_stream: true,
        per_stream: true,
        before,
        tanh,
        proposals: proposals.collect(),
    })
}
