//! FFTYYY/mhc-lite: `mhc.py` (Sinkhorn, columns first) and `mhc_lite.py` (a softmax over all
//! permutation matrices). All streams predict all logits from `x / |x| sqrt(n d) (gamma + 1)`.

use super::{Dialect, Last, PLAIN, any, as_it_is, columns, lucidrains};
use crate::{
    CheckpointError,
    form::{Eps, Form, Gate, Mix, Predictor},
    parts::Parts,
    settings::{ITERATIONS, Values},
};

pub(super) static DIALECT: Dialect = Dialect {
    name: "mhc_lite",
    title: "FFTYYY/mhc-lite: mhc.py and mhc_lite.py",
    source: "copies of hyper_conn/mhc.py and mhc_lite.py in forks (wz1119/KromHC)",
    sites: &[any("*")],
    roles: lucidrains::CONSTRAINED_ROLES,
    required: lucidrains::CONSTRAINED_REQUIRED,
    settings: &[ITERATIONS],
    streams: &["num_residual_streams", "num_streams", "hyper_conn_n"],
    fits: |shape| {
        let beta = shape("beta_fn").is_some_and(|shape| shape.len() == 2);
        beta && shape("read_scale").is_some() && shape("alpha_fn").is_some_and(|s| s.len() == 2)
    },
    form,
    last: Last::Sum,
    ..PLAIN
};

fn form(parts: &mut Parts<'_>, values: &Values) -> Result<Form, CheckpointError> {
    let beta = parts.read("static_beta")?.values;
    let streams = parts.streams("static_beta", beta.len(), |n| n)?;
    let alpha = parts.read("static_alpha")?;
    let permutations = alpha.shape.len() == 1;
    let (base, mix) = match permutations {
        false => {
            let rule = lucidrains::columns_first(values.iterations());
            (lucidrains::fixed_of_one_view(parts)?.1, as_it_is(rule))
        }
        true => {
            let all = (1..=streams).try_fold(1_usize, usize::checked_mul);
            let expected = all.and_then(|all| all.checked_add(streams));
            if expected != Some(alpha.values.len()) {
                let reason = format!("{} numbers are not n + n! of {streams}", alpha.values.len());
                return Err(parts.wrong("static_alpha", reason));
            }
            let (read, weights) = alpha.values.split_at(streams);
            ([read, &beta, weights].concat(), Mix::Permutations)
        }
    };
    let gamma = parts.read("gamma")?.values;
    parts.expect_width("gamma", gamma.len(), streams)?;
    let gamma: Vec<f64> = gamma.iter().map(|g| 1.0 + g).collect();
    let of_alpha = base.len() - streams;
    let matrix = parts.sized("alpha_fn", &[gamma.len(), of_alpha])?;
    let mut rows = columns(&matrix, of_alpha, &gamma);
    if !permutations {
        // The columns are those of alpha [n, 1 + n] row by row.
        let (read, mix): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .enumerate()
            .partition(|(i, _)| i % (streams + 1) == 0);
        rows = read.into_iter().chain(mix).map(|(_, row)| row).collect();
    }
    let matrix = parts.sized("beta_fn", &[gamma.len(), streams])?;
    let rest = rows.split_off(streams);
    rows.extend(columns(&matrix, streams, &gamma));
    rows.extend(rest);
    let mut scale = [0.0; 3];
    for (scale, role) in scale
        .iter_mut()
        .zip(["read_scale", "beta_scale", "mix_scale"])
    {
        *scale = parts.vector(role, 1)?[0];
    }
    let predictor = Predictor {
        eps: Eps::Floor(lucidrains::NORMALIZE),
        norm_per_stream: false,
        per_stream: false,
        before: Vec::new(),
        tanh: false,
        proposals: vec![rows],
    };
    Ok(Form {
        streams,
        views: 1,
        predictor: Some(predictor),
        base,
        scale,
        read: Gate::sigmoid(1.0, 0.0),
        write: Gate::sigmoid(2.0, 0.0),
        mix,
    })
}
