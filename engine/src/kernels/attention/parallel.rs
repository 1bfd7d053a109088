//! Self-attention of a batch, over rayon where there are several workers.

use rayon::prelude::*;

use super::*;

impl AttentionShape {
    /// Returns whether the work is divided by heads, because there are fewer sequences than
    /// workers. Heads are neighbours in a row, so they are computed one after
    /// another in memory first and then put in place.
    fn by_heads(&self, workers: usize) -> bool {
        self.batch < workers && self.heads > 1
    }

    /// Floats in which heads are staged, `matrices` of them.
    pub(super) fn staging(&self, workers: usize, matrices: usize) -> usize {
        if self.by_heads(workers) {
            matrices * self.elements()
        } else {
            0
        }
    }
}

/// Self-attention of every head.
///
/// * `qkv` `[batch * seq, 3 * d]`: the fused projection;
/// * `rotary`: tables that rotate queries and keys, if any;
/// * `out` `[batch * seq, d]`: overwritten;
/// * `lse` `[batch, heads, seq]`: overwritten with the logarithm of the sum of
///   exponentials of every row of scores, for [`attention_backward`];
/// * `workers`: tasks on the current rayon pool, by sequences, or by heads where there are
///   fewer sequences; 1 stays on the calling thread. The same bits for any number;
/// * `scratch`: at least [`AttentionShape::forward_scratch`]`(workers)` floats, any content.
///
/// # Panics
/// If an extent or `workers` is zero, a slice has another length, or `head_dim` is odd with
/// a rotary embedding.
#[track_caller]
pub fn attention_forward(
    shape: AttentionShape,
    qkv: &[f32],
    rotary: Option<Rotary<'_>>,
    out: &mut [f32],
    lse: &mut [f32],
    workers: usize,
    scratch: &mut [f32],
) {
    let op = "attention_forward";
    shape.check(op, qkv.len(), rotary, lse.len());
    expect_len(op, "out", out.len(), shape.elements());
    check_scratch(op, scratch.len(), workers, shape.forward_scratch(workers));
    if workers == 1 {
        return forward_sequences(shape, qkv, rotary, out, lse, scratch);
    }

    let AttentionShape {
        seq,
        heads,
        head_dim,
        ..
    } = shape;
    let unit = shape.forward_scratch(1);
    let (staging, scratch) = scratch.split_at_mut(shape.staging(workers, 1));
    if !shape.by_heads(workers) {
        let per_worker = shape.batch.div_ceil(workers);
        out.par_chunks_mut(per_worker * seq * shape.width())
            .zip(lse.par_chunks_mut(per_worker * heads * seq))
            .zip(qkv.par_chunks(per_worker * seq * 3 * shape.width()))
            .zip(scratch.par_chunks_exact_mut(unit))
            .for_each(|(((out, lse), qkv), scratch)| {
                let batch = lse.len() / (heads * seq);
                let shape = AttentionShape { batch, ..shape };
                forward_sequences(shape, qkv, rotary, out, lse, scratch);
            });
        return;
    }
    let per_worker = (shape.batch * heads).div_ceil(workers);
    staging
        .par_chunks_mut(per_worker * seq * head_dim)
        .zip(lse.par_chunks_mut(per_worker * seq))
        .zip(scratch.par_chunks_exact_mut(unit))
        .enumerate()
        .for_each(|(worker, ((staging, lse), scratch))| {
            let scratch = aligned(scratch);
            let heads_out = staging
                .chunks_exact_mut(seq * head_dim)
                .zip(lse.chunks_exact_mut(seq));
            for (i, (out, lse)) in heads_out.enumerate() {
                let pair = worker * per_worker + i;
                let head = shape.head(qkv, rotary, pair / heads, pair % heads);
                forward_head(&head, out, (head_dim, 0), lse, scratch);
            }
        });
    let staging = &*staging;
    out.par_chunks_exact_mut(shape.width())
        .enumerate()
        .for_each(|(row, out)| {
            for (h, out) in out.chunks_exact_mut(head_dim).enumerate() {
                let pair = row / seq * heads + h;
                out.copy_from_slice(&staging[(pair * seq + row % seq) * head_dim..][..head_dim]);
            }
        });
}

/// Gradient of [`attention_forward`].
///
/// `dqkv` is `[batch * seq, 3 * d]`; `scratch` has at least
/// [`AttentionShape::backward_scratch`]`(workers)` floats of any content; the other operands
/// are those of the forward pass.
///
/// # Panics
/// As [`attention_forward`].
#[track_caller]
pub fn attention_backward(
    shape: AttentionShape,
    qkv: &[f32],
    rotary: Option<Rotary<'_>>,
    saved: SavedForward<'_>,
    dqkv: Grad<'_>,
    workers: usize,
    scratch: &mut [f32],
) {
    let op = "attention_backward";
    shape.check(op, qkv.len(), rotary, saved.lse.len());
    expect_len(op, "out", saved.out.len(), shape.elements());
    expect_len(op, "dout", saved.dout.len(), shape.elements());
    expect_len(op, "dqkv", dqkv.values.len(), 3 * shape.elements());
    check_scratch(op, scratch.len(), workers, shape.backward_scratch(workers));
    if workers == 1 {
        return backward_sequences(shape, qkv, rotary, saved, dqkv, scratch);
    }
    let Grad {
        values: dqkv,
        accumulate,
    } = dqkv;

    let AttentionShape {
        seq,
        heads,
        head_dim,
        ..
    } = shape;
    let unit = shape.backward_scratch(1);
    let (staging, scratch) = scratch.split_at_mut(shape.staging(workers, 3));
    if !shape.by_heads(workers) {
        let rows = shape.batch.div_ceil(workers) * seq;
        dqkv.par_chunks_mut(rows * 3 * shape.width())
            .zip(qkv.par_chunks(rows * 3 * shape.width()))
            .zip(saved.out.par_chunks(rows * shape.width()))
            .zip(saved.dout.par_chunks(rows * shape.width()))
            .zip(saved.lse.par_chunks(rows * heads))
            .zip(scratch.par_chunks_exact_mut(unit))
            .for_each(|(((((dqkv, qkv), out), dout), lse), scratch)| {
                let batch = lse.len() / (heads * seq);
                let shape = AttentionShape { batch, ..shape };
                let saved = SavedForward { out, lse, dout };
                let dqkv = Grad {
                    values: dqkv,
                    accumulate,
                };
                backward_sequences(shape, qkv, rotary, saved, dqkv, scratch);
            });
        return;
    }
    let per_worker = (shape.batch * heads).div_ceil(workers);
    staging
        .par_chunks_mut(per_worker * seq * 3 * head_dim)
        .zip(scratch.par_chunks_exact_mut(unit))
        .enumerate()
        .for_each(|(worker, (staging, scratch))| {
            let scratch = aligned(scratch);
            for (i, data) in staging.chunks_exact_mut(seq * 3 * head_dim).enumerate() {
                let pair = worker * per_worker + i;
                let (b, h) = (pair / heads, pair % heads);
                let head = shape.head(qkv, rotary, b, h);
                let mut gradients = HeadGradients {
                    data,
                    stride: 3 * head_dim,
                    columns: [0, head_dim, 2 * head_dim],
                    accumulate: false,
                };
                backward_head(&head, shape.saved(saved, b, h), &mut gradients, scratch);
            }
        });
    let staging = &*staging;
    dqkv.par_chunks_exact_mut(3 * shape.width())
        .enumerate()
        .for_each(|(row, dqkv)| {
            for (i, out) in dqkv.chunks_exact_mut(head_dim).enumerate() {
                let pair = row / seq * heads + i % heads;
                let start = (pair * seq + row % seq) * 3 * head_dim + i / heads * head_dim;
                let staged = &staging[start..][..head_dim];
                if accumulate {
                    out.iter_mut().zip(staged).for_each(|(y, x)| *y += *x);
                } else {
                    out.copy_from_slice(staged);
                }
            }
        });
}
