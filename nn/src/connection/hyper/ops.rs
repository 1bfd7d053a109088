//! The operations of hyper-connections on the tape: one pass over the streams ends a sublayer
//! and begins the next.
//!
//! Traffic per token and sublayer in units of d numbers, forward: `5 n + 2` for
//! coefficients, width connection and depth connection one by one; `2 n + 2` here. The
//! mixed streams `H'` are never stored.

use super::kernels::{
    self, Dims, Read, ReadInflow, Source, StateGradient, Write, WriteGrads, scratch_len, stats_len,
};
use crate::connection::streams::{
    predictor::{INPUTS, Predictor, PredictorForm},
    slots::WriteForm,
};
use crate::shapes::expect;
use engine::{
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};

pub use crate::connection::streams::{
    ops::{Coefficients, Slots, depth_connection, width_connection},
    pending::PendingWrite,
    predictor::PredictorNorm,
};

/// The inputs of a write: state, alpha, beta, output.
const WRITE_INPUTS: usize = 4;

fn write_of<'a, const N: usize>(inputs: &[&'a [f32]; N]) -> Write<'a> {
    Write {
        state: inputs[0],
        alpha: inputs[1],
        beta: inputs[2],
        output: inputs[3],
    }
}

fn write_grads<'a>(cx: &mut Backward<'a>) -> WriteGrads<'a> {
    let [state, alpha, beta, output] = [0, 1, 2, 3].map(|i| cx.input_grad(i));
    WriteGrads {
        state,
        alpha,
        beta,
        output,
    }
}

/// The sizes of a hidden state `[.., rate, d]`.
#[track_caller]
fn dims_of(op: &str, state: Var<'_>) -> (Slots, Dims) {
    let slots = Slots::of_streams(op, state, 1);
    let sizes = slots.dims();
    let dims = Dims {
        rows: sizes.rows,
        rate: sizes.slots,
        d: sizes.width,
    };
    (slots, dims)
}

/// The sizes of a state with a write to it, and the inputs of the write.
#[track_caller]
fn written<'t>(
    op: &str,
    state: Var<'t>,
    write: &PendingWrite<'t>,
) -> (Slots, Dims, [Var<'t>; WRITE_INPUTS]) {
    let (slots, dims) = dims_of(op, state);
    let Coefficients { alpha, beta } = write.coefficients;
    slots.expect_alpha(op, alpha);
    slots.expect_write(op, WriteForm::Full, beta, write.output);
    (slots, dims, [state, alpha, beta, write.output])
}

/// Dynamic coefficients, after a write and before a read if there are.
struct ReadOp {
    dims: Dims,
    form: PredictorForm,
    /// The first output is then the next state.
    writes: bool,
    /// The next output is then h0; alpha, beta and the statistics follow.
    reads: bool,
}

impl ReadOp {
    /// The first input of the predictor.
    fn first(&self) -> usize {
        if self.writes { WRITE_INPUTS } else { 1 }
    }
}

impl Op for ReadOp {
    fn name(&self) -> &'static str {
        match (self.writes, self.reads) {
            (true, _) => "hyper_write_then_read",
            (false, true) => "hyper_read",
            (false, false) => "coefficients",
        }
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs: [&[f32]; INPUTS] = cx.inputs();
        let outputs: [&mut [f32]; 5] = cx.outputs();
        let mut outputs = outputs.into_iter();
        let mut output = || outputs.next().expect("an output");
        let first = self.first();
        let dynamic = Predictor::from_fn(self.form, |i| inputs[first + i]);
        let source = match self.writes {
            true => Source::Write(write_of(&inputs), output()),
            false => Source::State(inputs[0]),
        };
        let read = Read {
            hidden: self.reads.then(&mut output),
            alpha: output(),
            beta: output(),
            stats: output(),
        };
        let mut scratch = cx.pool.take(scratch_len(self.dims));
        kernels::read(self.dims, source, &dynamic, read, &mut scratch);
        cx.pool.give(scratch);
    }

    /// Per token: the gradient of the state is completed by the read and the coefficients
    /// (through tanh, projection and norm) and, where there was a write, at once spread over H,
    /// the output and the coefficients of the last sublayer.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs: [&[f32]; INPUTS] = cx.inputs();
        let outputs: [&[f32]; 5] = cx.outputs();
        let read = usize::from(self.writes);
        let alpha = read + usize::from(self.reads);
        let inflow = ReadInflow {
            hidden: self.reads.then(|| cx.output_grad(read)).flatten(),
            alpha: cx.output_grad(alpha),
            beta: cx.output_grad(alpha + 1),
        };
        let first = self.first();
        let dynamic = Predictor::from_fn(self.form, |i| inputs[first + i]);
        let (state, sink) = match self.writes {
            true => {
                let (grads, later) = (write_grads(cx), cx.output_grad(0));
                let sink = StateGradient::Write(write_of(&inputs), grads, later);
                (outputs[0], sink)
            }
            false => (inputs[0], StateGradient::Input(cx.input_grad(0))),
        };
        let grads = Predictor::from_fn(self.form, |i| cx.input_grad(first + i));
        let mut scratch = cx.pool.take(scratch_len(self.dims));
        kernels::read_backward(
            self.dims,
            state,
            &dynamic,
            outputs[alpha],
            outputs[alpha + 2],
            inflow,
            sink,
            grads,
            &mut scratch,
        );
        cx.pool.give(scratch);
    }
}

#[track_caller]
fn expect_predictor(op: &str, dims: Dims, params: &Predictor<Var<'_>>) {
    let (n, d) = (dims.rate, dims.d);
    let shapes: [(&str, Shape); 6] = [
        ("static_alpha", [n, n + 1].into()),
        ("static_beta", [n].into()),
        ("dynamic_alpha_fn", [d, n + 1].into()),
        ("dynamic_beta_fn", [d].into()),
        ("dynamic_alpha_scale", [1].into()),
        ("dynamic_beta_scale", [1].into()),
    ];
    let parts = params.parts().zip(shapes);
    expect(op, parts.map(|(&var, (name, shape))| (name, var, shape)));
}

/// The shapes of h0, alpha, beta and the statistics.
fn read_shapes(slots: Slots, dims: Dims) -> [Shape; 4] {
    [
        slots.per_token([dims.d]),
        slots.per_token([dims.rate, dims.rate + 1]),
        slots.per_token([dims.rate]),
        [stats_len(dims)].into(),
    ]
}

/// Dynamic coefficients of the state `[.., n, d]` (Eq. 10 to 13): with `H̄ = norm(H)` per stream,
/// `alpha = s_alpha tanh(H̄ [W_m | W_r]) + [A_m | A_r]`, `beta = s_beta tanh(H̄ W_beta) + B`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn coefficients<'t>(state: Var<'t>, params: &Predictor<Var<'t>>) -> Coefficients<'t> {
    let [alpha, beta, _] = read_alone("coefficients", state, params);
    Coefficients { alpha, beta }
}

/// [`coefficients`] and the read `h0 = A_mᵀ H` of the state `[.., n, d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn read<'t>(state: Var<'t>, params: &Predictor<Var<'t>>) -> (Coefficients<'t>, Var<'t>) {
    let [hidden, alpha, beta, _] = read_alone("hyper_read", state, params);
    (Coefficients { alpha, beta }, hidden)
}

/// The last outputs of [`read_shapes`], all four where h0 is read, without a write before.
#[track_caller]
fn read_alone<'t, const OUT: usize>(
    name: &str,
    state: Var<'t>,
    params: &Predictor<Var<'t>>,
) -> [Var<'t>; OUT] {
    let (slots, dims) = dims_of(name, state);
    expect_predictor(name, dims, params);
    let shapes = read_shapes(slots, dims);
    let op = ReadOp {
        dims,
        form: params.form,
        writes: false,
        reads: OUT == shapes.len(),
    };
    let (inputs, count) = params.inputs(&[state]);
    let shapes = std::array::from_fn(|i| shapes[shapes.len() - OUT + i]);
    state.tape().apply(op, &inputs[..count], shapes)
}

/// The write of the last sublayer, then dynamic coefficients and read of the next: the
/// new state, its coefficients, and h0.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn write_then_read<'t>(
    state: Var<'t>,
    write: &PendingWrite<'t>,
    params: &Predictor<Var<'t>>,
) -> (Var<'t>, Coefficients<'t>, Var<'t>) {
    const OP: &str = "hyper_write_then_read";
    let (slots, dims, before) = written(OP, state, write);
    expect_predictor(OP, dims, params);
    let op = ReadOp {
        dims,
        form: params.form,
        writes: true,
        reads: true,
    };
    let (inputs, count) = params.inputs(&before);
    let [hidden, alpha, beta, stats] = read_shapes(slots, dims);
    let shapes = [state.shape(), hidden, alpha, beta, stats];
    let [next, hidden, alpha, beta, _] = state.tape().apply(op, &inputs[..count], shapes);
    (next, Coefficients { alpha, beta }, hidden)
}

struct WriteThenReadStatic(Dims);

impl Op for WriteThenReadStatic {
    fn name(&self) -> &'static str {
        "hyper_write_then_read_static"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs: [&[f32]; 5] = cx.inputs();
        let [next, hidden] = cx.outputs();
        kernels::write_then_read_static(self.0, &write_of(&inputs), inputs[4], next, hidden);
    }

    /// The backward of the write, after the read has completed the gradient of `H_next`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs: [&[f32]; 5] = cx.inputs();
        let [next, _] = cx.outputs();
        let (next_grad, hidden_grad) = (cx.output_grad(0), cx.output_grad(1));
        let (targets, to_alpha) = (write_grads(cx), cx.input_grad(4));
        let mut scratch = cx.pool.take(scratch_len(self.0));
        kernels::write_then_read_static_backward(
            self.0,
            &write_of(&inputs),
            next,
            inputs[4],
            next_grad,
            hidden_grad,
            targets,
            to_alpha,
            &mut scratch,
        );
        cx.pool.give(scratch);
    }
}

/// The write of the last sublayer and the read of the next with coefficients that all
/// tokens share: the new state, and h0.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn write_then_read_static<'t>(
    state: Var<'t>,
    write: &PendingWrite<'t>,
    next_alpha: Var<'t>,
) -> (Var<'t>, Var<'t>) {
    const OP: &str = "hyper_write_then_read_static";
    let (slots, dims, [_, alpha, beta, output]) = written(OP, state, write);
    let one = [dims.rate, dims.rate + 1].into();
    expect(OP, [("alpha", next_alpha, one)]);
    let inputs = [state, alpha, beta, output, next_alpha];
    let shapes = [state.shape(), slots.per_token([dims.d])];
    let op = WriteThenReadStatic(dims);
    let [next, hidden] = state.tape().apply(op, &inputs, shapes);
    (next, hidden)
}

struct WriteThenSum(Dims);

impl Op for WriteThenSum {
    fn name(&self) -> &'static str {
        "hyper_write_then_sum"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs: [&[f32]; WRITE_INPUTS] = cx.inputs();
        let [out] = cx.outputs();
        kernels::write_then_sum(self.0, &write_of(&inputs), out);
    }

    /// The backward of the write, every stream of `H_next` with the gradient of the sum.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs: [&[f32]; WRITE_INPUTS] = cx.inputs();
        let (grad, targets) = (cx.grad(), write_grads(cx));
        kernels::write_then_sum_backward(self.0, &write_of(&inputs), grad, targets);
    }
}

/// The write of the last sublayer and the sum of the streams, `[.., n, d]` to `[.., d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn write_then_sum<'t>(state: Var<'t>, write: &PendingWrite<'t>) -> Var<'t> {
    let (slots, dims, inputs) = written("hyper_write_then_sum", state, write);
    let shapes = [slots.per_token([dims.d])];
    let [out] = state.tape().apply(WriteThenSum(dims), &inputs, shapes);
    out
}
