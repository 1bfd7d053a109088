//! The forward passes.

use super::memory::{Outputs, block_len};
use super::predictor::{Folded, expect_parts};
use super::{Dims, block_rows, by_rate, fixed, take};
use crate::connection::streams::{
    PerRow,
    predictor::Predictor,
    rows::{NO_EXTRA, combine},
};

/// The end of a sublayer: `H_next[j] = beta[j] output + sum_i alpha[i, j + 1] H[i]`, the
/// mix and the depth connection together.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// H, `[rows, rate, d]`.
    pub state: &'a [f32],
    /// `[rows, rate, rate + 1]`, or `[rate, rate + 1]` shared by all rows.
    pub alpha: &'a [f32],
    /// `[rows, rate]`, or `[rate]` shared by all rows.
    pub beta: &'a [f32],
    /// The sublayer's output, `[rows, d]`.
    pub output: &'a [f32],
}

/// Where a read takes the state from.
#[derive(Debug)]
pub enum Source<'a> {
    /// The state itself, `[rows, rate, d]`.
    State(&'a [f32]),
    /// The last sublayer is written first, into the slice.
    Write(Write<'a>, &'a mut [f32]),
}

/// Where the coefficients of a dynamic connection and its read go.
#[derive(Debug)]
pub struct Read<'a> {
    /// `h0`, the input of the sublayer, `[rows, d]`; `None` where only the coefficients are wanted.
    pub hidden: Option<&'a mut [f32]>,
    /// `[rows, rate, rate + 1]`.
    pub alpha: &'a mut [f32],
    /// `[rows, rate]`.
    pub beta: &'a mut [f32],
    /// For the backward; [`stats_len`](super::stats_len) elements.
    pub stats: &'a mut [f32],
}

/// [`Write`] with its lengths checked.
#[derive(Clone, Copy)]
pub(super) struct WriteRows<'a> {
    pub state: &'a [f32],
    pub alpha: PerRow<'a>,
    pub beta: PerRow<'a>,
    output: &'a [f32],
}

impl<'a> WriteRows<'a> {
    #[track_caller]
    pub fn new(op: &str, dims: Dims, write: &Write<'a>) -> Self {
        dims.expect_state(op, "state", write.state.len());
        dims.expect_hidden(op, "output", write.output.len());
        Self {
            state: write.state,
            alpha: PerRow::new(op, "alpha", write.alpha, dims.rows, &dims.alpha()),
            beta: PerRow::new(op, "beta", write.beta, dims.rows, &dims.beta()),
            output: write.output,
        }
    }

    #[inline(always)]
    pub fn streams(&self, n: usize, d: usize, row: usize) -> &'a [f32] {
        &self.state[row * n * d..][..n * d]
    }

    #[inline(always)]
    pub fn output(&self, d: usize, row: usize) -> &'a [f32] {
        &self.output[row * d..][..d]
    }

    /// The streams of one row of the next state.
    #[inline(always)]
    fn write<const K: usize, const T: usize>(
        &self,
        n: usize,
        d: usize,
        row: usize,
        next: &mut [f32],
    ) {
        let (alpha, beta) = (self.alpha.row(row), self.beta.row(row));
        let carry = |i: usize, j: usize| alpha[i * (n + 1) + j + 1];
        let write = Some((self.output(d, row), |j: usize| beta[j]));
        combine::<K, T>(d, next, self.streams(n, d, row), carry, write, false);
    }
}

/// `h0 = sum_i alpha[i, 0] H[i]` of one row.
#[inline(always)]
fn read_row<const K: usize>(
    n: usize,
    d: usize,
    streams: &[f32],
    alpha: &[f32],
    hidden: &mut [f32],
) {
    let read = |i: usize, _| alpha[i * (n + 1)];
    combine::<K, 1>(d, hidden, streams, read, NO_EXTRA, false);
}

/// The beginning of a dynamic sublayer, after the end of the last one if there is one: its
/// coefficients, Eq. (10) to (13), and the read `h0[r] = sum_i alpha[r, i, 0] H[r, i]`.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn read(
    dims: Dims,
    source: Source,
    dynamic: &Predictor<&[f32]>,
    read: Read,
    scratch: &mut [f32],
) {
    const OP: &str = "hyper_read";
    let (state, write) = match source {
        Source::State(state) => (state, None),
        Source::Write(write, next) => {
            dims.expect_state(OP, "next", next.len());
            (write.state, Some((WriteRows::new(OP, dims, &write), next)))
        }
    };
    dims.expect_state(OP, "state", state.len());
    dims.expect_hidden(
        OP,
        "hidden",
        read.hidden.as_ref().map(|hidden| hidden.len()),
    );
    let out = Outputs::new(OP, dims, read.alpha, read.beta, read.stats);
    expect_parts(OP, dims, "", dynamic, |part| Some(part.len()));
    dims.expect_scratch(OP, scratch.len());
    by_rate!(
        dims.rate,
        read_rows(dims, state, write, dynamic, out, read.hidden, scratch)
    );
}

fn read_rows<const K: usize, const T: usize, const Q: usize, const C: usize>(
    dims: Dims,
    state: &[f32],
    mut write: Option<(WriteRows, &mut [f32])>,
    dynamic: &Predictor<&[f32]>,
    mut out: Outputs,
    mut hidden: Option<&mut [f32]>,
    mut scratch: &mut [f32],
) {
    let (n, d) = (fixed::<C>(dims.rate), dims.d);
    let folded = Folded::<C>::new(dims, dynamic, &mut scratch);
    let values = take(&mut scratch, block_len(n));
    for first in (0..dims.rows).step_by(block_rows(n)) {
        let rows = first..dims.rows.min(first + block_rows(n));
        let state = match &mut write {
            None => state,
            Some((write, next)) => {
                for r in rows.clone() {
                    write.write::<K, T>(n, d, r, &mut next[r * n * d..][..n * d]);
                }
                &**next
            }
        };
        folded.predict(state, &mut out, first, values);
        let Some(hidden) = &mut hidden else {
            continue;
        };
        for r in rows {
            let streams = &state[r * n * d..][..n * d];
            let alpha = &out.alpha[r * n * (n + 1)..][..n * (n + 1)];
            read_row::<K>(n, d, streams, alpha, &mut hidden[r * d..][..d]);
        }
    }
}

/// Ends one sublayer and begins the next one with known coefficients: the [`Write`] into
/// `next`, then `hidden[r] = sum_i next_alpha[r, i, 0] next[r, i]`. `next_alpha` may be
/// shared by all rows, as in a static connection.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn write_then_read_static(
    dims: Dims,
    write: &Write,
    next_alpha: &[f32],
    next: &mut [f32],
    hidden: &mut [f32],
) {
    const OP: &str = "write_then_read_static";
    let rows = WriteRows::new(OP, dims, write);
    let alpha = PerRow::new(OP, "next_alpha", next_alpha, dims.rows, &dims.alpha());
    dims.expect_state(OP, "next", next.len());
    dims.expect_hidden(OP, "hidden", hidden.len());
    by_rate!(dims.rate, static_rows(dims, rows, alpha, next, hidden));
}

fn static_rows<const K: usize, const T: usize, const Q: usize, const C: usize>(
    dims: Dims,
    write: WriteRows,
    alpha: PerRow,
    next: &mut [f32],
    hidden: &mut [f32],
) {
    let (n, d) = (fixed::<C>(dims.rate), dims.d);
    let rows = next.chunks_exact_mut(n * d).zip(hidden.chunks_exact_mut(d));
    for (r, (next, hidden)) in rows.enumerate() {
        write.write::<K, T>(n, d, r, next);
        read_row::<K>(n, d, next, alpha.row(r), hidden);
    }
}

/// Ends the last sublayer: the sum over the streams of the [`Write`],
/// `out[r] = (sum_j beta[j]) output + sum_i (sum_j alpha[i, j + 1]) H[i]`, without
/// the last state itself. `out` is `[rows, d]`.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn write_then_sum(dims: Dims, write: &Write, out: &mut [f32]) {
    const OP: &str = "write_then_sum";
    let rows = WriteRows::new(OP, dims, write);
    dims.expect_hidden(OP, "out", out.len());
    by_rate!(dims.rate, sum_rows(dims, rows, out));
}

fn sum_rows<const K: usize, const T: usize, const Q: usize, const C: usize>(
    dims: Dims,
    write: WriteRows,
    out: &mut [f32],
) {
    let (n, d) = (fixed::<C>(dims.rate), dims.d);
    for (r, out) in out.chunks_exact_mut(d).enumerate() {
        let (alpha, beta) = (write.alpha.row(r), write.beta.row(r));
        let carried = |i: usize, _| carried(n, alpha, i);
        let written = Some((write.output(d, r), |_| beta.iter().sum()));
        combine::<K, 1>(d, out, write.streams(n, d, r), carried, written, false);
    }
}

/// The part of stream i that is carried on, over all streams: `sum_j alpha[i, j + 1]`.
#[inline(always)]
pub(super) fn carried(n: usize, alpha: &[f32], i: usize) -> f32 {
    alpha[i * (n + 1) + 1..][..n].iter().sum()
}
