//! The forward pass of one head.

use super::head::{BLOCK, Head, take};
use super::pack::{pack_rows, scale_row, transpose_panel};
use super::tile::*;
use crate::simd::exp_nonpositive;
use crate::simd::register::{LANES, Register, store};

/// Floats of scratch that [`forward_head`] needs for packed rows of `stride` floats.
pub(super) fn scratch_floats(stride: usize, seq: usize) -> usize {
    let tokens = seq.next_multiple_of(NARROW);
    (2 * tokens + 2 * PANEL) * stride + BLOCK.min(tokens) * PANEL
}

/// `out = softmax(scale * q k^T + mask) v` of one head, and the logarithm of the sum
/// of exponentials of every row of scores, `lse` `[seq]`.
///
/// For a panel of queries at a time: the scores of a block of keys, transposed (the
/// queries along the lanes, so that maximum and sum are vertical), their
/// exponentials, and the weighted values. From block to block the running maximum
/// rescales what has been summed up so far (online softmax: Milakov and Gimelshein,
/// 2018; Dao et al., FlashAttention, 2022).
pub(super) fn forward_head(
    head: &Head<'_>,
    out: &mut [f32],
    layout: (usize, usize),
    lse: &mut [f32],
    scratch: &mut [f32],
) {
    // Usual widths have loops of their own.
    match head.stride() {
        8 => forward_rows::<8>(head, out, layout, lse, scratch),
        16 => forward_rows::<16>(head, out, layout, lse, scratch),
        32 => forward_rows::<32>(head, out, layout, lse, scratch),
        64 => forward_rows::<64>(head, out, layout, lse, scratch),
        _ => forward_rows::<0>(head, out, layout, lse, scratch),
    }
}

/// [`forward_head`] with packed rows of a stride that is known, or any where `S` is 0.
fn forward_rows<const S: usize>(
    head: &Head<'_>,
    out: &mut [f32],
    (out_stride, column): (usize, usize),
    lse: &mut [f32],
    mut scratch: &mut [f32],
) {
    let Head {
        seq,
        head_dim,
        rotary,
        ..
    } = *head;
    let tile_stride = Stride::<S>::new(head.stride());
    let stride = tile_stride.get();
    let tokens = seq.next_multiple_of(NARROW);
    let scratch = &mut scratch;
    let keys = take(scratch, tokens * stride);
    let values = take(scratch, tokens * stride);
    let rows = take(scratch, PANEL * stride);
    let columns = take(scratch, PANEL * stride).as_chunks_mut().0;
    let scores: &mut [Queries] = take(scratch, BLOCK.min(tokens) * PANEL).as_chunks_mut().0;

    pack_rows(keys, stride, head.keys, head_dim, 0..seq, rotary, 1.0);
    pack_rows(values, stride, head.values, head_dim, 0..seq, None, 1.0);

    for (panel, lse) in lse.chunks_mut(PANEL).enumerate() {
        let first = panel * PANEL;
        let queries = lse.len();
        let range = first..first + queries;
        pack_rows(
            rows,
            stride,
            head.queries,
            head_dim,
            range,
            rotary,
            head.scale,
        );
        transpose_panel(rows, stride, columns);
        let columns = head.blocks(columns);
        // From here on the rows of the panel hold its weighted values.
        let sums = &mut *rows;
        sums.fill(0.0);
        let seen = head
            .keys_seen_by(first + PANEL - 1)
            .next_multiple_of(NARROW);
        let mut max = [Register::splat(f32::NEG_INFINITY); VECTORS];
        let mut total = [Register::splat(0.0); VECTORS];

        for start in (0..seen).step_by(BLOCK) {
            let end = (start + BLOCK).min(seen);
            let half = head.seen_by_half(first, start..end);
            let scores = &mut scores[..end - start];
            let before = max;
            for (i, scores) in scores.chunks_exact_mut(GROUP).enumerate() {
                let key = start + i * GROUP;
                let keys = &keys[key * stride..];
                if key < half {
                    let tile = score_tile::<S, 0>(keys, tile_stride, columns);
                    store_scores::<0>(head, tile, key, first, scores, &mut max);
                } else {
                    let tile = score_tile::<S, { VECTORS / 2 }>(keys, tile_stride, columns);
                    store_scores::<{ VECTORS / 2 }>(head, tile, key, first, scores, &mut max);
                }
            }

            if start > 0 {
                let mut decay = [0.0; PANEL];
                for v in 0..VECTORS {
                    let factor = exp_nonpositive(before[v] - max[v]);
                    store(&mut decay[v * LANES..], factor);
                    total[v] *= factor;
                }
                for (sums, decay) in sums.chunks_exact_mut(stride).zip(decay) {
                    sums.iter_mut().for_each(|sum| *sum *= decay);
                }
            }
            let (both, second) = scores.split_at_mut(half - start);
            exponentials::<0>(both, &max, &mut total);
            exponentials::<{ VECTORS / 2 }>(second, &max, &mut total);
            add_keys(
                sums,
                queries,
                scores,
                &values[start * stride..],
                tile_stride,
                |q| head.keys_seen_by(first + q).clamp(start, end) - start,
            );
        }

        let mut inverse = [0.0; PANEL];
        let mut logarithms = [0.0; PANEL];
        for v in 0..VECTORS {
            let at = v * LANES..;
            store(&mut inverse[at.clone()], Register::splat(1.0) / total[v]);
            store(&mut logarithms[at], max[v] + total[v].ln());
        }
        lse.copy_from_slice(&logarithms[..queries]);
        let sums = sums.chunks_exact(stride).zip(inverse).take(queries);
        for (q, (sums, inverse)) in sums.enumerate() {
            let out = &mut out[(first + q) * out_stride + column..][..head_dim];
            scale_row(&sums[..head_dim], inverse, out);
        }
    }
}

/// Stores a tile of scores, masked, and raises the maxima of its queries.
#[inline(always)]
fn store_scores<const FROM: usize>(
    head: &Head<'_>,
    tile: [PanelRegisters; GROUP],
    key: usize,
    first: usize,
    scores: &mut [Queries],
    max: &mut PanelRegisters,
) {
    let masked = head.hides_some(key, first);
    for (r, scores) in scores.iter_mut().enumerate() {
        let mut s = tile[r];
        if masked {
            s = mask_scores(s, key + r, first, head.seq, head.causal);
        }
        for v in FROM..VECTORS {
            // A NaN score is skipped here and comes out of the exponential.
            max[v] = max[v].fast_max(s[v]);
            store(&mut scores[v * LANES..], s[v]);
        }
    }
}

/// Makes probabilities of scores, up to the factor `1 / total`.
#[inline(always)]
fn exponentials<const FROM: usize>(
    scores: &mut [Queries],
    max: &PanelRegisters,
    total: &mut PanelRegisters,
) {
    let mut sums = *total;
    for scores in scores {
        let s = load_queries(scores);
        for v in FROM..VECTORS {
            let p = exp_nonpositive(s[v] - max[v]);
            sums[v] += p;
            store(&mut scores[v * LANES..], p);
        }
    }
    *total = sums;
}
