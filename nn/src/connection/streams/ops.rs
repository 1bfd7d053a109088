//! Reading from and writing to a state of slots, on the tape.
//!
//! A sublayer with one read and one write vector per stream, as in hyper-connections, is
//! the case of one read; see [`slots`](super::slots) for the formulas.

use super::slots::{
    Columns, SlotDims, WriteForm, add_output, add_output_backward, mix, mix_backward,
    write as write_kernel,
};
use crate::hooks;
use engine::{
    op::{Backward, Forward, Grad, Op},
    shape::{MAX_RANK, Shape},
    tape::Var,
};
use std::fmt;

/// The coefficients of one connection, per token or for all.
#[derive(Clone, Copy, Debug)]
pub struct Coefficients<'t> {
    /// `[A_m | A_r]`: `[.., n, n + 1]`, or `[n, n + 1]` for all tokens.
    pub alpha: Var<'t>,
    /// `B`: `[.., n]`, or `[n]` for all tokens.
    pub beta: Var<'t>,
}

impl Coefficients<'_> {
    /// Shows the state that the coefficients act on, and themselves, to an inspector.
    pub(in crate::connection) fn show(self, hidden: Var<'_>) {
        let tape = hidden.tape();
        tape.probe(hooks::HIDDEN, hidden);
        tape.probe(hooks::ALPHA, self.alpha);
        tape.probe(hooks::BETA, self.beta);
    }
}

/// A state's division into slots, and what of it a sublayer sees.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    dims: SlotDims,
    /// The dimensions before those of the slots.
    outer: Shape,
}

impl Slots {
    /// The state `[.., slots, width]`, of which a sublayer sees `reads` mixtures.
    ///
    /// # Panics
    /// If the state has fewer than two dimensions.
    #[track_caller]
    pub fn of_streams(op: &str, state: Var<'_>, reads: usize) -> Self {
        let shape = state.shape();
        let &[ref outer @ .., slots, width] = shape.dims() else {
            state.tape().fail(
                op,
                format_args!("the state is {shape}, expected [.., slots, width]"),
            );
        };
        Self::new(outer, slots, reads, width)
    }

    /// The state `[.., dim]` cut into `slots` pieces, of which a sublayer sees `reads`
    /// mixtures.
    ///
    /// # Panics
    /// If they do not divide it.
    #[track_caller]
    pub fn of_fractions(op: &str, state: Var<'_>, slots: usize, reads: usize) -> Self {
        let shape = state.shape();
        match shape.dims() {
            &[ref outer @ .., dim] if slots > 0 && dim.is_multiple_of(slots) => {
                Self::new(outer, slots, reads, dim / slots)
            }
            _ => state.tape().fail(
                op,
                format_args!("the state is {shape}, expected [.., a multiple of {slots}]"),
            ),
        }
    }

    fn new(outer: &[usize], slots: usize, reads: usize, width: usize) -> Self {
        let rows = outer.iter().product();
        Self {
            dims: SlotDims {
                rows,
                slots,
                reads,
                width,
            },
            outer: Shape::new(outer),
        }
    }

    /// The sizes.
    pub fn dims(&self) -> SlotDims {
        self.dims
    }

    /// The shape of a value per token.
    #[track_caller]
    pub fn per_token<const N: usize>(&self, tail: [usize; N]) -> Shape {
        let outer = self.outer.dims();
        let mut dims = [0; MAX_RANK];
        dims[..outer.len()].copy_from_slice(outer);
        dims[outer.len()..outer.len() + N].copy_from_slice(&tail);
        Shape::new(&dims[..outer.len() + N])
    }

    #[track_caller]
    fn expect(&self, op: &str, name: &str, var: Var<'_>, one: usize, shape: fmt::Arguments<'_>) {
        let len = var.shape().len();
        if len != one && len != self.dims.rows * one {
            var.tape().fail(
                op,
                format_args!(
                    "{name} is {}, expected [rows {}, {shape}] or [{shape}]",
                    var.shape(),
                    self.dims.rows
                ),
            );
        }
    }

    /// Fails unless `alpha` is `[slots, reads + slots]`, per token or for all.
    #[track_caller]
    pub(in crate::connection) fn expect_alpha(&self, op: &str, alpha: Var<'_>) {
        let (n, columns) = (self.dims.slots, self.dims.reads + self.dims.slots);
        let shape = format_args!("slots {n}, reads + slots = {columns}");
        self.expect(op, "alpha", alpha, n * columns, shape);
    }

    /// Fails unless `beta`, per token or for all, and the sublayer's output fit.
    #[track_caller]
    pub(in crate::connection) fn expect_write(
        &self,
        op: &str,
        form: WriteForm,
        beta: Var<'_>,
        output: Var<'_>,
    ) {
        let (n, reads, width) = (self.dims.slots, self.dims.reads, self.dims.width);
        let one = self.dims.beta_len(form);
        let shape = format_args!("{one} of slots {n}, reads {reads}");
        self.expect(op, "beta", beta, one, shape);
        if output.shape().len() != self.dims.hidden_len() {
            output.tape().fail(
                op,
                format_args!(
                    "the output is {}, expected [rows {}, reads * width = {}]",
                    output.shape(),
                    self.dims.rows,
                    reads * width
                ),
            );
        }
    }
}

/// A gradient of which another part comes later.
fn in_parts<'g>(grad: &'g mut Option<Grad<'_>>) -> Option<Grad<'g>> {
    grad.as_mut().map(|grad| {
        let accumulate = std::mem::replace(&mut grad.accumulate, true);
        Grad {
            values: grad.values,
            accumulate,
        }
    })
}

/// Mixtures of the slots: the read alone, or the read and the mix.
struct Mix {
    dims: SlotDims,
    /// Columns of `alpha`.
    columns: usize,
    carries: bool,
}

impl Mix {
    /// The columns of `alpha` that make each output.
    fn outputs(&self) -> impl Iterator<Item = Columns> {
        let carrying = self.carries.then(|| self.dims.carrying());
        std::iter::once(self.dims.reading(self.columns)).chain(carrying)
    }
}

impl Op for Mix {
    fn name(&self) -> &'static str {
        match self.carries {
            true => "width_connection",
            false => "slot_read",
        }
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [state, alpha] = cx.inputs();
        let outputs: [&mut [f32]; 2] = cx.outputs();
        for (columns, output) in self.outputs().zip(outputs) {
            mix(self.dims, columns, state, alpha, output);
        }
    }

    /// `dH_i = sum_j alpha_{ij} dx_j`, `dalpha_{ij} = <H_i, dx_j>` over the columns of all
    /// outputs.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [state, alpha] = cx.inputs();
        let [mut to_state, mut to_alpha] = [0, 1].map(|i| cx.input_grad(i));
        for (i, columns) in self.outputs().enumerate() {
            if let Some(grad) = cx.output_grad(i) {
                let (to_state, to_alpha) = (in_parts(&mut to_state), in_parts(&mut to_alpha));
                mix_backward(self.dims, columns, state, alpha, grad, to_state, to_alpha);
            }
        }
    }
}

/// The sublayer's input: chunk j is `sum_i alpha_{ij} H_i`. `alpha` `[.., slots,
/// columns]`, per token or for all, has at least as many columns as there are reads; the
/// result is `[.., reads * width]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn read<'t>(slots: Slots, state: Var<'t>, alpha: Var<'t>) -> Var<'t> {
    let (dims, columns) = (slots.dims, alpha.shape().width());
    slots.expect(
        "slot_read",
        "alpha",
        alpha,
        dims.slots * columns.max(dims.reads),
        format_args!("slots {}, at least reads = {}", dims.slots, dims.reads),
    );
    let output = [slots.per_token([dims.reads * dims.width])];
    let op = Mix {
        dims,
        columns,
        carries: false,
    };
    let [hidden] = state.tape().apply(op, &[state, alpha], output);
    hidden
}

/// The read `h0 = A_mᵀ H` of the state `[.., n, d]` by `alpha` `[.., n, n + 1]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn read_stream<'t>(state: Var<'t>, alpha: Var<'t>) -> Var<'t> {
    read(Slots::of_streams("slot_read", state, 1), state, alpha)
}

struct Write {
    dims: SlotDims,
    form: WriteForm,
}

impl Op for Write {
    fn name(&self) -> &'static str {
        "slot_write"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [state, alpha, beta, output] = cx.inputs();
        let [next] = cx.outputs();
        write_kernel(self.dims, self.form, state, alpha, beta, output, next);
    }

    /// `dH_i = sum_j alpha_{i,r+j} dĤ_j`, `dalpha_{i,r+j} = <H_i, dĤ_j>`, `dbeta_{ji} =
    /// <o_i, dĤ_j>`, `do_i = sum_j beta_{ji} dĤ_j`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [state, alpha, beta, output] = cx.inputs();
        let [to_state, to_alpha, to_beta, to_output] = [0, 1, 2, 3].map(|i| cx.input_grad(i));
        let (dims, grad) = (self.dims, cx.grad());
        mix_backward(
            dims,
            dims.carrying(),
            state,
            alpha,
            grad,
            to_state,
            to_alpha,
        );
        add_output_backward(dims, self.form, beta, output, grad, to_beta, to_output);
    }
}

/// The next state: slot j is `sum_i alpha_{i,r+j} H_i + sum_i beta_{ji} o_i`, or
/// `... + beta_j o_j` in the diagonal form. `alpha` `[.., slots, reads + slots]` and `beta`
/// come per token or for all.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn write<'t>(
    slots: Slots,
    form: WriteForm,
    state: Var<'t>,
    Coefficients { alpha, beta }: Coefficients<'t>,
    output: Var<'t>,
) -> Var<'t> {
    const OP: &str = "slot_write";
    let dims = slots.dims;
    slots.expect_alpha(OP, alpha);
    slots.expect_write(OP, form, beta, output);
    let inputs = [state, alpha, beta, output];
    let op = Write { dims, form };
    let [next] = state.tape().apply(op, &inputs, [state.shape()]);
    next
}

/// The read and the carried streams, `(h0 | H') = WCᵀ H` (Eq. 3, 4, 7 of hyper-connections):
/// the state `[.., n, d]`, alpha `[.., n, n + 1]` per token or `[n, n + 1]` for all, h0 `[.., d]`,
/// H' `[.., n, d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn width_connection<'t>(state: Var<'t>, alpha: Var<'t>) -> (Var<'t>, Var<'t>) {
    const OP: &str = "width_connection";
    let slots = Slots::of_streams(OP, state, 1);
    slots.expect_alpha(OP, alpha);
    let shapes = [slots.per_token([slots.dims.width]), state.shape()];
    let op = Mix {
        dims: slots.dims,
        columns: 1 + slots.dims.slots,
        carries: true,
    };
    let [hidden, mixed] = state.tape().apply(op, &[state, alpha], shapes);
    (hidden, mixed)
}

struct DepthConnection(SlotDims);

impl Op for DepthConnection {
    fn name(&self) -> &'static str {
        "depth_connection"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [mixed, beta, output] = cx.inputs();
        let [next] = cx.outputs();
        next.copy_from_slice(mixed);
        add_output(self.0, WriteForm::Full, beta, output, next);
    }

    /// `dH'_j = dĤ_j`, `dbeta_j = <o, dĤ_j>`, `do = sum_j beta_j dĤ_j`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, beta, output] = cx.inputs();
        let (grad, to_beta, to_output) = (cx.grad(), cx.input_grad(1), cx.input_grad(2));
        add_output_backward(
            self.0,
            WriteForm::Full,
            beta,
            output,
            grad,
            to_beta,
            to_output,
        );
        cx.pass_grad(0);
    }
}

/// The next state, `Ĥ = Bᵀ (T h0)ᵀ + H'` (Eq. 5, 6 of hyper-connections): H' `[.., n, d]`, beta
/// `[.., n]` per token or `[n]` for all, the sublayer's output `[.., d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn depth_connection<'t>(mixed: Var<'t>, beta: Var<'t>, output: Var<'t>) -> Var<'t> {
    const OP: &str = "depth_connection";
    let slots = Slots::of_streams(OP, mixed, 1);
    slots.expect_write(OP, WriteForm::Full, beta, output);
    let (op, shape) = (DepthConnection(slots.dims), mixed.shape());
    let [next] = mixed.tape().apply(op, &[mixed, beta, output], [shape]);
    next
}
