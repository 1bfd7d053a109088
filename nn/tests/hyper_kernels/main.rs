//! The hyper-connection kernels against the equations of the paper.

mod check;
mod naive;
mod subjects;

use check::{Subject, assert_close, check, numbers, poisoned};
use engine::kernels::broadcast::{replicate, sum_streams};
use nn::connection::PredictorNorm;
use nn::connection::hyper::kernels::{
    Dims, Read, Source, Write, read, scratch_len, write_then_sum,
};
use nn::connection::streams::slots::{SlotDims, WriteForm, add_output, mix, write};
use subjects::*;

const RATES: [usize; 6] = [1, 2, 3, 4, 8, 12];
const WIDTHS: [usize; 6] = [1, 3, 5, 16, 17, 33];

/// Rows that do not fill a block, and more than one block for the smaller states.
fn sizes() -> impl Iterator<Item = Dims> {
    RATES.into_iter().flat_map(|rate| {
        WIDTHS.into_iter().map(move |d| Dims {
            rows: if rate * d <= 20 { 32 / rate + 2 } else { 2 },
            rate,
            d,
        })
    })
}

fn every_predictor(mut body: impl FnMut(Setting)) {
    for dims in sizes() {
        for kind in [
            PredictorNorm::None,
            PredictorNorm::RmsNorm,
            PredictorNorm::LayerNorm,
        ] {
            for tanh in [true, false] {
                let shared = tanh;
                body(Setting {
                    dims,
                    kind,
                    tanh,
                    shared,
                });
            }
        }
    }
}

fn every_sharing(mut body: impl FnMut(Setting)) {
    for dims in sizes() {
        for shared in [true, false] {
            body(Setting {
                dims,
                kind: PredictorNorm::None,
                tanh: false,
                shared,
            });
        }
    }
}

#[test]
fn the_width_connection_and_gradients_are_those_of_the_equations() {
    every_sharing(|setting| check(&Width(setting)));
}

#[test]
fn the_depth_connection_and_gradients_are_those_of_the_equations() {
    every_sharing(|setting| check(&Depth(setting)));
}

#[test]
fn write_and_gradients_are_those_of_the_equations() {
    every_sharing(|setting| check(&WriteOnly(setting)));
}

#[test]
fn write_then_sum_and_gradients_are_those_of_the_equations() {
    every_sharing(|setting| check(&WriteThenSum(setting)));
}

#[test]
fn write_then_read_static_and_gradients_are_those_of_the_equations() {
    every_sharing(|setting| check(&WriteThenReadStatic(setting)));
}

#[test]
fn read_and_gradients_are_those_of_the_equations() {
    every_predictor(|setting| check(&ReadOnly(setting)));
}

#[test]
fn write_then_read_and_gradients_are_those_of_the_equations() {
    every_predictor(|setting| check(&WriteThenRead(setting)));
}

#[test]
fn coefficients_of_each_norm_stay_accurate_far_from_zero() {
    // Streams whose mean is a hundred times their deviation, as trained ones have: the
    // naive product (H W - mean sum W) would lose two digits.
    let dims = Dims {
        rows: 3,
        rate: 4,
        d: 128,
    };
    let setting = Setting {
        dims,
        kind: PredictorNorm::LayerNorm,
        tanh: false,
        shared: false,
    };
    let subject = ReadOnly(setting);
    let mut inputs: Vec<Vec<f32>> = subject.inputs().into_iter().map(|(_, x)| x).collect();
    for value in &mut inputs[0] {
        *value += 100.0;
    }
    let wide: Vec<Vec<f64>> = inputs
        .iter()
        .map(|x| x.iter().map(|&x| f64::from(x)).collect())
        .collect();
    let expected = subject.naive(&wide);
    let mut targets: Vec<check::Target> = inputs
        .iter()
        .map(|_| check::Target {
            wanted: false,
            data: vec![],
            accumulate: false,
        })
        .collect();
    let outputs = subject.run(&inputs, &[None, None, None], &mut targets);
    assert_close("alpha", &outputs[1], &expected[1], 1e-5);
    assert_close("beta", &outputs[2], &expected[2], 1e-5);
}

#[test]
fn streams_are_replicated_and_summed() {
    for dims in sizes() {
        let Dims { rows, rate, d } = dims;
        let hidden = numbers(1, rows * d);
        let mut state = poisoned(dims.state_len());
        replicate(&mut state, false, &hidden, rate, d);
        for (at, value) in state.iter().enumerate() {
            assert_eq!(*value, hidden[at / (rate * d) * d + at % d]);
        }
        replicate(&mut state, true, &hidden, rate, d);
        let mut sum = poisoned(rows * d);
        sum_streams(&mut sum, false, &state, rate, d);
        sum_streams(&mut sum, true, &state, rate, d);
        let expected: Vec<f64> = hidden
            .iter()
            .map(|&x| f64::from(x) * 4.0 * rate as f64)
            .collect();
        assert_close("the sum of replicated streams", &sum, &expected, 1e-6);
    }
}

/// The coefficients of a stream close to zero magnify rounding without bound, so the
/// separate kernels read the state that the fused ones wrote.
#[test]
fn fused_kernels_compute_what_the_separate_ones_do() {
    every_predictor(|setting| {
        let dims = setting.dims;
        let inputs: Vec<Vec<f32>> = WriteThenRead(setting)
            .inputs()
            .into_iter()
            .map(|(_, x)| x)
            .collect();
        let dynamic = setting.dynamic(&inputs[4..]);
        let mut scratch = poisoned(scratch_len(dims));
        let [state, alpha_in, beta_in, output] = [0, 1, 2, 3].map(|at| &inputs[at][..]);

        let step = Write {
            state,
            alpha: alpha_in,
            beta: beta_in,
            output,
        };
        let mut fused_next = poisoned(dims.state_len());
        let [
            mut fused_hidden,
            mut fused_alpha,
            mut fused_beta,
            mut fused_stats,
        ] = setting.read_memory();
        let out = Read {
            hidden: Some(&mut fused_hidden),
            alpha: &mut fused_alpha,
            beta: &mut fused_beta,
            stats: &mut fused_stats,
        };
        let source = Source::Write(step, &mut fused_next);
        read(dims, source, &dynamic, out, &mut scratch);
        let mut fused_sum = poisoned(dims.rows * dims.d);
        write_then_sum(dims, &step, &mut fused_sum);
        let (sizes, form) = (setting.slots(), WriteForm::Full);
        let mut written = poisoned(dims.state_len());
        write(sizes, form, state, alpha_in, beta_in, output, &mut written);
        assert_eq!(written, fused_next, "write {setting:?}");

        let mut next = poisoned(dims.state_len());
        mix(sizes, sizes.carrying(), state, alpha_in, &mut next);
        add_output(sizes, form, beta_in, output, &mut next);
        let [mut hidden, mut alpha, mut beta, mut stats] = setting.read_memory();
        let out = Read {
            hidden: Some(&mut hidden),
            alpha: &mut alpha,
            beta: &mut beta,
            stats: &mut stats,
        };
        read(
            dims,
            Source::State(&fused_next),
            &dynamic,
            out,
            &mut scratch,
        );
        let mut general_hidden = poisoned(dims.rows * dims.d);
        let columns = sizes.reading(dims.rate + 1);
        mix(sizes, columns, &fused_next, &alpha, &mut general_hidden);
        assert_eq!(general_hidden, hidden, "read {setting:?}");
        let mut sum = poisoned(dims.rows * dims.d);
        sum_streams(&mut sum, false, &next, dims.rate, dims.d);

        for (what, fused, separate) in [
            ("next", &fused_next, &next),
            ("hidden", &fused_hidden, &hidden),
            ("alpha", &fused_alpha, &alpha),
            ("beta", &fused_beta, &beta),
            ("stats", &fused_stats, &stats),
            ("sum", &fused_sum, &sum),
        ] {
            let separate: Vec<f64> = separate.iter().map(|&x| f64::from(x)).collect();
            assert_close(&format!("{what} {setting:?}"), fused, &separate, 1e-6);
        }
    });
}

/// `[e_k | I]`, the paper's initial alpha, Eq. (14).
fn initial_alpha(rate: usize, k: usize) -> Vec<f32> {
    let mut alpha = vec![0.0; rate * (rate + 1)];
    for i in 0..rate {
        alpha[i * (rate + 1)] = if i == k % rate { 1.0 } else { 0.0 };
        alpha[i * (rate + 1) + i + 1] = 1.0;
    }
    alpha
}

/// A sublayer that mixes the numbers of a token.
fn sublayer(k: usize, d: usize, hidden: &[f32]) -> Vec<f32> {
    let tokens = hidden.chunks(d);
    tokens
        .flat_map(|x| {
            (0..d).map(move |i| (x[i] * 0.3 + x[(i + 1 + k) % d] * 0.2 + k as f32 * 0.1).sin())
        })
        .collect()
}

#[test]
fn at_initialisation_every_stream_is_the_pre_norm_residual() {
    for rate in [1, 2, 3, 4, 8] {
        let dims = Dims {
            rows: 3,
            rate,
            d: 19,
        };
        let setting = Setting {
            dims,
            kind: PredictorNorm::LayerNorm,
            tanh: true,
            shared: true,
        };
        let ones = vec![1.0; dims.d];
        let parameters = |k: usize| -> Vec<Vec<f32>> {
            vec![
                ones.clone(),
                vec![0.0; dims.d],
                initial_alpha(rate, k),
                vec![1.0; rate],
                vec![0.0; dims.d * (rate + 1)],
                vec![0.0; dims.d],
                vec![0.01],
                vec![0.01],
            ]
        };
        let embedding = numbers(1, dims.rows * dims.d);
        let mut scratch = poisoned(scratch_len(dims));
        let mut state = poisoned(dims.state_len());
        replicate(&mut state, false, &embedding, rate, dims.d);
        let mut residual = embedding;
        const SUBLAYERS: usize = 5;
        let [mut hidden, mut alpha, mut beta, mut stats] = setting.read_memory();
        let first = parameters(0);
        let out = Read {
            hidden: Some(&mut hidden),
            alpha: &mut alpha,
            beta: &mut beta,
            stats: &mut stats,
        };
        let source = Source::State(&state);
        read(dims, source, &setting.dynamic(&first), out, &mut scratch);
        for k in 0..SUBLAYERS {
            assert_eq!(hidden, residual, "the read of sublayer {k}, rate {rate}");
            let output = sublayer(k, dims.d, &hidden);
            for (x, o) in residual.iter_mut().zip(&output) {
                *x += o;
            }
            let step = Write {
                state: &state,
                alpha: &alpha,
                beta: &beta,
                output: &output,
            };
            if k + 1 == SUBLAYERS {
                let mut sum = poisoned(dims.rows * dims.d);
                write_then_sum(dims, &step, &mut sum);
                let expected: Vec<f64> = residual
                    .iter()
                    .map(|&x| f64::from(x) * rate as f64)
                    .collect();
                assert_close("the sum of the streams", &sum, &expected, 1e-6);
                break;
            }
            let mut next = poisoned(dims.state_len());
            let [mut next_hidden, mut next_alpha, mut next_beta, mut stats] = setting.read_memory();
            let out = Read {
                hidden: Some(&mut next_hidden),
                alpha: &mut next_alpha,
                beta: &mut next_beta,
                stats: &mut stats,
            };
            let next_parameters = parameters(k + 1);
            let dynamic = setting.dynamic(&next_parameters);
            let source = Source::Write(step, &mut next);
            read(dims, source, &dynamic, out, &mut scratch);
            (state, hidden, alpha, beta) = (next, next_hidden, next_alpha, next_beta);
        }
    }
}

#[test]
fn alpha_i_j_carries_stream_i_into_stream_j() {
    let mut alpha = vec![0.0; 20];
    // Source 1, destination 3 (column 0 is the read).
    alpha[5 + 4] = 2.0;
    // The read takes stream 2.
    alpha[2 * 5] = 1.0;
    let state = numbers(1, 64);
    let (mut hidden, mut mixed) = (poisoned(16), poisoned(64));
    let sizes = SlotDims {
        rows: 1,
        slots: 4,
        reads: 1,
        width: 16,
    };
    mix(sizes, sizes.reading(5), &state, &alpha, &mut hidden);
    mix(sizes, sizes.carrying(), &state, &alpha, &mut mixed);
    assert_eq!(hidden, state[32..48]);
    assert!(mixed[..48].iter().all(|&x| x == 0.0));
    let doubled: Vec<f32> = state[16..32].iter().map(|x| 2.0 * x).collect();
    assert_eq!(mixed[48..], doubled);
}

#[test]
fn every_element_of_the_mix_matters() {
    for rate in [2, 3, 4, 8] {
        let dims = Dims {
            rows: 2,
            rate,
            d: 17,
        };
        let state = numbers(1, dims.state_len());
        let output = numbers(2, dims.rows * dims.d);
        let beta = vec![1.0; rate];
        let next = |alpha: &[f32]| {
            let mut next = poisoned(dims.state_len());
            let sizes = SlotDims {
                rows: 2,
                slots: rate,
                reads: 1,
                width: 17,
            };
            let form = WriteForm::Full;
            write(sizes, form, &state, alpha, &beta, &output, &mut next);
            next
        };
        let alpha = initial_alpha(rate, 0);
        let before = next(&alpha);
        for i in 0..rate {
            for j in 0..rate {
                let mut moved = alpha.clone();
                moved[i * (rate + 1) + j + 1] += 0.5;
                let after = next(&moved);
                for row in 0..dims.rows {
                    for stream in 0..rate {
                        let range = (row * rate + stream) * dims.d..;
                        let changed = before[range.clone()][..dims.d] != after[range][..dims.d];
                        assert_eq!(changed, stream == j, "A_r[{i}, {j}], stream {stream}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_rows_give_zero_gradients_of_what_is_shared() {
    let dims = Dims {
        rows: 0,
        rate: 4,
        d: 16,
    };
    let setting = Setting {
        dims,
        kind: PredictorNorm::LayerNorm,
        tanh: true,
        shared: true,
    };
    let subject = WriteThenRead(setting);
    let inputs: Vec<Vec<f32>> = subject.inputs().into_iter().map(|(_, x)| x).collect();
    let mut targets: Vec<check::Target> = inputs
        .iter()
        .map(|x| check::Target {
            wanted: true,
            data: poisoned(x.len()),
            accumulate: false,
        })
        .collect();
    let upstream = vec![Some(vec![]); 4];
    subject.run(&inputs, &upstream, &mut targets);
    for target in targets {
        assert!(target.data.iter().all(|&x| x == 0.0));
    }
}

#[test]
#[should_panic(
    expected = "slot_mix: alpha has 19 elements, expected [rows 3, slots 4, columns 5] or [slots \
                4, columns 5]"
)]
fn a_wrong_length_is_named() {
    let sizes = SlotDims {
        rows: 3,
        slots: 4,
        reads: 1,
        width: 2,
    };
    let columns = sizes.carrying();
    mix(sizes, columns, &[0.0; 24], &[0.0; 19], &mut [0.0; 24]);
}
