//! Reading from and writing to a state of slots, on the tape.
//!
//! A sublayer with one read and one write vector per stream, as in hyper-connections, is
//! the case of one read; see [`kernels`](super::hyper::kernels::slots) for the formulas.

use super::hyper::kernels::slots::{
    SlotDims, SlotWriteGrads, WriteForm, read as read_kernel, read_backward, write as write_kernel,
    write_backward,
};
use engine::{
    op::{Backward, Forward, Op},
    shape::{MAX_RANK, Shape},
    tape::Var,
};
use std::fmt;

/// How a state is cut into slots, and what of it a sublayer sees.
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
}

struct Read {
    dims: SlotDims,
    columns: usize,
}

impl Op for Read {
    fn name(&self) -> &'static str {
        "slot_read"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [state, alpha] = cx.inputs();
        let [hidden] = cx.outputs();
        read_kernel(self.dims, self.columns, state, alpha, hidden);
    }

    /// `dH_i = sum_j alpha_{ij} dx_j`, `dalpha_{ij} = <H_i, dx_j>`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [state, alpha] = cx.inputs();
        let (state_grad, alpha_grad) = (cx.input_grad(0), cx.input_grad(1));
        read_backward(
            self.dims,
            self.columns,
            state,
            alpha,
            cx.grad(),
            state_grad,
            alpha_grad,
        );
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
    const OP: &str = "slot_read";
    let (dims, columns) = (slots.dims, alpha.shape().width());
    slots.expect(
        OP,
        "alpha",
        alpha,
        dims.slots * columns.max(dims.reads),
        format_args!("slots {}, at least reads = {}", dims.slots, dims.reads),
    );
    let output = [slots.per_token([dims.reads * dims.width])];
    let [hidden] = state
        .tape()
        .apply(Read { dims, columns }, &[state, alpha], output);
    hidden
}

/// Coefficients that an inspector has changed, with what a sublayer reads by them.
pub(super) struct Edited<'t> {
    /// `[A_m | A_r]`.
    pub alpha: Var<'t>,
    /// B.
    pub beta: Var<'t>,
    /// The sublayer's input.
    pub input: Var<'t>,
}

/// Offers the coefficients of a sublayer to an [editor](engine::tape::Tape::edited) as `alpha`
/// and `beta`, before they act; `None` if it changes neither.
pub(super) fn edited<'t>(
    slots: Slots,
    state: Var<'t>,
    alpha: Var<'t>,
    beta: Var<'t>,
) -> Option<Edited<'t>> {
    let tape = state.tape();
    let changed = (tape.edited("alpha", alpha), tape.edited("beta", beta));
    if let (None, None) = changed {
        return None;
    }
    let alpha = changed.0.unwrap_or(alpha);
    Some(Edited {
        alpha,
        beta: changed.1.unwrap_or(beta),
        input: read(slots, state, alpha),
    })
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
        let grads = SlotWriteGrads {
            state: cx.input_grad(0),
            alpha: cx.input_grad(1),
            beta: cx.input_grad(2),
            output: cx.input_grad(3),
        };
        write_backward(
            self.dims,
            self.form,
            state,
            alpha,
            beta,
            output,
            cx.grad(),
            grads,
        );
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
    alpha: Var<'t>,
    beta: Var<'t>,
    output: Var<'t>,
) -> Var<'t> {
    const OP: &str = "slot_write";
    let dims = slots.dims;
    let SlotDims {
        slots: n, reads, ..
    } = dims;
    slots.expect(
        OP,
        "alpha",
        alpha,
        n * (reads + n),
        format_args!("slots {n}, reads + slots = {}", reads + n),
    );
    slots.expect(
        OP,
        "beta",
        beta,
        dims.beta_len(form),
        format_args!("{} of slots {n}, reads {reads}", dims.beta_len(form)),
    );
    if output.shape().len() != dims.hidden_len() {
        output.tape().fail(
            OP,
            format_args!(
                "the output is {}, expected [rows {}, reads * width = {}]",
                output.shape(),
                dims.rows,
                reads * dims.width
            ),
        );
    }
    let inputs = [state, alpha, beta, output];
    let [next] = state
        .tape()
        .apply(Write { dims, form }, &inputs, [state.shape()]);
    next
}
