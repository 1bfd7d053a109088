//! Multi-head self-attention, forward and backward, in tiles.
//!
//! `out = softmax(q k^T / sqrt(head_dim)) v` for every head, with queries, keys and
//! values read out of one fused projection `qkv` `[batch * seq, 3 * d]`, whose rows
//! are q | k | v, each `d = heads * head_dim` wide, head `h` at the columns
//! `h * head_dim ..`. Queries and keys may be rotated on the way ([`Rotary`]). The
//! matrix of scores never exists: a panel of queries, two or four registers of them, meets
//! a block of 128 keys at a time, and the backward pass computes the probabilities again from the saved
//! logarithms of the rows' sums (Dao et al., FlashAttention, 2022).
//!
//! Work on one head depends on nothing but that head, so the results have the same
//! bits however the batch and the heads are divided among threads.

// Loops over the rows and vectors of a register tile index several arrays at once.
#![allow(clippy::needless_range_loop)]

mod backward;
mod forward;
mod head;
mod pack;
mod parallel;
mod tile;

pub use parallel::{attention_backward, attention_forward};

use super::rotary::Rotary;
use super::{Grad, expect_len};
use crate::simd::F32;
use backward::{HeadGradients, Saved, backward_head};
use forward::forward_head;
use head::{Head, packed_stride};
use pack::HeadRows;

/// Shape of a self-attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Independent sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub seq: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// A token sees itself and those before it, instead of all.
    pub causal: bool,
}

impl AttentionShape {
    /// Width of the model: `heads * head_dim`.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Floats of scratch for [`attention_forward`].
    pub fn forward_scratch(&self, workers: usize) -> usize {
        let floats = forward::scratch_floats(packed_stride(self.head_dim), self.seq);
        workers * worker_scratch(floats) + self.staging(workers, 1)
    }

    /// Floats of scratch for [`attention_backward`].
    pub fn backward_scratch(&self, workers: usize) -> usize {
        let floats = backward::scratch_floats(packed_stride(self.head_dim), self.seq);
        workers * worker_scratch(floats) + self.staging(workers, 3)
    }

    /// Checks the operands that both passes have.
    #[track_caller]
    fn check(&self, op: &str, qkv: usize, rotary: Option<Rotary<'_>>, lse: usize) {
        let Self {
            batch,
            seq,
            heads,
            head_dim,
            ..
        } = *self;
        assert!(
            batch > 0 && seq > 0 && heads > 0 && head_dim > 0,
            "{op}: shape is {self:?}, expected no extent of zero"
        );
        expect_len(op, "qkv", qkv, 3 * self.elements());
        expect_len(op, "lse", lse, batch * heads * seq);
        if let Some(Rotary { cos, sin }) = rotary {
            assert!(
                head_dim.is_multiple_of(2),
                "{op}: head_dim is {head_dim}, expected an even one with a rotary embedding"
            );
            let half = head_dim / 2;
            assert!(
                cos.len() == sin.len() && cos.len() >= seq * half,
                "{op}: cos is [{}] and sin is [{}], expected both [positions >= {seq}, \
                 head_dim / 2 = {half}]",
                cos.len(),
                sin.len()
            );
        }
    }

    /// Elements of the output.
    pub fn elements(&self) -> usize {
        self.batch * self.seq * self.width()
    }

    /// Rows of scores, of all heads.
    pub fn rows(&self) -> usize {
        self.batch * self.heads * self.seq
    }

    /// Elements of rotary tables: `len`, if there are none or they are long enough.
    pub(crate) fn tables(&self, len: usize) -> usize {
        let needed = self.seq * self.head_dim;
        match len == 0 || len >= needed && len.is_multiple_of(self.head_dim) {
            true => len,
            false => needed,
        }
    }

    /// Floating point operations of one of the products of queries and keys.
    pub(crate) fn product_flops(&self) -> usize {
        let seen = match self.causal {
            true => self.seq * (self.seq + 1) / 2,
            false => self.seq * self.seq,
        };
        2 * self.batch * self.width() * seen
    }

    /// One head of one sequence of a fused projection.
    fn head<'a>(&self, qkv: &'a [f32], rotary: Option<Rotary<'a>>, b: usize, h: usize) -> Head<'a> {
        let stride = 3 * self.width();
        let data = &qkv[b * self.seq * stride..][..self.seq * stride];
        let rows = |i| HeadRows {
            data,
            stride,
            column: i * self.width() + h * self.head_dim,
        };
        Head {
            seq: self.seq,
            head_dim: self.head_dim,
            causal: self.causal,
            scale: (1.0 / (self.head_dim as f64).sqrt()) as f32,
            rotary,
            queries: rows(0),
            keys: rows(1),
            values: rows(2),
        }
    }

    /// Data of one head of one sequence that the backward pass needs.
    fn saved<'a>(&self, saved: SavedForward<'a>, b: usize, h: usize) -> Saved<'a> {
        let stride = self.width();
        let range = b * self.seq * stride..(b + 1) * self.seq * stride;
        let rows = |data: &'a [f32]| HeadRows {
            data: &data[range.clone()],
            stride,
            column: h * self.head_dim,
        };
        Saved {
            out: rows(saved.out),
            dout: rows(saved.dout),
            lse: &saved.lse[(b * self.heads + h) * self.seq..][..self.seq],
        }
    }
}

/// Inputs of a backward pass besides the fused projection.
#[derive(Clone, Copy, Debug)]
pub struct SavedForward<'a> {
    /// Output of the forward pass, `[batch * seq, d]`.
    pub out: &'a [f32],
    /// Statistics of the forward pass, `[batch, heads, seq]`.
    pub lse: &'a [f32],
    /// Gradient of the output, `[batch * seq, d]`.
    pub dout: &'a [f32],
}

/// Self-attention of some sequences, on the calling thread.
fn forward_sequences(
    shape: AttentionShape,
    qkv: &[f32],
    rotary: Option<Rotary<'_>>,
    out: &mut [f32],
    lse: &mut [f32],
    scratch: &mut [f32],
) {
    let scratch = aligned(scratch);
    let stride = shape.width();
    for (b, out) in out.chunks_exact_mut(shape.seq * stride).enumerate() {
        for h in 0..shape.heads {
            let head = shape.head(qkv, rotary, b, h);
            let lse = &mut lse[(b * shape.heads + h) * shape.seq..][..shape.seq];
            forward_head(&head, out, (stride, h * shape.head_dim), lse, scratch);
        }
    }
}

/// Gradient of [`forward_sequences`].
fn backward_sequences(
    shape: AttentionShape,
    qkv: &[f32],
    rotary: Option<Rotary<'_>>,
    saved: SavedForward<'_>,
    dqkv: Grad<'_>,
    scratch: &mut [f32],
) {
    let scratch = aligned(scratch);
    let (d, stride) = (shape.width(), 3 * shape.width());
    for (b, data) in dqkv.values.chunks_exact_mut(shape.seq * stride).enumerate() {
        for h in 0..shape.heads {
            let head = shape.head(qkv, rotary, b, h);
            let columns = [0, 1, 2].map(|i| i * d + h * shape.head_dim);
            let mut gradients = HeadGradients {
                data: &mut *data,
                stride,
                columns,
                accumulate: dqkv.accumulate,
            };
            backward_head(&head, shape.saved(saved, b, h), &mut gradients, scratch);
        }
    }
}

#[track_caller]
fn check_scratch(op: &str, len: usize, workers: usize, needed: usize) {
    assert!(workers > 0, "{op}: workers is 0, expected at least 1");
    assert!(
        len >= needed,
        "{op}: scratch has {len} floats, expected at least {needed}"
    );
}

/// Floats in a cache line.
const LINE: usize = align_of::<F32>() / size_of::<f32>();

/// Floats that one worker needs for `floats`: room to align them.
fn worker_scratch(floats: usize) -> usize {
    floats.next_multiple_of(LINE) + LINE
}

/// The `scratch` from its first cache line boundary on: vectors that straddle two lines
/// would take twice the time to load. Results do not depend on it.
fn aligned(scratch: &mut [f32]) -> &mut [f32] {
    let offset = scratch.as_ptr().align_offset(align_of::<F32>()).min(LINE);
    &mut scratch[offset..]
}
