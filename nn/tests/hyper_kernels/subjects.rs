//! The kernels as subjects of the check.

use engine::op::Grad;
use nn::connection::PredictorNorm;
use nn::connection::hyper::kernels::*;
use nn::connection::streams::predictor::{Predictor, PredictorForm};
use nn::connection::streams::slots::{self, SlotDims, WriteForm};

use crate::check::{Subject, Target, numbers, poisoned};
use crate::naive::{self, EPS, Tensor};

#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub dims: Dims,
    pub kind: PredictorNorm,
    pub tanh: bool,
    /// True if the coefficients that are given, not computed, are shared by all rows.
    pub shared: bool,
}

impl Setting {
    fn state(&self, seed: u64) -> Vec<f32> {
        // A mean far from zero: what is not centred before it is multiplied would show.
        let state = numbers(seed, self.dims.state_len());
        state.iter().map(|x| x * 1.5 + 2.0).collect()
    }

    fn hidden(&self, seed: u64) -> Vec<f32> {
        numbers(seed, self.dims.rows * self.dims.d)
    }

    fn alpha(&self, seed: u64) -> Vec<f32> {
        let rows = if self.shared { 1 } else { self.dims.rows };
        numbers(seed, rows * self.dims.alpha_len())
    }

    fn beta(&self, seed: u64) -> Vec<f32> {
        let rows = if self.shared { 1 } else { self.dims.rows };
        numbers(seed, rows * self.dims.rate)
    }

    fn parameters(&self) -> Vec<(&'static str, Vec<f32>)> {
        let Dims { rate, d, .. } = self.dims;
        // No norm has no parameters, the rms norm no bias.
        let weights = if self.kind == PredictorNorm::None {
            0
        } else {
            d
        };
        let biases = if self.kind == PredictorNorm::LayerNorm {
            d
        } else {
            0
        };
        let weight = numbers(11, weights).iter().map(|x| x + 1.0).collect();
        vec![
            ("norm.weight", weight),
            ("norm.bias", numbers(12, biases)),
            ("static_alpha", numbers(13, rate * (rate + 1))),
            ("static_beta", numbers(14, rate)),
            ("dynamic_alpha_fn", numbers(15, d * (rate + 1))),
            ("dynamic_beta_fn", numbers(16, d)),
            ("dynamic_alpha_scale", vec![0.7]),
            ("dynamic_beta_scale", vec![-0.4]),
        ]
    }

    fn form(&self) -> PredictorForm {
        PredictorForm {
            norm: self.kind,
            eps: EPS,
            tanh: self.tanh,
        }
    }

    /// The parameters, of kernels in f32 and of equations in f64.
    pub fn dynamic<'a, T>(&self, parameters: &'a [Vec<T>]) -> Predictor<&'a [T]> {
        Predictor {
            form: self.form(),
            static_alpha: &parameters[2],
            static_beta: &parameters[3],
            alpha_fn: &parameters[4],
            beta_fn: &parameters[5],
            alpha_scale: &parameters[6],
            beta_scale: &parameters[7],
            norm_weight: (self.kind != PredictorNorm::None).then_some(&*parameters[0]),
            norm_bias: (self.kind == PredictorNorm::LayerNorm).then_some(&*parameters[1]),
        }
    }

    /// The sizes of the general kernels.
    pub fn slots(&self) -> SlotDims {
        let Dims { rows, rate, d } = self.dims;
        SlotDims {
            rows,
            slots: rate,
            reads: 1,
            width: d,
        }
    }

    fn grads<'a>(&self, targets: &'a mut [Target]) -> Predictor<Option<Grad<'a>>> {
        let [weight, bias, sa, sb, af, bf, s_a, s_b] = targets else {
            panic!("eight parameters")
        };
        Predictor {
            form: self.form(),
            static_alpha: sa.grad(),
            static_beta: sb.grad(),
            alpha_fn: af.grad(),
            beta_fn: bf.grad(),
            alpha_scale: s_a.grad(),
            beta_scale: s_b.grad(),
            norm_weight: (self.kind != PredictorNorm::None).then(|| weight.grad()),
            norm_bias: (self.kind == PredictorNorm::LayerNorm).then(|| bias.grad()),
        }
    }

    fn scratch(&self) -> Vec<f32> {
        poisoned(scratch_len(self.dims))
    }

    /// Poisoned memory for what a read computes: hidden, alpha, beta, stats.
    pub fn read_memory(&self) -> [Vec<f32>; 4] {
        let Dims { rows, rate, d } = self.dims;
        [
            poisoned(rows * d),
            poisoned(rows * self.dims.alpha_len()),
            poisoned(rows * rate),
            poisoned(stats_len(self.dims)),
        ]
    }
}

fn write_grads(targets: &mut [Target]) -> WriteGrads<'_> {
    let [state, alpha, beta, output] = targets else {
        panic!("four inputs of a write")
    };
    WriteGrads {
        state: state.grad(),
        alpha: alpha.grad(),
        beta: beta.grad(),
        output: output.grad(),
    }
}

fn write_of(inputs: &[Vec<f32>]) -> Write<'_> {
    Write {
        state: &inputs[0],
        alpha: &inputs[1],
        beta: &inputs[2],
        output: &inputs[3],
    }
}

fn write_inputs(s: &Setting) -> Vec<(&'static str, Vec<f32>)> {
    vec![
        ("state", s.state(1)),
        ("alpha", s.alpha(2)),
        ("beta", s.beta(3)),
        ("output", s.hidden(4)),
    ]
}

fn naive_write(s: &Setting, inputs: &[Tensor]) -> Tensor {
    let Dims { rate, d, .. } = s.dims;
    let (_, mixed) = naive::width(rate, d, &inputs[0], &inputs[1]);
    naive::depth(rate, d, &mixed, &inputs[2], &inputs[3])
}

macro_rules! subject {
    ($name:ident) => {
        pub struct $name(pub Setting);
    };
}

subject!(Width);
impl Subject for Width {
    fn name(&self) -> String {
        format!("width_connection {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        vec![("state", self.0.state(1)), ("alpha", self.0.alpha(2))]
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let Dims { rate, d, .. } = self.0.dims;
        let (hidden, mixed) = naive::width(rate, d, &inputs[0], &inputs[1]);
        vec![hidden, mixed]
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let (dims, sizes) = (self.0.dims, self.0.slots());
        let mut outputs = vec![poisoned(dims.rows * dims.d), poisoned(dims.state_len())];
        let (state, alpha) = (&inputs[0], &inputs[1]);
        let [to_state, to_alpha] = targets else {
            panic!("two inputs")
        };
        let mut later = false;
        let columns = [sizes.reading(dims.rate + 1), sizes.carrying()];
        for (i, (columns, output)) in columns.into_iter().zip(&mut outputs).enumerate() {
            slots::mix(sizes, columns, state, alpha, output);
            // The second of two parts is added.
            if let Some(grad) = &upstream[i] {
                let [to_state, to_alpha] = [&mut *to_state, &mut *to_alpha].map(|target| {
                    let grad = target.grad();
                    grad.map(|grad| Grad {
                        accumulate: grad.accumulate || later,
                        ..grad
                    })
                });
                slots::mix_backward(sizes, columns, state, alpha, grad, to_state, to_alpha);
                later = true;
            }
        }
        outputs
    }
}

subject!(Depth);
impl Subject for Depth {
    fn name(&self) -> String {
        format!("depth_connection {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        vec![
            ("mixed", self.0.state(1)),
            ("beta", self.0.beta(2)),
            ("output", self.0.hidden(3)),
        ]
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let Dims { rate, d, .. } = self.0.dims;
        vec![naive::depth(rate, d, &inputs[0], &inputs[1], &inputs[2])]
    }

    fn optional_upstream(&self) -> bool {
        false
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let sizes = self.0.slots();
        let (beta, output, form) = (&inputs[1], &inputs[2], WriteForm::Full);
        let mut next = inputs[0].clone();
        slots::add_output(sizes, form, beta, output, &mut next);
        let [mixed, to_beta, to_output] = targets else {
            panic!("three inputs")
        };
        let grad = upstream[0].as_deref().expect("a gradient");
        slots::add_output_backward(
            sizes,
            form,
            beta,
            output,
            grad,
            to_beta.grad(),
            to_output.grad(),
        );
        if let Some(to_mixed) = mixed.grad() {
            engine::kernels::elementwise::copy(to_mixed.values, to_mixed.accumulate, grad);
        }
        vec![next]
    }
}

subject!(WriteOnly);
impl Subject for WriteOnly {
    fn name(&self) -> String {
        format!("write {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        write_inputs(&self.0)
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        vec![naive_write(&self.0, inputs)]
    }

    fn optional_upstream(&self) -> bool {
        false
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let dims = self.0.dims;
        let mut next = poisoned(dims.state_len());
        let (sizes, form) = (self.0.slots(), WriteForm::Full);
        let [state, alpha, beta, output] = [0, 1, 2, 3].map(|at| &inputs[at][..]);
        slots::write(sizes, form, state, alpha, beta, output, &mut next);
        let grad = upstream[0].as_deref().expect("a gradient");
        let [to_state, to_alpha, to_beta, to_output] = targets else {
            panic!("four inputs of a write")
        };
        let (to_state, to_alpha) = (to_state.grad(), to_alpha.grad());
        slots::mix_backward(
            sizes,
            sizes.carrying(),
            state,
            alpha,
            grad,
            to_state,
            to_alpha,
        );
        let (to_beta, to_output) = (to_beta.grad(), to_output.grad());
        slots::add_output_backward(sizes, form, beta, output, grad, to_beta, to_output);
        vec![next]
    }
}

subject!(WriteThenSum);
impl Subject for WriteThenSum {
    fn name(&self) -> String {
        format!("write_then_sum {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        write_inputs(&self.0)
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let Dims { rate, d, .. } = self.0.dims;
        vec![naive::reduce(rate, d, &naive_write(&self.0, inputs))]
    }

    fn optional_upstream(&self) -> bool {
        false
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let dims = self.0.dims;
        let mut out = poisoned(dims.rows * dims.d);
        write_then_sum(dims, &write_of(inputs), &mut out);
        let grad = upstream[0].as_deref().expect("a gradient");
        write_then_sum_backward(dims, &write_of(inputs), grad, write_grads(targets));
        vec![out]
    }
}

subject!(ReadOnly);
impl Subject for ReadOnly {
    fn name(&self) -> String {
        format!("read {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        let mut inputs = vec![("state", self.0.state(1))];
        inputs.extend(self.0.parameters());
        inputs
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let Dims { rate, d, .. } = self.0.dims;
        let dynamic = self.0.dynamic(&inputs[1..]);
        let (alpha, beta) = naive::coefficients(rate, d, &inputs[0], &dynamic);
        let (hidden, _) = naive::width(rate, d, &inputs[0], &alpha);
        vec![hidden, alpha, beta]
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let dims = self.0.dims;
        let dynamic = self.0.dynamic(&inputs[1..]);
        let [mut hidden, mut alpha, mut beta, mut stats] = self.0.read_memory();
        let out = Read {
            hidden: Some(&mut hidden),
            alpha: &mut alpha,
            beta: &mut beta,
            stats: &mut stats,
        };
        let source = Source::State(&inputs[0]);
        read(dims, source, &dynamic, out, &mut self.0.scratch());
        let (state, parameters) = targets.split_at_mut(1);
        read_backward(
            dims,
            &inputs[0],
            &dynamic,
            &alpha,
            &stats,
            inflow(upstream),
            StateGradient::Input(state[0].grad()),
            self.0.grads(parameters),
            &mut self.0.scratch(),
        );
        vec![hidden, alpha, beta]
    }
}

fn inflow(upstream: &[Option<Vec<f32>>]) -> ReadInflow<'_> {
    ReadInflow {
        hidden: upstream[0].as_deref(),
        alpha: upstream[1].as_deref(),
        beta: upstream[2].as_deref(),
    }
}

subject!(WriteThenRead);
impl Subject for WriteThenRead {
    fn name(&self) -> String {
        format!("write_then_read {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        let mut inputs = write_inputs(&self.0);
        inputs.extend(self.0.parameters());
        inputs
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let Dims { rate, d, .. } = self.0.dims;
        let next = naive_write(&self.0, inputs);
        let dynamic = self.0.dynamic(&inputs[4..]);
        let (alpha, beta) = naive::coefficients(rate, d, &next, &dynamic);
        let (hidden, _) = naive::width(rate, d, &next, &alpha);
        vec![hidden, alpha, beta, next]
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let dims = self.0.dims;
        let dynamic = self.0.dynamic(&inputs[4..]);
        let [mut hidden, mut alpha, mut beta, mut stats] = self.0.read_memory();
        let mut next = poisoned(dims.state_len());
        let out = Read {
            hidden: Some(&mut hidden),
            alpha: &mut alpha,
            beta: &mut beta,
            stats: &mut stats,
        };
        let write = write_of(inputs);
        let mut scratch = self.0.scratch();
        let source = Source::Write(write, &mut next);
        read(dims, source, &dynamic, out, &mut scratch);
        let (written, parameters) = targets.split_at_mut(4);
        read_backward(
            dims,
            &next,
            &dynamic,
            &alpha,
            &stats,
            inflow(upstream),
            StateGradient::Write(write, write_grads(written), upstream[3].as_deref()),
            self.0.grads(parameters),
            &mut self.0.scratch(),
        );
        vec![hidden, alpha, beta, next]
    }
}

subject!(WriteThenReadStatic);
impl Subject for WriteThenReadStatic {
    fn name(&self) -> String {
        format!("write_then_read_static {:?}", self.0)
    }

    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)> {
        let mut inputs = write_inputs(&self.0);
        inputs.push(("next_alpha", self.0.alpha(5)));
        inputs
    }

    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let Dims { rate, d, .. } = self.0.dims;
        let next = naive_write(&self.0, inputs);
        let (hidden, _) = naive::width(rate, d, &next, &inputs[4]);
        vec![hidden, next]
    }

    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>> {
        let dims = self.0.dims;
        let mut hidden = poisoned(dims.rows * dims.d);
        let mut next = poisoned(dims.state_len());
        let (write, alpha) = (write_of(inputs), &inputs[4]);
        write_then_read_static(dims, &write, alpha, &mut next, &mut hidden);
        let (written, read) = targets.split_at_mut(4);
        write_then_read_static_backward(
            dims,
            &write,
            &next,
            alpha,
            upstream[1].as_deref(),
            upstream[0].as_deref(),
            write_grads(written),
            read[0].grad(),
            &mut self.0.scratch(),
        );
        vec![hidden, next]
    }
}
