//! Read and write of connections whose sublayer sees several streams at once.
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
//! generalised ones (virtual width) any r. `alpha` and `beta` come per row or shared by
//! all, as in the rest of this module.

use super::rows::Chunk as _;
use super::rows::{Tail, Whole, add, combine, contract, for_chunks};
use super::{Grad, PerRow, PerRowGrad, expect_len};
use engine::simd::{F32, LANES, dot};

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

    #[track_caller]
    fn expect_state(self, op: &str, name: &str, len: usize) {
        let shape = [
            ("rows", self.rows),
            ("slots", self.slots),
            ("width", self.width),
        ];
        expect_len(op, name, len, &shape);
    }

    #[track_caller]
    fn expect_hidden(self, op: &str, name: &str, len: usize) {
        let shape = [
            ("rows", self.rows),
            ("reads", self.reads),
            ("width", self.width),
        ];
        expect_len(op, name, len, &shape);
    }

    fn alpha_shape(self, columns: usize) -> [(&'static str, usize); 2] {
        [("slots", self.slots), ("columns", columns)]
    }

    fn beta_shape(self, form: WriteForm) -> [(&'static str, usize); 2] {
        match form {
            WriteForm::Full => [("slots", self.slots), ("reads", self.reads)],
            WriteForm::Diagonal => [("slots", self.slots), ("diagonal", 1)],
        }
    }

    fn state(self, x: &[f32], row: usize) -> &[f32] {
        let len = self.slots * self.width;
        &x[row * len..][..len]
    }

    fn hidden(self, x: &[f32], row: usize) -> &[f32] {
        let len = self.reads * self.width;
        &x[row * len..][..len]
    }
}

/// Calls a kernel compiled for tiles of `N` slots and `R` chunks.
macro_rules! by_tiles {
    ($dims:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match (tile($dims.slots), tile($dims.reads)) {
            (4, 4) => $kernel::<4, 4>($($argument),*),
            (4, 2) => $kernel::<4, 2>($($argument),*),
            (4, _) => $kernel::<4, 1>($($argument),*),
            (2, 4) => $kernel::<2, 4>($($argument),*),
            (2, 2) => $kernel::<2, 2>($($argument),*),
            (2, _) => $kernel::<2, 1>($($argument),*),
            (_, 4) => $kernel::<1, 4>($($argument),*),
            (_, 2) => $kernel::<1, 2>($($argument),*),
            (_, _) => $kernel::<1, 1>($($argument),*),
        }
    };
}

/// How many slots or chunks are treated at once.
fn tile(count: usize) -> usize {
    match count {
        _ if count.is_multiple_of(4) => 4,
        _ if count.is_multiple_of(2) => 2,
        _ => 1,
    }
}

/// A stream that goes into every combination with a weight of its own.
type Extra<'a> = Option<(&'a [f32], fn(usize) -> f32)>;

const NO_EXTRA: Extra<'static> = None;

/// `x_j = sum_i alpha[i, j] H_i` for the chunks j of the sublayer's input `hidden`;
/// `alpha` has `columns` columns, of which the first `reads` are used.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn read(dims: SlotDims, columns: usize, state: &[f32], alpha: &[f32], hidden: &mut [f32]) {
    const OP: &str = "slot_read";
    dims.expect_state(OP, "state", state.len());
    dims.expect_hidden(OP, "hidden", hidden.len());
    let alpha = PerRow::new(OP, "alpha", alpha, dims.rows, &dims.alpha_shape(columns));
    by_tiles!(dims, read_rows(dims, columns, state, alpha, hidden));
}

fn read_rows<const N: usize, const R: usize>(
    dims: SlotDims,
    columns: usize,
    state: &[f32],
    alpha: PerRow,
    hidden: &mut [f32],
) {
    for (row, hidden) in hidden.chunks_exact_mut(dims.reads * dims.width).enumerate() {
        let alpha = alpha.row(row);
        let read = |i: usize, j: usize| alpha[i * columns + j];
        combine::<N, R>(
            dims.width,
            hidden,
            dims.state(state, row),
            read,
            NO_EXTRA,
            false,
        );
    }
}

/// The backward of [`read`]: `dH_i = sum_j alpha[i, j] dx_j`, `dalpha[i, j] = <H_i,
/// dx_j>`, zero in the columns that are not read.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn read_backward(
    dims: SlotDims,
    columns: usize,
    state: &[f32],
    alpha: &[f32],
    hidden_grad: &[f32],
    state_grad: Option<Grad>,
    alpha_grad: Option<Grad>,
) {
    const OP: &str = "slot_read_backward";
    dims.expect_state(OP, "state", state.len());
    dims.expect_hidden(OP, "the gradient of hidden", hidden_grad.len());
    let shape = dims.alpha_shape(columns);
    let alpha_grad = PerRowGrad::new(OP, "alpha", alpha_grad, alpha, dims.rows, &shape);
    let alpha = PerRow::new(OP, "alpha", alpha, dims.rows, &shape);
    if let Some(grad) = &state_grad {
        dims.expect_state(OP, "the gradient of state", grad.values.len());
    }
    let grads = (state_grad, alpha_grad);
    by_tiles!(
        dims,
        read_rows_backward(dims, columns, state, alpha, hidden_grad, grads)
    );
}

fn read_rows_backward<const N: usize, const R: usize>(
    dims: SlotDims,
    columns: usize,
    state: &[f32],
    alpha: PerRow,
    hidden_grad: &[f32],
    (mut state_grad, mut alpha_grad): (Option<Grad>, Option<PerRowGrad>),
) {
    let width = dims.width;
    for row in 0..dims.rows {
        let hidden_grad = dims.hidden(hidden_grad, row);
        if let Some(grad) = &mut state_grad {
            let alpha = alpha.row(row);
            let back = |j: usize, i: usize| alpha[i * columns + j];
            let len = dims.slots * width;
            let out = &mut grad.values[row * len..][..len];
            combine::<R, N>(width, out, hidden_grad, back, NO_EXTRA, grad.accumulate);
        }
        if let Some(grad) = &mut alpha_grad {
            let out = grad.row(row);
            contract::<N, R>(
                width,
                dims.state(state, row),
                hidden_grad,
                |i, j, products| {
                    add(&mut out[i * columns + j..], products);
                },
            );
        }
    }
}

/// The next state, `Ĥ_j = sum_i alpha[i, r + j] H_i + sum_i beta[j, i] o_i`, or with
/// `beta[j] o_j` if it is diagonal.
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
    const OP: &str = "slot_write";
    dims.expect_state(OP, "state", state.len());
    dims.expect_state(OP, "next", next.len());
    dims.expect_hidden(OP, "output", output.len());
    let columns = dims.reads + dims.slots;
    let alpha = PerRow::new(OP, "alpha", alpha, dims.rows, &dims.alpha_shape(columns));
    let beta = PerRow::new(OP, "beta", beta, dims.rows, &dims.beta_shape(form));
    by_tiles!(
        dims,
        write_rows(dims, form, state, alpha, beta, output, next)
    );
}

fn write_rows<const N: usize, const R: usize>(
    dims: SlotDims,
    form: WriteForm,
    state: &[f32],
    alpha: PerRow,
    beta: PerRow,
    output: &[f32],
    next: &mut [f32],
) {
    let SlotDims {
        slots,
        reads,
        width,
        ..
    } = dims;
    let columns = reads + slots;
    for (row, next) in next.chunks_exact_mut(slots * width).enumerate() {
        let (alpha, beta) = (alpha.row(row), beta.row(row));
        let (state, output) = (dims.state(state, row), dims.hidden(output, row));
        let carry = |i: usize, j: usize| alpha[i * columns + reads + j];
        if reads == 1 {
            let written = Some((output, |j: usize| beta[j]));
            combine::<N, N>(width, next, state, carry, written, false);
            continue;
        }
        combine::<N, N>(width, next, state, carry, NO_EXTRA, false);
        match form {
            WriteForm::Full => {
                let write = |i: usize, j: usize| beta[j * reads + i];
                combine::<R, N>(width, next, output, write, NO_EXTRA, true);
            }
            WriteForm::Diagonal => scale_chunks(width, next, output, beta, true),
        }
    }
}

/// `out[j] (+)= beta[j] x[j]` for every chunk j.
fn scale_chunks(width: usize, out: &mut [f32], x: &[f32], beta: &[f32], accumulate: bool) {
    let chunks = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((out, x), &beta) in chunks.zip(beta) {
        for_chunks!(width, |chunk, at| {
            let value = F32::splat(beta) * chunk.load(x, at);
            let value = if accumulate {
                value + chunk.load(out, at)
            } else {
                value
            };
            chunk.store(out, at, value);
        });
    }
}

/// Where the gradients of a write go.
#[derive(Debug)]
pub struct SlotWriteGrads<'a> {
    /// Of the state.
    pub state: Option<Grad<'a>>,
    /// Of `alpha`; zero in the columns that read.
    pub alpha: Option<Grad<'a>>,
    /// Of `beta`.
    pub beta: Option<Grad<'a>>,
    /// Of the sublayer's output.
    pub output: Option<Grad<'a>>,
}

/// The backward of [`write()`]: `dH_i = sum_j alpha[i, r + j] dĤ_j`, `dalpha[i, r + j] =
/// <H_i, dĤ_j>`, `dbeta[j, i] = <o_i, dĤ_j>`, `do_i = sum_j beta[j, i] dĤ_j`.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn write_backward(
    dims: SlotDims,
    form: WriteForm,
    state: &[f32],
    alpha: &[f32],
    beta: &[f32],
    output: &[f32],
    next_grad: &[f32],
    grads: SlotWriteGrads,
) {
    const OP: &str = "slot_write_backward";
    dims.expect_state(OP, "state", state.len());
    dims.expect_state(OP, "the gradient of next", next_grad.len());
    dims.expect_hidden(OP, "output", output.len());
    let alpha_shape = dims.alpha_shape(dims.reads + dims.slots);
    let beta_shape = dims.beta_shape(form);
    let rows = dims.rows;
    if let Some(grad) = &grads.state {
        dims.expect_state(OP, "the gradient of state", grad.values.len());
    }
    if let Some(grad) = &grads.output {
        dims.expect_hidden(OP, "the gradient of output", grad.values.len());
    }
    let targets = WriteTargets {
        state: grads.state,
        alpha: PerRowGrad::new(OP, "alpha", grads.alpha, alpha, rows, &alpha_shape),
        beta: PerRowGrad::new(OP, "beta", grads.beta, beta, rows, &beta_shape),
        output: grads.output,
    };
    let alpha = PerRow::new(OP, "alpha", alpha, rows, &alpha_shape);
    let beta = PerRow::new(OP, "beta", beta, rows, &beta_shape);
    by_tiles!(
        dims,
        write_rows_backward(dims, form, state, alpha, beta, output, next_grad, targets)
    );
}

struct WriteTargets<'a> {
    state: Option<Grad<'a>>,
    alpha: Option<PerRowGrad<'a>>,
    beta: Option<PerRowGrad<'a>>,
    output: Option<Grad<'a>>,
}

fn write_rows_backward<const N: usize, const R: usize>(
    dims: SlotDims,
    form: WriteForm,
    state: &[f32],
    alpha: PerRow,
    beta: PerRow,
    output: &[f32],
    next_grad: &[f32],
    mut targets: WriteTargets,
) {
    let SlotDims {
        slots,
        reads,
        width,
        ..
    } = dims;
    let columns = reads + slots;
    for row in 0..dims.rows {
        let (alpha, beta) = (alpha.row(row), beta.row(row));
        let (output, next_grad) = (dims.hidden(output, row), dims.state(next_grad, row));
        if let Some(grad) = &mut targets.state {
            let back = |j: usize, i: usize| alpha[i * columns + reads + j];
            let out = &mut grad.values[row * slots * width..][..slots * width];
            combine::<N, N>(width, out, next_grad, back, NO_EXTRA, grad.accumulate);
        }
        if let Some(grad) = &mut targets.alpha {
            let out = grad.row(row);
            contract::<N, N>(
                width,
                dims.state(state, row),
                next_grad,
                |i, j, products| {
                    add(&mut out[i * columns + reads + j..], products);
                },
            );
        }
        if let Some(grad) = &mut targets.beta {
            let out = grad.row(row);
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
        if let Some(grad) = &mut targets.output {
            let out = &mut grad.values[row * reads * width..][..reads * width];
            match form {
                WriteForm::Full => {
                    let back = |j: usize, i: usize| beta[j * reads + i];
                    combine::<N, R>(width, out, next_grad, back, NO_EXTRA, grad.accumulate);
                }
                WriteForm::Diagonal => {
                    scale_chunks(width, out, next_grad, beta, grad.accumulate);
                }
            }
        }
    }
}
