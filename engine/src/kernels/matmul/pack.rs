//! Copies of operands in the order in which the tiles read them.
//!
//! The right operand goes into panels of [`NR`] columns, in each of which a step of the
//! summed dimension is a few vectors in a row; a last panel of at most [`HALF`] columns has half
//! as many. Missing columns are zeros.

use bytemuck::cast_slice_mut;
use wide::f32x8;

use super::tile::{HALF, MR, NR, NV};
use crate::simd::register::{LANES, Register, load_partial};

/// Vectors that hold `depth` steps of `columns` columns.
pub fn right_len(depth: usize, columns: usize) -> usize {
    depth * vectors(columns)
}

/// Vectors that hold a step of `columns` columns.
fn vectors(columns: usize) -> usize {
    columns.div_ceil(HALF) * (NV / 2)
}

/// Packs a right operand that is stored `[k, n]`: `b` begins at the first element wanted,
/// its rows are `stride` apart.
pub fn right_rows(b: &[f32], stride: usize, depth: usize, columns: usize, panels: &mut [Register]) {
    let mut rest = panels;
    for j in (0..columns).step_by(NR) {
        let width = (columns - j).min(NR);
        let vectors = vectors(width);
        let panel;
        (panel, rest) = rest.split_at_mut(depth * vectors);
        for (row, step) in b[j..].chunks(stride).zip(panel.chunks_exact_mut(vectors)) {
            if width == NR {
                cast_slice_mut(step).copy_from_slice(&row[..NR]);
            } else {
                for (i, v) in step.iter_mut().enumerate() {
                    *v = load_partial(&row[(i * LANES).min(width)..width]);
                }
            }
        }
    }
}

/// Packs a right operand that is stored transposed, `[n, k]`: `b` begins at the first
/// element wanted, the columns of the operand are `stride` apart.
pub fn right_columns(
    b: &[f32],
    stride: usize,
    depth: usize,
    columns: usize,
    panels: &mut [Register],
) {
    let mut rest = panels;
    for j in (0..columns).step_by(NR) {
        let width = (columns - j).min(NR);
        let vectors = vectors(width);
        let panel;
        (panel, rest) = rest.split_at_mut(depth * vectors);
        let panel: &mut [f32] = cast_slice_mut(panel);
        for i in (0..vectors * LANES).step_by(8) {
            let present = width.saturating_sub(i).min(8);
            let b = if present > 0 {
                &b[(j + i) * stride..]
            } else {
                b
            };
            transpose(b, stride, present, depth, &mut panel[i..], vectors * LANES);
        }
    }
}

/// Writes `depth` steps of 8 columns to `to`, whose steps are `to_stride` apart. The first
/// `present` columns come from `from`, the others are zero.
fn transpose(
    from: &[f32],
    from_stride: usize,
    present: usize,
    depth: usize,
    to: &mut [f32],
    to_stride: usize,
) {
    let column = |c: usize| &from[c * from_stride..][..depth];
    let columns: [&[f32]; 8] = std::array::from_fn(|c| if c < present { column(c) } else { &[] });
    let mut steps = to.chunks_mut(to_stride);
    let whole = if present == 8 { depth / 8 * 8 } else { 0 };
    for p in (0..whole).step_by(8) {
        let block =
            columns.map(|column| f32x8::new(column[p..p + 8].try_into().expect("8 elements")));
        // In this order: the zip stops at the last row without taking another step.
        for (row, step) in f32x8::transpose(block).iter().zip(&mut steps) {
            step[..8].copy_from_slice(row.as_array());
        }
    }
    for (p, step) in (whole..depth).zip(steps) {
        for (x, column) in step[..8].iter_mut().zip(columns) {
            *x = column.get(p).copied().unwrap_or(0.0);
        }
    }
}

/// Packs `rows` rows of a left operand that is stored transposed, `[k, m]`, into panels of
/// [`MR`] rows: `a` begins at the first element wanted, its steps are `stride` apart. The
/// places of missing rows in the last panel are left as they are.
pub fn left_columns(a: &[f32], stride: usize, depth: usize, rows: usize, panels: &mut [f32]) {
    for (i, panel) in (0..rows)
        .step_by(MR)
        .zip(panels.chunks_exact_mut(depth * MR))
    {
        let count = (rows - i).min(MR);
        for (from, to) in a[i..].chunks(stride).zip(panel.chunks_exact_mut(MR)) {
            to[..count].copy_from_slice(&from[..count]);
        }
    }
}
