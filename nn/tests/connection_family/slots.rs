//! Read, write and predictor of states of slots.

use engine::{
    check::{Check, CheckInput},
    tape::Var,
};
use nn::connection::{
    PredictorNorm,
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

fn naive_read(x: &[Vec<f64>], [n, r, w]: [usize; 3], columns: usize) -> Vec<f64> {
    let alpha_len = n * columns;
    let shared = x[1].len() == alpha_len;
    let mut out = vec![0.0; ROWS * r * w];
    for row in 0..ROWS {
        let alpha = &x[1][if shared { 0 } else { row * alpha_len }..];
        for j in 0..r {
            for c in 0..w {
                out[(row * r + j) * w + c] = (0..n)
                    .map(|i| alpha[i * columns + j] * x[0][(row * n + i) * w + c])
                    .sum();
            }
        }
    }
    out
}

fn naive_write(x: &[Vec<f64>], [n, r, w]: [usize; 3], form: WriteForm) -> Vec<f64> {
    let (alpha_len, columns) = (n * (r + n), r + n);
    let beta_len = if form == WriteForm::Full { n * r } else { n };
    let mut out = vec![0.0; ROWS * n * w];
    for row in 0..ROWS {
        let start = |len: usize, one: usize| if len == one { 0 } else { row * one };
        let alpha = &x[1][start(x[1].len(), alpha_len)..];
        let beta = &x[2][start(x[2].len(), beta_len)..];
        for j in 0..n {
            for c in 0..w {
                let output = |i: usize| x[3][(row * r + i) * w + c];
                let carried: f64 = (0..n)
                    .map(|i| alpha[i * columns + r + j] * x[0][(row * n + i) * w + c])
                    .sum();
                let written: f64 = match form {
                    WriteForm::Full => (0..r).map(|i| beta[j * r + i] * output(i)).sum(),
                    WriteForm::Diagonal => beta[j] * output(j),
                };
                out[(row * n + j) * w + c] = carried + written;
            }
        }
    }
    out
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

fn naive_predict(
    x: &[Vec<f64>],
    [n, w]: [usize; 2],
    norm: PredictorNorm,
    tanh: bool,
) -> Vec<Vec<f64>> {
    let columns = [x[3].len() / n, x[4].len() / n];
    let mut out = columns.map(|c| vec![0.0; ROWS * n * c]);
    for row in 0..ROWS * n {
        let slot = &x[0][row * w..][..w];
        let mean = match norm {
            PredictorNorm::LayerNorm => slot.iter().sum::<f64>() / w as f64,
            _ => 0.0,
        };
        let square: f64 = slot.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / w as f64;
        let root = (square + f64::from(EPS)).sqrt();
        let normed: Vec<f64> = (0..w)
            .map(|c| match norm {
                PredictorNorm::LayerNorm => (slot[c] - mean) / root * x[7][c] + x[8][c],
                PredictorNorm::RmsNorm => slot[c] / root * x[7][c],
                PredictorNorm::None => slot[c],
            })
            .collect();
        for which in 0..2 {
            let (weight, statics, scale) = (&x[1 + which], &x[3 + which], &x[5 + which]);
            for c in 0..columns[which] {
                let u: f64 = (0..w)
                    .map(|k| normed[k] * weight[k * columns[which] + c])
                    .sum::<f64>()
                    / f64::from(TAU);
                let t = if tanh { u.tanh() } else { u };
                let at = row % n * columns[which] + c;
                let scale = if scale.len() == 1 {
                    scale[0]
                } else {
                    scale[at]
                };
                out[which][row * columns[which] + c] = scale * t + statics[at];
            }
        }
    }
    out.into()
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
                    let params = Predictor {
                        form: PredictorForm {
                            norm,
                            eps: EPS,
                            tanh,
                        },
                        static_alpha: v[3],
                        static_beta: v[4],
                        alpha_fn: v[1],
                        beta_fn: v[2],
                        alpha_scale: v[5],
                        beta_scale: v[6],
                        norm_weight: v.get(7).copied(),
                        norm_bias: v.get(8).copied(),
                    };
                    let slots = Slots::of_streams("check", v[0], 1);
                    let Coefficients { alpha, beta } = predict(slots, v[0], &params, TAU);
                    vec![alpha, beta]
                },
                |x| naive_predict(x, [n, w], norm, tanh),
            )
            .run();
        }
    }
}
