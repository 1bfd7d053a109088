//! The backward pass of one head.

use std::array::from_fn;
use std::ops::Range;

use super::head::{BLOCK, Head, take};
use super::pack::{HeadRows, pack_rows, row_products, scale_row, transpose_panel};
use super::tile::*;
use crate::kernels::rotary::rotate_back;
use crate::simd::exp_nonpositive;
use crate::simd::register::{LANES, Register, store};

/// Floats of scratch that [`backward_head`] needs for packed rows of `stride` floats.
pub(super) fn scratch_floats(stride: usize, seq: usize) -> usize {
    let tokens = seq.next_multiple_of(NARROW);
    (4 * tokens + 5 * PANEL + 1) * stride + 2 * BLOCK.min(tokens) * PANEL
}

/// Inputs of the backward pass of one head besides the projections.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a> {
    /// The output of the forward pass.
    pub out: HeadRows<'a>,
    /// Gradient.
    pub dout: HeadRows<'a>,
    /// Logarithm of the sum of exponentials, `[seq]`.
    pub lse: &'a [f32],
}

/// Destination of the gradients of one head: rows of `stride` floats, and the columns of
/// the queries, keys and values among them.
pub(super) struct HeadGradients<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
    pub columns: [usize; 3],
    /// Add to what is there.
    pub accumulate: bool,
}

/// Gradients of [`super::forward::forward_head`]. With `P = exp(S - lse)` computed
/// anew for a panel of queries and a block of keys at a time,
/// `D = rowsum(dO * O)` and `dS = P * (dO V^T - D)`:
/// `dV = P^T dO`, `dQ = scale * dS K`, `dK = scale * dS^T Q`, and the gradients of
/// queries and keys rotated back.
pub(super) fn backward_head(
    head: &Head<'_>,
    saved: Saved<'_>,
    gradients: &mut HeadGradients<'_>,
    scratch: &mut [f32],
) {
    // Usual widths have loops of their own.
    match head.stride() {
        8 => backward_rows::<8>(head, saved, gradients, scratch),
        16 => backward_rows::<16>(head, saved, gradients, scratch),
        32 => backward_rows::<32>(head, saved, gradients, scratch),
        64 => backward_rows::<64>(head, saved, gradients, scratch),
        _ => backward_rows::<0>(head, saved, gradients, scratch),
    }
}

/// [`backward_head`] with packed rows of a stride that is known, or any where `S` is 0.
fn backward_rows<const S: usize>(
    head: &Head<'_>,
    saved: Saved<'_>,
    gradients: &mut HeadGradients<'_>,
    mut scratch: &mut [f32],
) {
    let Head {
        seq,
        head_dim,
        causal,
        rotary,
        scale,
        ..
    } = *head;
    let tile_stride = Stride::<S>::new(head.stride());
    let stride = tile_stride.get();
    let tokens = seq.next_multiple_of(NARROW);
    let scratch = &mut scratch;
    let [keys, values, dkeys, dvalues] = from_fn(|_| take(scratch, tokens * stride));
    let [rows, drows, sums, columns, dcolumns] = from_fn(|_| take(scratch, PANEL * stride));
    let [columns, dcolumns] = [columns, dcolumns].map(|x| x.as_chunks_mut::<PANEL>().0);
    let [probabilities, dscores] = from_fn(|_| {
        let block = take(scratch, BLOCK.min(tokens) * PANEL);
        block.as_chunks_mut::<PANEL>().0
    });
    let turned = take(scratch, stride);

    pack_rows(keys, stride, head.keys, head_dim, 0..seq, rotary, 1.0);
    pack_rows(values, stride, head.values, head_dim, 0..seq, None, 1.0);
    dkeys.fill(0.0);
    dvalues.fill(0.0);

    for first in (0..seq).step_by(PANEL) {
        let queries = PANEL.min(seq - first);
        let range = first..first + queries;
        pack_rows(
            rows,
            stride,
            head.queries,
            head_dim,
            range.clone(),
            rotary,
            scale,
        );
        transpose_panel(rows, stride, columns);
        pack_rows(
            drows,
            stride,
            saved.dout,
            head_dim,
            range.clone(),
            None,
            1.0,
        );
        transpose_panel(drows, stride, dcolumns);
        let mut lse = [0.0; PANEL];
        lse[..queries].copy_from_slice(&saved.lse[range.clone()]);
        let mean = row_products(drows, stride, saved.out, head_dim, range.clone());
        let panel = QueryPanel {
            first,
            columns: head.blocks(columns),
            dcolumns: head.blocks(dcolumns),
            lse: load_queries(&lse),
            mean: load_queries(&mean),
        };
        sums.fill(0.0);

        let seen = head
            .keys_seen_by(first + PANEL - 1)
            .next_multiple_of(NARROW);
        for start in (0..seen).step_by(BLOCK) {
            let end = (start + BLOCK).min(seen);
            let half = head.seen_by_half(first, start..end);
            let (p, ds) = (
                &mut probabilities[..end - start],
                &mut dscores[..end - start],
            );
            let tiles = p.chunks_exact_mut(GROUP).zip(ds.chunks_exact_mut(GROUP));
            for (i, (p, ds)) in tiles.enumerate() {
                let key = start + i * GROUP;
                let (keys, values) = (&keys[key * stride..], &values[key * stride..]);
                if key < half {
                    panel.fill_tile::<S, 0>(head, key, keys, values, tile_stride, p, ds);
                } else {
                    panel.fill_tile::<S, { VECTORS / 2 }>(
                        head,
                        key,
                        keys,
                        values,
                        tile_stride,
                        p,
                        ds,
                    );
                }
            }
            // The first query of the panel that sees a key of the tile from `j` on.
            let from = |j: usize| match causal {
                true => (start + j).saturating_sub(first).min(queries),
                false => 0,
            };
            add_queries(
                &mut dvalues[start * stride..],
                p,
                drows,
                tile_stride,
                from,
                queries,
            );
            add_queries(
                &mut dkeys[start * stride..],
                ds,
                rows,
                tile_stride,
                from,
                queries,
            );
            add_keys(
                sums,
                queries,
                ds,
                &keys[start * stride..],
                tile_stride,
                |q| head.keys_seen_by(first + q).clamp(start, end) - start,
            );
        }
        gradients.write(head, 0, range, sums, scale, turned);
    }
    gradients.write(head, 1, 0..seq, dkeys, 1.0, turned);
    gradients.write(head, 2, 0..seq, dvalues, 1.0, turned);
}

/// State of a panel of queries about its rows of scores.
struct QueryPanel<'a> {
    first: usize,
    /// The queries, transposed.
    columns: &'a [[Queries; BLOCK_COLUMNS]],
    /// The gradients of their outputs, transposed.
    dcolumns: &'a [[Queries; BLOCK_COLUMNS]],
    lse: PanelRegisters,
    /// `rowsum(dO * O)`: the mean of the gradients of the probabilities.
    mean: PanelRegisters,
}

impl QueryPanel<'_> {
    /// `p = exp(s - lse)`, zero where masked, and `ds = p * (dp - mean)` for the keys and
    /// values from `key` on.
    #[inline(always)]
    fn fill_tile<const S: usize, const FROM: usize>(
        &self,
        head: &Head<'_>,
        key: usize,
        keys: &[f32],
        values: &[f32],
        stride: Stride<S>,
        p: &mut [Queries],
        ds: &mut [Queries],
    ) {
        let zero = Register::splat(0.0);
        let tile = score_tile::<S, FROM>(keys, stride, self.columns);
        let masked = head.hides_some(key, self.first);
        for (r, p) in p.iter_mut().enumerate() {
            let mut s = tile[r];
            if masked {
                s = mask_scores(s, key + r, self.first, head.seq, head.causal);
            }
            for v in FROM..VECTORS {
                let exponent = zero.fast_min(s[v] - self.lse[v]);
                store(&mut p[v * LANES..], exp_nonpositive(exponent));
            }
        }
        let tile = score_tile::<S, FROM>(values, stride, self.dcolumns);
        for (r, (p, ds)) in p.iter().zip(ds).enumerate() {
            let p = load_queries(p);
            for v in FROM..VECTORS {
                store(&mut ds[v * LANES..], p[v] * (tile[r][v] - self.mean[v]));
            }
        }
    }
}

impl HeadGradients<'_> {
    /// Writes the `which`-th gradient (queries, keys, values) of some tokens, in
    /// `packed` from row 0 on, times `scale`; those of queries and keys are rotated
    /// back. `turned` is room for one row.
    #[inline(always)]
    fn write(
        &mut self,
        head: &Head<'_>,
        which: usize,
        tokens: Range<usize>,
        packed: &[f32],
        scale: f32,
        turned: &mut [f32],
    ) {
        let rotary = head.rotary.filter(|_| which < 2);
        let turned = &mut turned[..head.head_dim];
        for (token, row) in tokens.zip(packed.chunks_exact(head.stride())) {
            let start = token * self.stride + self.columns[which];
            let out = &mut self.data[start..][..head.head_dim];
            let x = &row[..head.head_dim];
            let target = if self.accumulate {
                &mut *turned
            } else {
                &mut *out
            };
            match rotary {
                Some(rotary) => rotate_back(x, rotary.at(token, x.len() / 2), scale, target),
                None => scale_row(x, scale, target),
            }
            if self.accumulate {
                out.iter_mut().zip(&*turned).for_each(|(y, x)| *y += *x);
            }
        }
    }
}
