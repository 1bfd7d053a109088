//! The backward passes of the fused kernels: one pass over the state, by blocks of rows
//! that stay in the cache.

use super::forward::{Write, WriteRows, carried};
use super::memory::{BlockGrad, Gradients, Saved, Sums};
use super::predictor::{Folded, expect_parts};
use super::rows::{Inflow, collect, prefetch_row};
use super::{Dims, Grad, block_rows, by_rate, fixed, take};
use crate::connection::streams::{
    PerRow, PerRowGrad, grad_len,
    predictor::Predictor,
    rows::{NO_EXTRA, add, combine, contract},
};

/// Up to this many streams the processor foresees by itself which memory comes next;
/// above it, prefetching saves a tenth (rate 4) to a third (rate 8) of the time.
const FORESEEN: usize = 2;

/// Where the gradients of [`Write`] go; each may be absent.
///
/// ```text
/// dH[i]            = sum_j alpha[i, j + 1] dH_next[j]
/// dalpha[i, j + 1] = <H[i], dH_next[j]>
/// dbeta[j]         = <output, dH_next[j]>
/// doutput          = sum_j beta[j] dH_next[j]
/// ```
///
/// The gradient of `alpha` has zeros in column 0: the read of the sublayer that is being
/// written belongs to an earlier call.
#[derive(Debug, Default)]
pub struct WriteGrads<'a> {
    /// `[rows, rate, d]`.
    pub state: Option<Grad<'a>>,
    /// In the shape of `alpha`; shared coefficients get the sum over the rows.
    pub alpha: Option<Grad<'a>>,
    /// In the shape of `beta`.
    pub beta: Option<Grad<'a>>,
    /// `[rows, d]`.
    pub output: Option<Grad<'a>>,
}

/// Gradients that arrive from later; `None` stands for zeros.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadInflow<'a> {
    /// The gradient of the read `h0`, `[rows, d]`.
    pub hidden: Option<&'a [f32]>,
    /// The gradient of the coefficients, `[rows, rate, rate + 1]`, from their other uses.
    pub alpha: Option<&'a [f32]>,
    /// Likewise, `[rows, rate]`.
    pub beta: Option<&'a [f32]>,
}

/// [`WriteGrads`] with the lengths checked.
struct WriteTargets<'a> {
    state: Option<Grad<'a>>,
    alpha: Option<PerRowGrad<'a>>,
    beta: Option<PerRowGrad<'a>>,
    output: Option<Grad<'a>>,
}

impl<'a> WriteTargets<'a> {
    #[track_caller]
    fn new(op: &str, dims: Dims, write: &Write, grads: WriteGrads<'a>) -> Self {
        dims.expect_state(op, "the gradient of state", grad_len(&grads.state));
        dims.expect_hidden(op, "the gradient of output", grad_len(&grads.output));
        let (rows, alpha, beta) = (dims.rows, dims.alpha(), dims.beta());
        Self {
            state: grads.state,
            alpha: PerRowGrad::new(op, "alpha", grads.alpha, write.alpha, rows, &alpha),
            beta: PerRowGrad::new(op, "beta", grads.beta, write.beta, rows, &beta),
            output: grads.output,
        }
    }

    fn any(&self) -> bool {
        self.state.is_some() || self.alpha.is_some() || self.beta.is_some() || self.output.is_some()
    }

    /// From the gradient of one row of the next state.
    #[inline(always)]
    fn row<const K: usize, const T: usize, const Q: usize>(
        &mut self,
        n: usize,
        d: usize,
        row: usize,
        write: &WriteRows,
        next_grad: &[f32],
    ) {
        if let Some(grad) = &mut self.alpha {
            let slot = grad.row(row);
            contract::<Q, Q>(d, write.streams(n, d, row), next_grad, |i, j, products| {
                add(&mut slot[i * (n + 1) + j + 1..], products);
            });
        }
        if let Some(grad) = &mut self.beta {
            let slot = grad.row(row);
            contract::<1, Q>(d, write.output(d, row), next_grad, |_, j, products| {
                add(&mut slot[j..], products);
            });
        }
        if let Some(grad) = &mut self.state {
            let (alpha, accumulate) = (write.alpha.row(row), grad.accumulate);
            let out = &mut grad.values[row * n * d..][..n * d];
            let carry = |j: usize, i: usize| alpha[i * (n + 1) + j + 1];
            combine::<K, T>(d, out, next_grad, carry, NO_EXTRA, accumulate);
        }
        if let Some(grad) = &mut self.output {
            let (beta, accumulate) = (write.beta.row(row), grad.accumulate);
            let out = &mut grad.values[row * d..][..d];
            combine::<K, 1>(d, out, next_grad, |j, _| beta[j], NO_EXTRA, accumulate);
        }
    }
}

/// The state that was read, and what arrives at it and at what was made of it.
struct ReadRows<'a> {
    saved: Saved<'a>,
    alpha: &'a [f32],
    hidden_grad: Option<&'a [f32]>,
    state_grad: Option<&'a [f32]>,
}

impl<'a> ReadRows<'a> {
    #[track_caller]
    fn new(
        op: &str,
        dims: Dims,
        state: &'a [f32],
        state_grad: Option<&'a [f32]>,
        alpha: &'a [f32],
        stats: &'a [f32],
        inflow: ReadInflow<'a>,
    ) -> Self {
        let slice_len = |slice: Option<&[f32]>| slice.map(<[f32]>::len);
        dims.expect_alpha(op, "alpha", alpha.len());
        dims.expect_hidden(op, "the gradient of hidden", slice_len(inflow.hidden));
        dims.expect_state(op, "the gradient of next", slice_len(state_grad));
        Self {
            saved: Saved::new(op, dims, state, stats, inflow.alpha, inflow.beta),
            alpha,
            hidden_grad: inflow.hidden,
            state_grad,
        }
    }
}

/// Where the gradient of the state that was read goes.
#[derive(Debug)]
pub enum StateGradient<'a> {
    /// The state was an input.
    Input(Option<Grad<'a>>),
    /// The state was written first: back through the write. The slice is the gradient that the
    /// written state has from its other uses, that is, from the next write.
    Write(Write<'a>, WriteGrads<'a>, Option<&'a [f32]>),
}

/// [`StateGradient`] with the lengths checked.
enum Sink<'a> {
    Input(Option<Grad<'a>>),
    Write(WriteRows<'a>, WriteTargets<'a>),
}

/// The backward of [`read()`](super::read()), in one pass. `state`, `alpha` and `stats` are
/// what it read and computed.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn read_backward(
    dims: Dims,
    state: &[f32],
    dynamic: &Predictor<&[f32]>,
    alpha: &[f32],
    stats: &[f32],
    inflow: ReadInflow,
    state_gradient: StateGradient,
    grads: Predictor<Option<Grad>>,
    scratch: &mut [f32],
) {
    const OP: &str = "hyper_read_backward";
    let (sink, later) = match state_gradient {
        StateGradient::Input(grad) => {
            dims.expect_state(OP, "the gradient of state", grad_len(&grad));
            (Sink::Input(grad), None)
        }
        StateGradient::Write(write, grads, later) => {
            let rows = WriteRows::new(OP, dims, &write);
            let targets = WriteTargets::new(OP, dims, &write, grads);
            (Sink::Write(rows, targets), later)
        }
    };
    let read = ReadRows::new(OP, dims, state, later, alpha, stats, inflow);
    expect_parts(OP, dims, "", dynamic, |part| Some(part.len()));
    expect_parts(OP, dims, "the gradient of ", &grads, grad_len);
    dims.expect_scratch(OP, scratch.len());
    by_rate!(
        dims.rate,
        read_rows(dims, dynamic, read, sink, grads, scratch)
    );
}

fn read_rows<const K: usize, const T: usize, const Q: usize, const C: usize>(
    dims: Dims,
    dynamic: &Predictor<&[f32]>,
    read: ReadRows,
    mut sink: Sink,
    grads: Gradients,
    mut scratch: &mut [f32],
) {
    let (n, d) = (fixed::<C>(dims.rate), dims.d);
    let predictor = Folded::<C>::new(dims, dynamic, &mut scratch);
    let mut sums = Sums::new(dims, &grads, &mut scratch);
    let mut block = BlockGrad::new(dims, &mut scratch);
    let read_grad = take(&mut scratch, block_rows(n) * n);
    let total = take(&mut scratch, n * d);
    for first in (0..dims.rows).step_by(block_rows(n)) {
        let last = dims.rows.min(first + block_rows(n));
        if let Some(hidden) = read.hidden_grad {
            for r in first..last {
                let streams = &read.saved.state[r * n * d..][..n * d];
                let grad = &mut read_grad[(r - first) * n..][..n];
                contract::<1, Q>(d, &hidden[r * d..][..d], streams, |_, i, products| {
                    grad[i..i + Q].copy_from_slice(&products);
                });
            }
        }
        let read_grad = read.hidden_grad.map(|_| &*read_grad);
        predictor.backward(&read.saved, first, read_grad, &mut sums, &mut block);
        for r in first..last {
            if let Sink::Write(write, targets) = &sink
                && targets.any()
                && n > FORESEEN
            {
                prefetch_row(write.state, n * d, r + 1);
                if let Some(grad) = read.state_grad {
                    prefetch_row(grad, n * d, r + 1);
                }
            }
            let inflow = Inflow {
                state: read.state_grad.map(|grad| &grad[r * n * d..][..n * d]),
                hidden: read.hidden_grad.map(|grad| {
                    let alpha = &read.alpha[r * n * (n + 1)..][..n * (n + 1)];
                    (&grad[r * d..][..d], alpha)
                }),
                predicted: Some(predictor.predicted(&read.saved, &block, first, r)),
            };
            match &mut sink {
                Sink::Input(Some(grad)) => {
                    let out = &mut grad.values[r * n * d..][..n * d];
                    collect::<C, T>(d, n, out, inflow, grad.accumulate);
                }
                Sink::Write(write, targets) if targets.any() => {
                    collect::<C, T>(d, n, total, inflow, false);
                    targets.row::<K, T, Q>(n, d, r, write, total);
                }
                Sink::Input(None) | Sink::Write(..) => {}
            }
        }
    }
    predictor.finish(dynamic, &mut sums, grads);
}

/// The backward of [`write_then_read_static()`](super::write_then_read_static()). The
/// gradient of `next_alpha`, in its shape, has zeros outside of column 0.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn write_then_read_static_backward(
    dims: Dims,
    write: &Write,
    next: &[f32],
    next_alpha: &[f32],
    next_grad: Option<&[f32]>,
    hidden_grad: Option<&[f32]>,
    write_grads: WriteGrads,
    next_alpha_grad: Option<Grad>,
    scratch: &mut [f32],
) {
    const OP: &str = "write_then_read_static_backward";
    let rows = WriteRows::new(OP, dims, write);
    let targets = WriteTargets::new(OP, dims, write, write_grads);
    dims.expect_state(OP, "next", next.len());
    dims.expect_state(OP, "the gradient of next", next_grad.map(<[f32]>::len));
    dims.expect_hidden(OP, "the gradient of hidden", hidden_grad.map(<[f32]>::len));
    let (count, shape) = (dims.rows, dims.alpha());
    let to_alpha = PerRowGrad::new(OP, "next_alpha", next_alpha_grad, next_alpha, count, &shape);
    let alpha = PerRow::new(OP, "next_alpha", next_alpha, count, &shape);
    dims.expect_scratch(OP, scratch.len());
    let (inflow, targets) = ((next_grad, hidden_grad), (targets, to_alpha));
    by_rate!(
        dims.rate,
        read_static_rows(dims, rows, next, alpha, inflow, targets, scratch)
    );
}

fn read_static_rows<const K: usize, const T: usize, const Q: usize, const C: usize>(
    dims: Dims,
    write: WriteRows,
    next: &[f32],
    alpha: PerRow,
    (next_grad, hidden_grad): (Option<&[f32]>, Option<&[f32]>),
    (mut targets, mut alpha_grad): (WriteTargets, Option<PerRowGrad>),
    mut scratch: &mut [f32],
) {
    let (n, d) = (fixed::<C>(dims.rate), dims.d);
    let total = take(&mut scratch, n * d);
    for (r, streams) in next.chunks_exact(n * d).enumerate() {
        if n > FORESEEN {
            prefetch_row(next, n * d, r + 1);
            prefetch_row(write.state, n * d, r + 1);
            if let Some(grad) = next_grad {
                prefetch_row(grad, n * d, r + 1);
            }
        }
        let hidden = hidden_grad.map(|grad| &grad[r * d..][..d]);
        if let Some(grad) = &mut alpha_grad {
            let slot = grad.row(r);
            if let Some(hidden) = hidden {
                contract::<Q, 1>(d, streams, hidden, |i, _, products| {
                    add(&mut slot[i * (n + 1)..], products);
                });
            }
        }
        if targets.any() {
            let inflow = Inflow {
                state: next_grad.map(|grad| &grad[r * n * d..][..n * d]),
                hidden: hidden.map(|hidden| (hidden, alpha.row(r))),
                predicted: None,
            };
            collect::<C, T>(d, n, total, inflow, false);
            targets.row::<K, T, Q>(n, d, r, &write, total);
        }
    }
}

/// The backward of [`write_then_sum()`](super::write_then_sum()); every stream has the
/// gradient `out_grad` `[rows, d]`.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn write_then_sum_backward(dims: Dims, write: &Write, out_grad: &[f32], grads: WriteGrads) {
    const OP: &str = "write_then_sum_backward";
    let rows = WriteRows::new(OP, dims, write);
    let targets = WriteTargets::new(OP, dims, write, grads);
    dims.expect_hidden(OP, "the gradient of out", out_grad.len());
    by_rate!(dims.rate, sum_rows(dims, rows, out_grad, targets));
}

fn sum_rows<const K: usize, const T: usize, const Q: usize, const C: usize>(
    dims: Dims,
    write: WriteRows,
    out_grad: &[f32],
    mut targets: WriteTargets,
) {
    let (n, d) = (fixed::<C>(dims.rate), dims.d);
    for (r, out_grad) in out_grad.chunks_exact(d).enumerate() {
        let (alpha, beta) = (write.alpha.row(r), write.beta.row(r));
        if let Some(grad) = &mut targets.alpha {
            let slot = grad.row(r);
            contract::<Q, 1>(d, write.streams(n, d, r), out_grad, |i, _, [sum]| {
                for value in &mut slot[i * (n + 1) + 1..][..n] {
                    *value += sum;
                }
            });
        }
        if let Some(grad) = &mut targets.beta {
            let slot = grad.row(r);
            contract::<1, 1>(d, write.output(d, r), out_grad, |_, _, [sum]| {
                for value in &mut *slot {
                    *value += sum;
                }
            });
        }
        if let Some(grad) = &mut targets.state {
            let out = &mut grad.values[r * n * d..][..n * d];
            let weight = |_, i: usize| carried(n, alpha, i);
            combine::<1, T>(d, out, out_grad, weight, NO_EXTRA, grad.accumulate);
        }
        if let Some(grad) = &mut targets.output {
            let out = &mut grad.values[r * d..][..d];
            let weight = |_, _| beta.iter().sum();
            combine::<1, 1>(d, out, out_grad, weight, NO_EXTRA, grad.accumulate);
        }
    }
}
