//! Packing: the rows of one head, rotated, without gaps, and the transpose of a panel.

use std::array::from_fn;
use std::ops::Range;

use super::tile::{BLOCK_COLUMNS, PANEL, Queries, group};
use crate::kernels::rotary::{Rotary, rotate};
use crate::simd::register::{LANES, Register, load, load_partial, store, store_partial};
use wide::f32x8;

/// The columns of one head within rows of `stride` floats, a row for each token.
#[derive(Clone, Copy)]
pub(super) struct HeadRows<'a> {
    pub data: &'a [f32],
    pub stride: usize,
    pub column: usize,
}

impl<'a> HeadRows<'a> {
    #[inline(always)]
    pub fn token(&self, token: usize, head_dim: usize) -> &'a [f32] {
        &self.data[token * self.stride + self.column..][..head_dim]
    }
}

/// Packs some tokens in rows of `stride` floats, rotated and times `scale`. Columns
/// beyond `head_dim` and rows beyond the tokens are zero.
#[inline(always)]
pub(super) fn pack_rows(
    packed: &mut [f32],
    stride: usize,
    source: HeadRows<'_>,
    head_dim: usize,
    tokens: Range<usize>,
    rotary: Option<Rotary<'_>>,
    scale: f32,
) {
    let (present, absent) = packed.split_at_mut(tokens.len() * stride);
    for (token, row) in tokens.zip(present.chunks_exact_mut(stride)) {
        let x = source.token(token, head_dim);
        let (row, padding) = row.split_at_mut(head_dim);
        match rotary {
            Some(rotary) => rotate(x, rotary.at(token, head_dim / 2), scale, row),
            None => scale_row(x, scale, row),
        }
        if !padding.is_empty() {
            padding.fill(0.0);
        }
    }
    absent.fill(0.0);
}

/// `out = scale * x`.
#[inline(always)]
pub(super) fn scale_row(x: &[f32], scale: f32, out: &mut [f32]) {
    let scale = Register::splat(scale);
    let (vectors, rest) = x.as_chunks::<LANES>();
    let (out_vectors, out_rest) = out.as_chunks_mut::<LANES>();
    for (out, x) in out_vectors.iter_mut().zip(vectors) {
        store(out, load(x) * scale);
    }
    if !rest.is_empty() {
        store_partial(out_rest, load_partial(rest) * scale);
    }
}

/// Side of the square blocks in which a panel is transposed.
const SIDE: usize = BLOCK_COLUMNS;

/// Transposes a query panel: `rows` is `[PANEL, stride]`, `columns` `[stride]`.
#[inline(always)]
pub(super) fn transpose_panel(rows: &[f32], stride: usize, columns: &mut [Queries]) {
    for (block, columns) in columns.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
        for q in (0..PANEL).step_by(SIDE) {
            let side = from_fn(|i| f32x8::new(*group(rows, (q + i) * stride + block * SIDE)));
            for (column, turned) in columns.iter_mut().zip(f32x8::transpose(side)) {
                column[q..q + SIDE].copy_from_slice(turned.as_array());
            }
        }
    }
}

/// Dot products of the rows of a panel, `rows` `[PANEL, stride]`, with some tokens.
#[inline(always)]
pub(super) fn row_products(
    rows: &[f32],
    stride: usize,
    other: HeadRows<'_>,
    head_dim: usize,
    tokens: Range<usize>,
) -> Queries {
    let mut products = [0.0; PANEL];
    let present = tokens.len();
    for (block, products) in products.chunks_exact_mut(SIDE).enumerate() {
        let mut sums = [f32x8::splat(0.0); SIDE];
        for (q, sum) in (block * SIDE..present).zip(&mut sums) {
            let other = other.token(tokens.start + q, head_dim);
            let row = &rows[q * stride..][..head_dim];
            for (a, b) in row.chunks(SIDE).zip(other.chunks(SIDE)) {
                *sum = load_side(a).mul_add(load_side(b), *sum);
            }
        }
        let [a, b, c, d, e, f, g, h] = f32x8::transpose(sums);
        let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
        products.copy_from_slice(sum.as_array());
    }
    products
}

/// At most [`SIDE`] floats, the rest filled with zero.
#[inline(always)]
fn load_side(x: &[f32]) -> f32x8 {
    match <&[f32; SIDE]>::try_from(x) {
        Ok(whole) => f32x8::new(*whole),
        Err(_) => {
            let mut lanes = [0.0; SIDE];
            lanes.iter_mut().zip(x).for_each(|(lane, x)| *lane = *x);
            f32x8::new(lanes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_a_panel_swaps_queries_and_columns() {
        for stride in [16, 32, 48] {
            let rows: Vec<f32> = (0..PANEL * stride).map(|i| i as f32).collect();
            let mut columns = vec![[f32::NAN; PANEL]; stride];
            transpose_panel(&rows, stride, &mut columns);
            for (c, column) in columns.iter().enumerate() {
                for (q, x) in column.iter().enumerate() {
                    assert_eq!(*x, rows[q * stride + c]);
                }
            }
        }
    }

    #[test]
    fn products_of_rows_are_dot_products_at_every_width() {
        for head_dim in [1usize, 3, 8, 13, 16, 40] {
            let stride = head_dim.next_multiple_of(LANES);
            let (seq, tokens) = (PANEL + 5, 2..PANEL - 1);
            let data: Vec<f32> = (0..seq * head_dim).map(|i| (i % 7) as f32).collect();
            let rows: Vec<f32> = (0..PANEL * stride).map(|i| (i % 5) as f32).collect();
            let other = HeadRows {
                data: &data,
                stride: head_dim,
                column: 0,
            };
            let products = row_products(&rows, stride, other, head_dim, tokens.clone());
            for (q, product) in products.iter().enumerate() {
                let expected: f32 = (0..head_dim)
                    .map(|c| rows[q * stride + c] * data[(q + tokens.start) * head_dim + c])
                    .sum();
                let expected = if q < tokens.len() { expected } else { 0.0 };
                assert_eq!(*product, expected, "query {q}, head_dim {head_dim}");
            }
        }
    }
}
