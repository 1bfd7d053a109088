//! Read, write and predictor of states of slots.

use engine::{
    check::{Check, CheckInput},
    tape::Var,
};
use nn::connection::{
    PredictorNorm,
    plain::slots as plain,
    streams::{
        ops::{Coefficients, Slots, read, write},
        predictor::{Predictor, PredictorForm},
        slot_predictor::predict,
        slots::WriteForm,
    },
};

const ROWS: usize = 3;

/// Slots, reads, width.
const SIZES: [[usize; 3]; 8] = [
    [1, 1, 5],
    [2, 1, 16],
    [3, 1, 7],
    [4, 1, 33],
    [8, 1, 9],
    [4, 2, 17],
    [6, 3, 5],
    [4, 4, 18],
];

/// The coefficients of a row: of `len` numbers, per row or shared.
fn of_row(x: &[f64], row: usize, len: usize) -> &[f64] {
    &x[if x.len() == len { 0 } else { row * len }..][..len]
}

fn naive_read(x: &[Vec<f64>], [n, r, w]: [usize; 3], columns: usize) -> Vec<f64> {
    let rows = x[0].chunks(n * w).enumerate();
    rows.flat_map(|(row, state)| plain::read(n, r, state, of_row(&x[1], row, n * columns)))
        .collect()
}

fn naive_write(x: &[Vec<f64>], [n, r, w]: [usize; 3], form: WriteForm) -> Vec<f64> {
    let beta_len = if form == WriteForm::Full { n * r } else { n };
    let rows = x[0].chunks(n * w).enumerate();
    rows.flat_map(|(row, state)| {
        let alpha = of_row(&x[1], row, n * (r + n));
        let beta = of_row(&x[2], row, beta_len);
        let output = of_row(&x[3], row, r * w);
        plain::write([n, r], form, state, alpha, beta, output)
    })
    .collect()
}

#[test]
fn a_sublayer_reads_mixtures_of_slots() {
    for size @ [n, r, w] in SIZES {
        for (columns, per_token) in [(r + n, true), (r + n, false), (r, true)] {
            let alpha = if per_token {
                CheckInput::normal([ROWS, n, columns], 1.0, 2)
            } else {
                CheckInput::normal([n, columns], 1.0, 2)
            };
            Check::new(
                "slot_read",
                vec![CheckInput::normal([ROWS, n, w], 1.0, 1), alpha],
                |_, v: &[Var<'_>]| vec![read(Slots::of_streams("check", v[0], r), v[0], v[1])],
                |x| vec![naive_read(x, size, columns)],
            )
            .run();
        }
    }
}

#[test]
fn a_write_mixes_the_slots_and_adds_the_output() {
    for size @ [n, r, w] in SIZES {
        for form in [WriteForm::Full, WriteForm::Diagonal] {
            if form == WriteForm::Diagonal && n != r {
                continue;
            }
            for per_token in [true, false] {
                let beta = if form == WriteForm::Full { n * r } else { n };
                let shape = |one: usize| if per_token { [ROWS, one] } else { [1, one] };
                Check::new(
                    "slot_write",
                    vec![
                        CheckInput::normal([ROWS, n, w], 1.0, 1),
                        CheckInput::normal(shape(n * (r + n)), 1.0, 2),
                        CheckInput::normal(shape(beta), 1.0, 3),
                        CheckInput::normal([ROWS, r * w], 1.0, 4),
                    ],
                    |_, v: &[Var<'_>]| {
                        let slots = Slots::of_streams("check", v[0], r);
                        let (alpha, beta) = (v[1], v[2]);
                        vec![write(slots, form, v[0], Coefficients { alpha, beta }, v[3])]
                    },
                    |x| vec![naive_write(x, size, form)],
                )
                .run();
            }
        }
    }
}

const EPS: f32 = 1e-2;
const TAU: f32 = 1.5;

/// The parameters in the order of the check's inputs, of which the state is the first.
fn predicting<T>(form: PredictorForm, part: impl Fn(usize) -> Option<T>) -> Predictor<T> {
    let [
        alpha_fn,
        beta_fn,
        static_alpha,
        static_beta,
        alpha_scale,
        beta_scale,
    ] = [1, 2, 3, 4, 5, 6].map(|i| part(i).expect("a parameter"));
    Predictor {
        form,
        static_alpha,
        static_beta,
        alpha_fn,
        beta_fn,
        alpha_scale,
        beta_scale,
        norm_weight: part(7),
        norm_bias: part(8),
    }
}

fn naive_predict(x: &[Vec<f64>], [n, w]: [usize; 2], form: PredictorForm) -> Vec<Vec<f64>> {
    let with = predicting(form, |i| x.get(i).map(|x| &**x));
    let (mut alpha, mut beta) = (Vec::new(), Vec::new());
    for row in x[0].chunks(n * w) {
        let [of_alpha, of_beta] = plain::predict(n, row, &with, TAU);
        alpha.extend(of_alpha);
        beta.extend(of_beta);
    }
    vec![alpha, beta]
}

#[test]
fn each_slot_predicts_its_row_of_the_coefficients() {
    for [n, w, alpha, beta] in [[1, 8, 2, 1], [4, 8, 8, 1], [6, 5, 9, 3], [3, 17, 6, 1]] {
        for (norm, tanh, one_scale) in [
            (PredictorNorm::LayerNorm, true, true),
            (PredictorNorm::LayerNorm, false, false),
            (PredictorNorm::RmsNorm, true, false),
            (PredictorNorm::None, true, true),
        ] {
            let eps = EPS;
            let form = PredictorForm { norm, eps, tanh };
            let scale = |columns: usize| if one_scale { 1 } else { n * columns };
            let mut inputs = vec![
                CheckInput::normal([ROWS, n, w], 1.0, 1),
                CheckInput::normal([w, alpha], 0.5, 2),
                CheckInput::normal([w, beta], 0.5, 3),
                CheckInput::normal([n, alpha], 1.0, 4),
                CheckInput::normal([n, beta], 1.0, 5),
                CheckInput::normal([scale(alpha)], 1.0, 6),
                CheckInput::normal([scale(beta)], 1.0, 7),
            ];
            if norm != PredictorNorm::None {
                inputs.push(CheckInput::normal([w], 1.0, 8));
            }
            if norm == PredictorNorm::LayerNorm {
                inputs.push(CheckInput::normal([w], 1.0, 9));
            }
            Check::new(
                "slot_predictor",
                inputs,
                |_, v: &[Var<'_>]| {
                    let params = predicting(form, |i| v.get(i).copied());
                    let slots = Slots::of_streams("check", v[0], 1);
                    let Coefficients { alpha, beta } = predict(slots, v[0], &params, TAU);
                    vec![alpha, beta]
                },
                |x| naive_predict(x, [n, w], form),
            )
            .run();
        }
    }
}
