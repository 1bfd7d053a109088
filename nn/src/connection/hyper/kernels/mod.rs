//! The arithmetic of hyper-connections in one pass over the state: plain functions over slices.
//!
//! The hidden state `H` is `[rows, rate, d]`, row-major: a row is a token, and holds
//! `rate` streams of `d` numbers. The coefficients of a connection are stored as the
//! paper writes them:
//!
//! - `alpha` `[rate, rate + 1]` is `[A_m | A_r]`: the row is the source stream; column 0
//!   reads (`h0 = A_m^T H`), column `j + 1` carries into stream `j` (`H' = A_r^T H`);
//! - `beta` `[rate]` is `B`: how strongly each stream takes the sublayer's output.
//!
//! Wherever a kernel takes `alpha` or `beta`, it takes either one per row,
//! `[rows, rate, rate + 1]` and `[rows, rate]` (dynamic connections), or one shared by
//! all rows, `[rate, rate + 1]` and `[rate]` (static connections); the length tells
//! which. The gradient of a shared one is the sum over the rows.
//!
//! Eq. (10) to (13), the coefficients of a dynamic connection:
//!
//! ```text
//! x      = norm(H)                       each stream by itself, over d
//! alpha  = s_alpha tanh(x W_alpha) + static_alpha        W_alpha = [W_m | W_r]
//! beta   = s_beta  tanh(x w_beta)  + static_beta
//! ```
//!
//! Row i of `alpha` and element i of `beta` depend on stream i alone. In units of d floats per
//! token, with n streams, separate kernels of the coefficients, the read and mix, and the write
//! move 5n + 2. [`read`] with a write before it ends one sublayer and begins the next, so that a
//! network of sublayers is
//!
//! ```text
//! read, (sublayer, write and read)*, sublayer, write_then_sum
//! ```
//!
//! where each step moves 2n + 2: the streams of a few tokens stay in the cache between
//! the write, the norm and the next read, and neither `H'` nor the last state is stored.
//!
//! Every kernel is single-threaded over the rows it is given and works in a fixed
//! order. Memory that it needs is passed in as `scratch` of [`scratch_len`] elements,
//! whatever they hold. Slices that start on a 64-byte boundary are the fastest, and a
//! `d` that is a multiple of 16.

#![allow(
    clippy::needless_range_loop,
    reason = "the loops over streams and columns index several arrays at once"
)]

mod backward;
mod forward;
mod memory;
mod predictor;
mod rows;

pub use backward::{
    ReadInflow, StateGradient, WriteGrads, read_backward, write_then_read_static_backward,
    write_then_sum_backward,
};
pub use engine::op::Grad;
pub use forward::{Read, Source, Write, read, write_then_read_static, write_then_sum};

use crate::connection::streams::{Axis, expect_len};
use engine::simd::register::LANES;

/// The sizes of a hidden state `[rows, rate, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Tokens.
    pub rows: usize,
    /// Streams per token: the paper's expansion rate n.
    pub rate: usize,
    /// Numbers per stream.
    pub d: usize,
}

impl Dims {
    /// Elements of the hidden state.
    pub fn state_len(self) -> usize {
        self.rows * self.rate * self.d
    }

    /// Elements of one `alpha`: `rate (rate + 1)`.
    pub fn alpha_len(self) -> usize {
        self.rate * (self.rate + 1)
    }

    /// The named axes of one `alpha`.
    fn alpha(self) -> [Axis; 2] {
        [("rate", self.rate), ("rate + 1 =", self.rate + 1)]
    }

    /// The named axis of one `beta`.
    fn beta(self) -> [Axis; 1] {
        [("rate", self.rate)]
    }

    /// Panics unless `len`, where there is one, is that of a hidden state.
    #[track_caller]
    fn expect_state(self, op: &str, name: &str, len: impl Into<Option<usize>>) {
        assert!(
            self.rate > 0 && self.d > 0,
            "{op}: a hidden state has streams and width, got rate {} and d {}",
            self.rate,
            self.d
        );
        let shape = [("rows", self.rows), ("rate", self.rate), ("d", self.d)];
        expect_len(op, name, len, &shape);
    }

    /// Likewise, of one stream per row.
    #[track_caller]
    fn expect_hidden(self, op: &str, name: &str, len: impl Into<Option<usize>>) {
        expect_len(op, name, len, &[("rows", self.rows), ("d", self.d)]);
    }

    /// Likewise, of one `alpha` per row.
    #[track_caller]
    fn expect_alpha(self, op: &str, name: &str, len: impl Into<Option<usize>>) {
        let [source, column] = self.alpha();
        expect_len(op, name, len, &[("rows", self.rows), source, column]);
    }

    /// Likewise, of one `beta` per row.
    #[track_caller]
    fn expect_beta(self, op: &str, name: &str, len: impl Into<Option<usize>>) {
        let shape = [("rows", self.rows), ("rate", self.rate)];
        expect_len(op, name, len, &shape);
    }

    /// Panics if the scratch memory is too small.
    #[track_caller]
    fn expect_scratch(self, op: &str, len: usize) {
        let expected = scratch_len(self);
        assert!(
            len >= expected,
            "{op}: scratch has {len} elements, expected at least {expected}"
        );
    }
}

/// Elements of the `stats` that a read leaves for the backward: of every stream the
/// `rate + 2` products with the folded columns, the mean, and the reciprocal of the
/// standard deviation.
pub fn stats_len(dims: Dims) -> usize {
    dims.rows * dims.rate * (dims.rate + 4)
}

/// Elements of scratch memory for any kernel of this module.
pub fn scratch_len(dims: Dims) -> usize {
    let pattern = padded(memory::block_len(dims.rate));
    2 * (dims.rate + 2) * padded(dims.d) + padded(dims.rate * dims.d) + 9 * pattern
}

/// Rows treated together: about 32 streams.
fn block_rows(rate: usize) -> usize {
    (32 / rate.max(1)).max(1)
}

/// `len` rounded up to whole vectors.
fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// Cuts the next `len` elements, and the rest of their last vector, off `scratch`.
#[track_caller]
fn take<'s>(scratch: &mut &'s mut [f32], len: usize) -> &'s mut [f32] {
    let (piece, rest) = std::mem::take(scratch).split_at_mut(padded(len));
    *scratch = rest;
    &mut piece[..len]
}

/// Calls a row kernel compiled for the expansion rate.
///
/// The const parameters: `K` sources combined at once, into `T` destinations; `Q` x `Q`
/// scalar products at once; `C` columns projected at once, all `rate + 2` of them for
/// the rates of the paper. Other rates take smaller tiles and more passes.
macro_rules! by_rate {
    ($rate:expr, $kernel:ident($($argument:expr),* $(,)?)) => {
        match $rate {
            1 => $kernel::<1, 1, 1, 3>($($argument),*),
            2 => $kernel::<2, 2, 2, 4>($($argument),*),
            4 => $kernel::<4, 2, 4, 6>($($argument),*),
            8 => $kernel::<8, 2, 4, 10>($($argument),*),
            rate if rate % 4 == 0 => $kernel::<4, 2, 4, 2>($($argument),*),
            _ => $kernel::<1, 1, 1, 1>($($argument),*),
        }
    };
}
use by_rate;

/// The rate as a constant where the kernel is compiled for it.
#[inline(always)]
fn fixed<const C: usize>(rate: usize) -> usize {
    if C > 2 { C - 2 } else { rate }
}
