//! Read, mix and write of states of slots: plain functions over slices.
//!
//! The state `[rows, slots, width]` holds n slots; the sublayer's input and output
//! `[rows, reads, width]` consist of r chunks. With the source in the row and the
//! destination in the column, as everywhere:
//!
//! - `alpha` `[slots, columns]`: columns `0..r` read, `x_j = sum_i alpha[i, j] H_i`; the
//!   following n carry, `H'_j = sum_i alpha[i, r + j] H_i`;
//! - `beta` writes chunk i of the output `o` to slot j with `beta[j, i]`, or, where it is
//!   diagonal, chunk j to slot j alone with `beta[j]`.
//!
//! Hyper-connections are the case r = 1, frac-connections r = n with a diagonal `beta`,
//! generalised ones (virtual width) any r. `alpha` and `beta` come per row or shared by all
//! rows; their length tells which, and the gradient of a shared one is the sum over the rows.

use super::rows::{Chunk as _, NO_EXTRA, Tail, Whole, add, combine, contract, for_chunks};
use super::{Axis, PerRow, PerRowGrad, expect_len, grad_len};
use engine::op::Grad;
use engine::simd::{
    dot,
    register::{LANES, Register},
};

/// The sizes of a state and of what a sublayer sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotDims {
    /// Tokens.
    pub rows: usize,
    /// Slots per token, n.
    pub slots: usize,
    /// Chunks that the sublayer reads and writes, r.
    pub reads: usize,
    /// Numbers per slot and chunk.
    pub width: usize,
}

/// Which chunks of the output a slot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteForm {
    /// All of them: `beta` is `[slots, reads]`.
    Full,
    /// Slot j takes chunk j: `beta` is `[slots]`, and there are as many reads as slots.
    Diagonal,
}

/// Columns of `alpha` that make mixtures: `count` of them from `first`, of `all`.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// The column of the first mixture.
    pub first: usize,
    /// Number of mixtures.
    pub count: usize,
    /// Number of columns of `alpha`.
    pub all: usize,
}

impl SlotDims {
    /// Elements of the state.
    pub fn state_len(self) -> usize {
        self.rows * self.slots * self.width
    }

    /// Elements of the sublayer's input.
    pub fn hidden_len(self) -> usize {
        self.rows * self.reads * self.width
    }

    /// Elements of one `beta`.
    pub fn beta_len(self, form: WriteForm) -> usize {
        match form {
            WriteForm::Full => self.slots * self.reads,
            WriteForm::Diagonal => self.slots,
        }
    }

    /// The columns that read, of an `alpha` with `all` of them.
    pub fn reading(self, all: usize) -> Columns {
        let count = self.reads;
        Columns {
            first: 0,
            count,
            all,
        }
    }

    /// The columns that carry, after those that read.
    pub fn carrying(self) -> Columns {
        Columns {
            first: self.reads,
            count: self.slots,
            all: self.reads + self.slots,
        }
    }

    #[track_caller]
    fn expect(self, op: &str, name: &str, len: impl Into<Option<usize>>, chunks: usize) {
        let shape = [
            ("rows", self.rows),
            ("chunks", chunks),
            ("width", self.width),
        ];
        expect_len(op, name, len, &shape);
    }

    fn alpha_shape(self, columns: Columns) -> [Axis; 2] {
        [("slots", self.slots), ("columns", columns.all)]
    }

    fn beta_shape(self, form: WriteForm) -> [Axis; 2] {
        match form {
            WriteForm::Full => [("slots", self.slots), ("reads", self.reads)],
            WriteForm::Diagonal => [("slots", self.slots), ("diagonal", 1)],
        }
    }

    /// Where one row of `chunks` chunks lies.
    fn row(self, row: usize, chunks: usize) -> std::ops::Range<usize> {
        let len = chunks * self.width;
        row * len..(row + 1) * len
    }
}

/// Calls a kernel compiled for tiles of `N` slots and `T` other chunks.
macro_rules! by_tiles {
    ($slots:expr, $chunks:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match (tile($slots), tile($chunks)) {
            (4, 4) => $kernel::<4, 4>($($argument),*),
            (4, 1) => $kernel::<4, 1>($($argument),*),
            (2 | 4, 2 | 4) => $kernel::<2, 2>($($argument),*),
            (2, _) => $kernel::<2, 1>($($argument),*),
            (_, _) => $kernel::<1, 1>($($argument),*),
        }
    };
}

/// Number of slots or chunks treated at once.
fn tile(count: usize) -> usize {
    match count {
        _ if count.is_multiple_of(4) => 4,
        _ if count.is_multiple_of(2) => 2,
        _ => 1,
    }
}

/// The mixtures `x_j = sum_i alpha[i, first + j] H_i`, `[rows, count, width]`.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn mix(dims: SlotDims, columns: Columns, state: &[f32], alpha: &[f32], mixtures: &mut [f32]) {
    const OP: &str = "slot_mix";
    dims.expect(OP, "state", state.len(), dims.slots);
    dims.expect(OP, "mixtures", mixtures.len(), columns.count);
    let alpha = PerRow::new(OP, "alpha", alpha, dims.rows, &dims.alpha_shape(columns));
    by_tiles!(
        dims.slots,
        columns.count,
        mix_rows(dims, columns, state, alpha, mixtures)
    );
}

fn mix_rows<const N: usize, const T: usize>(
    dims: SlotDims,
    columns: Columns,
    state: &[f32],
    alpha: PerRow,
    mixtures: &mut [f32],
) {
    for row in 0..dims.rows {
        let alpha = alpha.row(row);
        let weight = |i: usize, j: usize| alpha[i * columns.all + columns.first + j];
        let out = &mut mixtures[dims.row(row, columns.count)];
        let state = &state[dims.row(row, dims.slots)];
        combine::<N, T>(dims.width, out, state, weight, NO_EXTRA, false);
    }
}

/// The backward of [`mix`]: `dH_i = sum_j alpha[i, first + j] dx_j`, `dalpha[i, first + j] =
/// <H_i, dx_j>`, zero in the other columns.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn mix_backward(
    dims: SlotDims,
    columns: Columns,
    state: &[f32],
    alpha: &[f32],
    mixtures_grad: &[f32],
    state_grad: Option<Grad>,
    alpha_grad: Option<Grad>,
) {
    const OP: &str = "slot_mix_backward";
    dims.expect(
        OP,
        "the gradient of the mixtures",
        mixtures_grad.len(),
        columns.count,
    );
    dims.expect(OP, "state", state.len(), dims.slots);
    let len = grad_len(&state_grad);
    dims.expect(OP, "the gradient of state", len, dims.slots);
    let shape = dims.alpha_shape(columns);
    let alpha_grad = PerRowGrad::new(OP, "alpha", alpha_grad, alpha, dims.rows, &shape);
    let alpha = PerRow::new(OP, "alpha", alpha, dims.rows, &shape);
    let grads = (state_grad, alpha_grad);
    by_tiles!(
        dims.slots,
        columns.count,
        mix_rows_backward(dims, columns, state, alpha, mixtures_grad, grads)
    );
}

fn mix_rows_backward<const N: usize, const T: usize>(
    dims: SlotDims,
    Columns { first, count, all }: Columns,
    state: &[f32],
    alpha: PerRow,
    mixtures_grad: &[f32],
    (mut state_grad, mut alpha_grad): (Option<Grad>, Option<PerRowGrad>),
) {
    for row in 0..dims.rows {
        let grad = &mixtures_grad[dims.row(row, count)];
        if let Some(to) = &mut state_grad {
            let (alpha, accumulate) = (alpha.row(row), to.accumulate);
            let back = |j: usize, i: usize| alpha[i * all + first + j];
            let out = &mut to.values[dims.row(row, dims.slots)];
            combine::<T, N>(dims.width, out, grad, back, NO_EXTRA, accumulate);
        }
        if let Some(to) = &mut alpha_grad {
            let out = to.row(row);
            let state = &state[dims.row(row, dims.slots)];
            contract::<N, T>(dims.width, state, grad, |i, j, products| {
                add(&mut out[i * all + first + j..], products);
            });
        }
    }
}

/// Adds the output to the slots, `next_j += sum_i beta[j, i] o_i`, or `beta[j] o_j` where it is
/// diagonal.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn add_output(dims: SlotDims, form: WriteForm, beta: &[f32], output: &[f32], next: &mut [f32]) {
    const OP: &str = "slot_add_output";
    dims.expect(OP, "next", next.len(), dims.slots);
    dims.expect(OP, "output", output.len(), dims.reads);
    let beta = PerRow::new(OP, "beta", beta, dims.rows, &dims.beta_shape(form));
    by_tiles!(
        dims.slots,
        dims.reads,
        add_output_rows(dims, form, beta, output, next)
    );
}

fn add_output_rows<const N: usize, const R: usize>(
    dims: SlotDims,
    form: WriteForm,
    beta: PerRow,
    output: &[f32],
    next: &mut [f32],
) {
    for row in 0..dims.rows {
        let beta = beta.row(row);
        let next = &mut next[dims.row(row, dims.slots)];
        let output = &output[dims.row(row, dims.reads)];
        match form {
            WriteForm::Full => {
                let write = |i: usize, j: usize| beta[j * dims.reads + i];
                combine::<R, N>(dims.width, next, output, write, NO_EXTRA, true);
            }
            WriteForm::Diagonal => scale_chunks(dims.width, next, output, beta, true),
        }
    }
}

/// `out[j] (+)= beta[j] x[j]` for every chunk j.
fn scale_chunks(width: usize, out: &mut [f32], x: &[f32], beta: &[f32], accumulate: bool) {
    let chunks = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((out, x), &beta) in chunks.zip(beta) {
        for_chunks!(width, |chunk, at| {
            let value = Register::splat(beta) * chunk.load(x, at);
            let value = if accumulate {
                value + chunk.load(out, at)
            } else {
                value
            };
            chunk.store(out, at, value);
        });
    }
}

/// The backward of [`add_output`]: `dbeta[j, i] = <o_i, dnext_j>`, `do_i = sum_j beta[j, i]
/// dnext_j`; the gradient of what it is added to is `next_grad` itself.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn add_output_backward(
    dims: SlotDims,
    form: WriteForm,
    beta: &[f32],
    output: &[f32],
    next_grad: &[f32],
    beta_grad: Option<Grad>,
    output_grad: Option<Grad>,
) {
    const OP: &str = "slot_add_output_backward";
    dims.expect(OP, "the gradient of next", next_grad.len(), dims.slots);
    dims.expect(OP, "output", output.len(), dims.reads);
    let len = grad_len(&output_grad);
    dims.expect(OP, "the gradient of output", len, dims.reads);
    let shape = dims.beta_shape(form);
    let beta_grad = PerRowGrad::new(OP, "beta", beta_grad, beta, dims.rows, &shape);
    let beta = PerRow::new(OP, "beta", beta, dims.rows, &shape);
    let grads = (beta_grad, output_grad);
    by_tiles!(
        dims.slots,
        dims.reads,
        add_output_rows_backward(dims, form, beta, output, next_grad, grads)
    );
}

fn add_output_rows_backward<const N: usize, const R: usize>(
    dims: SlotDims,
    form: WriteForm,
    beta: PerRow,
    output: &[f32],
    next_grad: &[f32],
    (mut beta_grad, mut output_grad): (Option<PerRowGrad>, Option<Grad>),
) {
    let (width, reads) = (dims.width, dims.reads);
    for row in 0..dims.rows {
        let next_grad = &next_grad[dims.row(row, dims.slots)];
        if let Some(grad) = &mut beta_grad {
            let out = grad.row(row);
            let output = &output[dims.row(row, reads)];
            match form {
                WriteForm::Full => {
                    contract::<N, R>(width, next_grad, output, |j, i, products| {
                        add(&mut out[j * reads + i..], products);
                    });
                }
                WriteForm::Diagonal => {
                    let chunks = output
                        .chunks_exact(width)
                        .zip(next_grad.chunks_exact(width));
                    for (slot, (output, next_grad)) in out.iter_mut().zip(chunks) {
                        *slot += dot(output, next_grad);
                    }
                }
            }
        }
        if let Some(grad) = &mut output_grad {
            let (beta, accumulate) = (beta.row(row), grad.accumulate);
            let out = &mut grad.values[dims.row(row, reads)];
            match form {
                WriteForm::Full => {
                    let back = |j: usize, i: usize| beta[j * reads + i];
                    combine::<N, R>(width, out, next_grad, back, NO_EXTRA, accumulate);
                }
                WriteForm::Diagonal => scale_chunks(width, out, next_grad, beta, accumulate),
            }
        }
    }
}

/// The next state, `Ĥ_j = sum_i alpha[i, r + j] H_i + sum_i beta[j, i] o_i`, or with
/// `beta[j] o_j` if it is diagonal. Its backward is that of [`mix`] and of [`add_output`].
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn write(
    dims: SlotDims,
    form: WriteForm,
    state: &[f32],
    alpha: &[f32],
    beta: &[f32],
    output: &[f32],
    next: &mut [f32],
) {
    let columns = dims.carrying();
    if dims.reads > 1 {
        mix(dims, columns, state, alpha, next);
        return add_output(dims, form, beta, output, next);
    }
    const OP: &str = "slot_write";
    dims.expect(OP, "state", state.len(), dims.slots);
    dims.expect(OP, "next", next.len(), dims.slots);
    dims.expect(OP, "output", output.len(), 1);
    let alpha = PerRow::new(OP, "alpha", alpha, dims.rows, &dims.alpha_shape(columns));
    let beta = PerRow::new(OP, "beta", beta, dims.rows, &dims.beta_shape(form));
    by_tiles!(
        dims.slots,
        dims.slots,
        write_rows(dims, state, alpha, beta, output, next)
    );
}

/// With one read the output is the first summand.
fn write_rows<const N: usize, const T: usize>(
    dims: SlotDims,
    state: &[f32],
    alpha: PerRow,
    beta: PerRow,
    output: &[f32],
    next: &mut [f32],
) {
    for row in 0..dims.rows {
        let (alpha, beta) = (alpha.row(row), beta.row(row));
        let carry = |i: usize, j: usize| alpha[i * (1 + dims.slots) + 1 + j];
        let written = Some((&output[dims.row(row, 1)], |j: usize| beta[j]));
        let next = &mut next[dims.row(row, dims.slots)];
        let state = &state[dims.row(row, dims.slots)];
        combine::<N, T>(dims.width, next, state, carry, written, false);
    }
}
