//! One sublayer's connection on one core: the fused kernels and the separate ones.
//!
//! `cargo bench -p nn --bench hyper -- n4` measures one rate. The throughput is in rows
//! (tokens) per second; `copy` moves as many bytes as the fused forward, for comparison.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::op::Grad;
use nn::connection::{
    PredictorNorm,
    hyper::kernels::{
        Dims, Read, ReadInflow, Source, StateGradient, Write, WriteGrads, read, read_backward,
        scratch_len, stats_len, write_then_read_static, write_then_read_static_backward,
    },
    streams::{
        predictor::{Predictor, PredictorForm},
        slots::{SlotDims, WriteForm, add_output, add_output_backward, mix, mix_backward},
    },
};

const FORM: PredictorForm = PredictorForm {
    norm: PredictorNorm::LayerNorm,
    eps: 1e-5,
    tanh: true,
};

const ROWS: usize = 2048;
const D: usize = 128;

/// Memory that starts on a cache line, as the kernels like it.
struct Buffer {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn new(len: usize, seed: usize) -> Self {
        let mut memory = vec![0.0; len + 16];
        let start = memory.as_ptr().align_offset(64);
        for (at, value) in memory.iter_mut().enumerate() {
            *value = ((at * 7 + seed * 13) % 101) as f32 * 0.02 - 1.0;
        }
        Self { memory, start, len }
    }

    fn get(&self) -> &[f32] {
        &self.memory[self.start..][..self.len]
    }

    fn get_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..][..self.len]
    }

    fn grad(&mut self) -> Option<Grad<'_>> {
        Some(Grad {
            values: self.get_mut(),
            accumulate: false,
        })
    }

    fn added(&mut self) -> Option<Grad<'_>> {
        Some(Grad {
            values: self.get_mut(),
            accumulate: true,
        })
    }
}

/// The gradients of the parameters.
struct Parameters([Buffer; 8]);

impl Parameters {
    fn new(dims: Dims) -> Self {
        let Dims { rate, d, .. } = dims;
        let columns = rate + 1;
        let lens = [d, d, rate * columns, rate, d * columns, d, 1, 1];
        Self(std::array::from_fn(|at| Buffer::new(lens[at], 20 + at)))
    }

    fn dynamic(&self) -> Predictor<&[f32]> {
        let [weight, bias, sa, sb, af, bf, s_a, s_b] = self.0.each_ref().map(Buffer::get);
        Predictor {
            form: FORM,
            static_alpha: sa,
            static_beta: sb,
            alpha_fn: af,
            beta_fn: bf,
            alpha_scale: s_a,
            beta_scale: s_b,
            norm_weight: Some(weight),
            norm_bias: Some(bias),
        }
    }

    fn grads(&mut self) -> Predictor<Option<Grad<'_>>> {
        let [weight, bias, sa, sb, af, bf, s_a, s_b] = self.0.each_mut().map(Buffer::grad);
        Predictor {
            form: FORM,
            static_alpha: sa,
            static_beta: sb,
            alpha_fn: af,
            beta_fn: bf,
            alpha_scale: s_a,
            beta_scale: s_b,
            norm_weight: Some(weight),
            norm_bias: Some(bias),
        }
    }
}

fn connection(c: &mut Criterion, rate: usize) {
    let dims = Dims {
        rows: ROWS,
        rate,
        d: D,
    };
    let mut group = c.benchmark_group(format!("n{rate}"));
    group.throughput(Throughput::Elements(ROWS as u64));
    let state_len = dims.state_len();
    let alpha_len = ROWS * dims.alpha_len();
    let [state, next_grad] = [1, 2].map(|seed| Buffer::new(state_len, seed));
    let [mut next, mut state_grad] = [3, 5].map(|seed| Buffer::new(state_len, seed));
    let [output, hidden_grad] = [7, 8].map(|seed| Buffer::new(ROWS * D, seed));
    let [mut hidden, mut output_grad] = [9, 10].map(|seed| Buffer::new(ROWS * D, seed));
    let [alpha, alpha_up] = [11, 12].map(|seed| Buffer::new(alpha_len, seed));
    let [mut next_alpha, mut alpha_grad] = [13, 14].map(|seed| Buffer::new(alpha_len, seed));
    let [beta, beta_up] = [15, 16].map(|seed| Buffer::new(ROWS * rate, seed));
    let [mut next_beta, mut beta_grad] = [17, 18].map(|seed| Buffer::new(ROWS * rate, seed));
    let mut stats = Buffer::new(stats_len(dims), 0);
    let mut scratch = Buffer::new(scratch_len(dims), 0);
    let parameters = Parameters::new(dims);
    let mut parameter_grads = Parameters::new(dims);
    let step = Write {
        state: state.get(),
        alpha: alpha.get(),
        beta: beta.get(),
        output: output.get(),
    };

    let half = (rate + 1) * ROWS * D;
    let (source, mut target) = (Buffer::new(half, 1), Buffer::new(half, 2));
    group.bench_function("copy", |b| {
        b.iter(|| black_box(target.get_mut()).copy_from_slice(black_box(source.get())));
    });
    group.bench_function("fused/forward", |b| {
        b.iter(|| {
            let out = Read {
                hidden: Some(hidden.get_mut()),
                alpha: next_alpha.get_mut(),
                beta: next_beta.get_mut(),
                stats: stats.get_mut(),
            };
            let source = Source::Write(step, next.get_mut());
            let (dynamic, scratch) = (parameters.dynamic(), scratch.get_mut());
            read(dims, source, &dynamic, out, scratch);
        });
    });
    group.bench_function("fused/backward", |b| {
        b.iter(|| {
            read_backward(
                dims,
                next.get(),
                &parameters.dynamic(),
                next_alpha.get(),
                stats.get(),
                ReadInflow {
                    hidden: Some(hidden_grad.get()),
                    alpha: Some(alpha_up.get()),
                    beta: Some(beta_up.get()),
                },
                StateGradient::Write(
                    step,
                    WriteGrads {
                        state: state_grad.grad(),
                        alpha: alpha_grad.grad(),
                        beta: beta_grad.grad(),
                        output: output_grad.grad(),
                    },
                    Some(next_grad.get()),
                ),
                parameter_grads.grads(),
                scratch.get_mut(),
            );
        });
    });
    let sizes = SlotDims {
        rows: ROWS,
        slots: rate,
        reads: 1,
        width: D,
    };
    let (reading, carrying) = (sizes.reading(rate + 1), sizes.carrying());
    let form = WriteForm::Full;
    group.bench_function("separate/forward", |b| {
        b.iter(|| {
            let (dynamic, scratch) = (parameters.dynamic(), scratch.get_mut());
            mix(sizes, carrying, state.get(), alpha.get(), next.get_mut());
            let (beta, output) = (beta.get(), output.get());
            add_output(sizes, form, beta, output, next.get_mut());
            let out = Read {
                hidden: None,
                alpha: next_alpha.get_mut(),
                beta: next_beta.get_mut(),
                stats: stats.get_mut(),
            };
            read(dims, Source::State(next.get()), &dynamic, out, scratch);
            let (state, alpha) = (next.get(), next_alpha.get());
            mix(sizes, reading, state, alpha, hidden.get_mut());
        });
    });
    group.bench_function("separate/backward", |b| {
        b.iter(|| {
            for (columns, grad) in [(reading, &hidden_grad), (carrying, &next_grad)] {
                let (state, alpha, grad) = (next.get(), next_alpha.get(), grad.get());
                let (to_state, to_alpha) = match columns.first {
                    0 => (state_grad.grad(), alpha_grad.grad()),
                    _ => (state_grad.added(), alpha_grad.added()),
                };
                mix_backward(sizes, columns, state, alpha, grad, to_state, to_alpha);
            }
            read_backward(
                dims,
                next.get(),
                &parameters.dynamic(),
                next_alpha.get(),
                stats.get(),
                ReadInflow {
                    hidden: None,
                    alpha: Some(alpha_grad.get()),
                    beta: Some(beta_up.get()),
                },
                StateGradient::Input(state_grad.added()),
                parameter_grads.grads(),
                scratch.get_mut(),
            );
            add_output_backward(
                sizes,
                form,
                beta.get(),
                output.get(),
                state_grad.get(),
                beta_grad.grad(),
                output_grad.grad(),
            );
        });
    });
    let shared = Buffer::new(dims.alpha_len(), 1);
    let mut shared_grad = Buffer::new(dims.alpha_len(), 1);
    let mut shared_read_grad = Buffer::new(dims.alpha_len(), 1);
    let shared_step = Write {
        alpha: shared.get(),
        beta: &beta.get()[..rate],
        ..step
    };
    group.bench_function("static/forward", |b| {
        b.iter(|| {
            let (next, hidden) = (next.get_mut(), hidden.get_mut());
            write_then_read_static(dims, &shared_step, shared.get(), next, hidden);
        });
    });
    group.bench_function("static/backward", |b| {
        b.iter(|| {
            write_then_read_static_backward(
                dims,
                &shared_step,
                next.get(),
                shared.get(),
                Some(next_grad.get()),
                Some(hidden_grad.get()),
                WriteGrads {
                    state: state_grad.grad(),
                    alpha: shared_grad.grad(),
                    beta: None,
                    output: output_grad.grad(),
                },
                shared_read_grad.grad(),
                scratch.get_mut(),
            );
        });
    });
}

fn connections(c: &mut Criterion) {
    for rate in [1, 2, 4, 8] {
        connection(c, rate);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(30);
    targets = connections
}
criterion_main!(benches);
