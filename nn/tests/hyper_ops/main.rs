//! Every operation of hyper-connections on the tape against the equations in f64, the
//! fused ones against the same equations as the plain ones.

#[path = "../hyper_kernels/naive.rs"]
mod naive;

use engine::{
    check::{Check, CheckInput},
    tape::Var,
};
use naive::{EPS, Tensor};
use nn::connection::{
    PredictorNorm,
    hyper::ops::{coefficients, read, write_then_read, write_then_read_static, write_then_sum},
    streams::{
        ops::{Coefficients, depth_connection, read_stream, width_connection},
        pending::PendingWrite,
        predictor::{Predictor, PredictorForm},
    },
};

/// Batch and sequence: an odd number of rows.
const TOKENS: [usize; 2] = [1, 3];

/// Rates, and widths off that of a vector.
const SIZES: [(usize, usize); 8] = [
    (1, 3),
    (1, 17),
    (2, 5),
    (2, 16),
    (3, 7),
    (4, 3),
    (4, 9),
    (8, 5),
];

const PREDICTORS: [(PredictorNorm, bool); 4] = [
    (PredictorNorm::LayerNorm, true),
    (PredictorNorm::LayerNorm, false),
    (PredictorNorm::RmsNorm, true),
    (PredictorNorm::None, true),
];

fn normal(shape: &[usize], std: f32, seed: u64) -> CheckInput {
    CheckInput::normal(shape, std, seed)
}

/// As [`normal`], around one.
fn around_one(shape: &[usize], seed: u64) -> CheckInput {
    let mut input = normal(shape, 0.3, seed);
    input.data.iter_mut().for_each(|x| *x += 1.0);
    input
}

fn state(n: usize, d: usize) -> CheckInput {
    normal(&[TOKENS[0], TOKENS[1], n, d], 1.0, 1)
}

/// The coefficients of a write, of every token or shared, and the sublayer's output.
fn write(n: usize, d: usize, per_token: bool) -> Vec<CheckInput> {
    let rows: &[usize] = if per_token { &TOKENS } else { &[] };
    let shape = |tail: &[usize]| [rows, tail].concat();
    vec![
        normal(&shape(&[n, n + 1]), 0.7, 2),
        normal(&shape(&[n]), 0.7, 3),
        normal(&[TOKENS[0], TOKENS[1], d], 1.0, 4),
    ]
}

/// The parameters of a predictor, in the order of [`on_tape`] and [`in_f64`].
fn predictor(n: usize, d: usize, kind: PredictorNorm) -> Vec<CheckInput> {
    let mut inputs = vec![
        normal(&[n, n + 1], 1.0, 5),
        normal(&[n], 1.0, 6),
        normal(&[d, n + 1], 0.4, 7),
        normal(&[d], 0.4, 8),
        around_one(&[1], 9),
        around_one(&[1], 10),
    ];
    if kind != PredictorNorm::None {
        inputs.push(around_one(&[d], 11));
    }
    if kind == PredictorNorm::LayerNorm {
        inputs.push(normal(&[d], 0.3, 12));
    }
    inputs
}

/// The parameters in their order, on a tape or in f64.
fn predicting<T>(
    norm: PredictorNorm,
    tanh: bool,
    mut part: impl FnMut(usize) -> Option<T>,
) -> Predictor<T> {
    let eps = EPS;
    let [
        static_alpha,
        static_beta,
        alpha_fn,
        beta_fn,
        alpha_scale,
        beta_scale,
    ] = [0, 1, 2, 3, 4, 5].map(|i| part(i).expect("a parameter"));
    Predictor {
        form: PredictorForm { norm, eps, tanh },
        static_alpha,
        static_beta,
        alpha_fn,
        beta_fn,
        alpha_scale,
        beta_scale,
        norm_weight: part(6),
        norm_bias: part(7),
    }
}

fn on_tape<'t>(v: &[Var<'t>], kind: PredictorNorm, tanh: bool) -> Predictor<Var<'t>> {
    predicting(kind, tanh, |i| v.get(i).copied())
}

fn in_f64(x: &[Tensor], kind: PredictorNorm, tanh: bool) -> Predictor<&[f64]> {
    predicting(kind, tanh, |i| x.get(i).map(|x| &**x))
}

fn pending<'t>(v: &[Var<'t>]) -> PendingWrite<'t> {
    let (alpha, beta) = (v[0], v[1]);
    PendingWrite {
        coefficients: Coefficients { alpha, beta },
        output: v[2],
    }
}

/// The next state from state, alpha, beta and output.
fn next_state(n: usize, d: usize, x: &[Tensor]) -> Tensor {
    let (_, mixed) = naive::width(n, d, &x[0], &x[1]);
    naive::depth(n, d, &mixed, &x[2], &x[3])
}

#[test]
fn coefficients_are_equations_10_to_13() {
    for (n, d) in SIZES {
        for (kind, tanh) in PREDICTORS {
            let mut inputs = vec![state(n, d)];
            inputs.extend(predictor(n, d, kind));
            Check::new(
                &format!("coefficients, rate {n}, d {d}, {kind:?}, tanh {tanh}"),
                inputs,
                |_, v| {
                    let Coefficients { alpha, beta } =
                        coefficients(v[0], &on_tape(&v[1..], kind, tanh));
                    vec![alpha, beta]
                },
                |x| {
                    let (alpha, beta) =
                        naive::coefficients(n, d, &x[0], &in_f64(&x[1..], kind, tanh));
                    vec![alpha, beta]
                },
            )
            .run();
        }
    }
}

#[test]
fn the_width_connection_is_equations_3_and_4() {
    for (n, d) in SIZES {
        for per_token in [true, false] {
            Check::new(
                &format!("width_connection, rate {n}, d {d}"),
                vec![state(n, d), write(n, d, per_token).swap_remove(0)],
                |_, v| {
                    let (hidden, mixed) = width_connection(v[0], v[1]);
                    vec![hidden, mixed]
                },
                |x| {
                    let (hidden, mixed) = naive::width(n, d, &x[0], &x[1]);
                    vec![hidden, mixed]
                },
            )
            .run();
        }
    }
}

#[test]
fn the_depth_connection_is_equation_5() {
    for (n, d) in SIZES {
        for per_token in [true, false] {
            let mut inputs = vec![state(n, d)];
            inputs.extend(write(n, d, per_token).into_iter().skip(1));
            Check::new(
                &format!("depth_connection, rate {n}, d {d}"),
                inputs,
                |_, v| vec![depth_connection(v[0], v[1], v[2])],
                |x| vec![naive::depth(n, d, &x[0], &x[1], &x[2])],
            )
            .run();
        }
    }
}

#[test]
fn the_read_is_that_of_coefficients_and_width_connection() {
    for (n, d) in SIZES {
        for (kind, tanh) in PREDICTORS {
            let mut inputs = vec![state(n, d)];
            inputs.extend(predictor(n, d, kind));
            Check::new(
                &format!("read, rate {n}, d {d}, {kind:?}, tanh {tanh}"),
                inputs,
                |_, v| {
                    let (c, hidden) = read(v[0], &on_tape(&v[1..], kind, tanh));
                    vec![c.alpha, c.beta, hidden]
                },
                |x| {
                    let (alpha, beta) =
                        naive::coefficients(n, d, &x[0], &in_f64(&x[1..], kind, tanh));
                    let (hidden, _) = naive::width(n, d, &x[0], &alpha);
                    vec![alpha, beta, hidden]
                },
            )
            .run();
        }
    }
}

#[test]
fn the_static_read_is_that_of_the_width_connection() {
    for (n, d) in SIZES {
        Check::new(
            &format!("read_stream, rate {n}, d {d}"),
            vec![state(n, d), normal(&[n, n + 1], 1.0, 5)],
            |_, v| vec![read_stream(v[0], v[1])],
            |x| vec![naive::width(n, d, &x[0], &x[1]).0],
        )
        .run();
    }
}

#[test]
fn the_fused_write_and_read_is_the_composition_of_the_plain_ones() {
    for (n, d) in SIZES {
        for (kind, tanh) in PREDICTORS {
            let mut inputs = vec![state(n, d)];
            inputs.extend(write(n, d, true));
            inputs.extend(predictor(n, d, kind));
            Check::new(
                &format!("write_then_read, rate {n}, d {d}, {kind:?}, tanh {tanh}"),
                inputs,
                |_, v| {
                    let params = on_tape(&v[4..], kind, tanh);
                    let (next, c, hidden) = write_then_read(v[0], &pending(&v[1..]), &params);
                    vec![next, c.alpha, c.beta, hidden]
                },
                |x| {
                    let next = next_state(n, d, x);
                    let params = in_f64(&x[4..], kind, tanh);
                    let (alpha, beta) = naive::coefficients(n, d, &next, &params);
                    let (hidden, _) = naive::width(n, d, &next, &alpha);
                    vec![next, alpha, beta, hidden]
                },
            )
            .run();
        }
    }
}

#[test]
fn the_fused_static_write_and_read_is_the_composition_of_the_plain_ones() {
    for (n, d) in SIZES {
        for per_token in [true, false] {
            let mut inputs = vec![state(n, d)];
            inputs.extend(write(n, d, per_token));
            inputs.push(normal(&[n, n + 1], 1.0, 13));
            Check::new(
                &format!("write_then_read_stream, rate {n}, d {d}"),
                inputs,
                |_, v| {
                    let (next, hidden) = write_then_read_static(v[0], &pending(&v[1..]), v[4]);
                    vec![next, hidden]
                },
                |x| {
                    let next = next_state(n, d, x);
                    let (hidden, _) = naive::width(n, d, &next, &x[4]);
                    vec![next, hidden]
                },
            )
            .run();
        }
    }
}

#[test]
fn the_fused_write_and_sum_is_the_composition_of_the_plain_ones() {
    for (n, d) in SIZES {
        for per_token in [true, false] {
            let mut inputs = vec![state(n, d)];
            inputs.extend(write(n, d, per_token));
            Check::new(
                &format!("write_then_sum, rate {n}, d {d}"),
                inputs,
                |_, v| vec![write_then_sum(v[0], &pending(&v[1..]))],
                |x| vec![naive::reduce(n, d, &next_state(n, d, x))],
            )
            .run();
        }
    }
}

#[test]
fn a_write_carried_out_by_itself_is_that_of_the_fused_operations() {
    for (n, d) in SIZES {
        let mut inputs = vec![state(n, d)];
        inputs.extend(write(n, d, true));
        Check::new(
            &format!("carry_out, rate {n}, d {d}"),
            inputs,
            |_, v| vec![pending(&v[1..]).carry_out(v[0])],
            |x| vec![next_state(n, d, x)],
        )
        .run();
    }
}
