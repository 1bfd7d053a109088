//! Products by register tiles: the loops around the tile, which keep a panel of the right
//! operand in the first-level cache and its block in the second.

use std::cell::RefCell;
use std::ops::Range;

use super::tile::{self, HALF, MR, NR, NV};
use super::{Layout, Product, pack};
use crate::simd::register::{LANES, Register, load, load_partial};

/// Longest stretch of the summed dimension done at once: a panel of [`NR`] columns takes
/// 32 KiB with AVX-512, 16 KiB elsewhere. The sums of the stretches are added in C, which also keeps their rounding
/// errors small.
const DEPTH: usize = 256;
/// Most columns of the right operand packed at once: a block takes 1 MiB.
const COLUMNS: usize = 1024;
/// Rows of the left operand worked on at once, so that they are still in the second-level
/// cache when the next panel meets them.
const ROWS: usize = 128;
/// Up to this many rows of C a right operand that is stored by rows is read in place. With
/// AVX-512 that is 1.3 times as fast as packing it at 16 rows, 1.1 times at 64, slower
/// from about 256. Narrower tiles read it more often: with AVX2, packing wins from 16.
const FEW_ROWS: usize = if NR > 16 { 64 } else { 8 };

/// Buffers for packed operands, kept by each thread from one product to the next.
#[derive(Default)]
struct Scratch {
    left: Vec<f32>,
    right: Vec<Register>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes the rows of C that begin with row `first`.
pub(super) fn compute_rows(product: &Product, first: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    let Product { k, n, .. } = *product;
    SCRATCH.with_borrow_mut(|Scratch { left, right }| {
        for columns in blocks(0..n, COLUMNS, NR) {
            for depth in blocks(0..k, DEPTH, 8) {
                let right = Right::of(product, b, &depth, &columns, right);
                for rows in blocks(first..first + c.len() / n, ROWS, MR) {
                    let block = Block {
                        left: Left::of(product, a, &depth, &rows, left),
                        right: &right,
                        rows: rows.len(),
                        columns: columns.len(),
                        depth: depth.len(),
                        c_stride: n,
                        add: product.accumulate || depth.start > 0,
                    };
                    block.multiply(&mut c[(rows.start - first) * n + columns.start..]);
                }
            }
        }
    });
}

/// Cuts a range into the fewest parts of at most about `longest`, equally long but for
/// rounding up to a multiple of `multiple`.
fn blocks(
    range: Range<usize>,
    longest: usize,
    multiple: usize,
) -> impl Iterator<Item = Range<usize>> {
    let parts = range.len().div_ceil(longest);
    let length = range.len().div_ceil(parts).next_multiple_of(multiple);
    range
        .clone()
        .step_by(length)
        .map(move |start| start..range.end.min(start + length))
}

/// A block of the left operand.
enum Left<'a> {
    /// Stored by rows, `stride` apart.
    Rows { a: &'a [f32], stride: usize },
    /// Stored by columns, `stride` apart.
    Columns { a: &'a [f32], stride: usize },
    /// Packed into panels of [`MR`] rows.
    Panels(&'a [f32]),
}

impl<'a> Left<'a> {
    fn of(
        product: &Product,
        a: &'a [f32],
        depth: &Range<usize>,
        rows: &Range<usize>,
        buffer: &'a mut Vec<f32>,
    ) -> Self {
        let Product {
            layout, m, k, n, ..
        } = *product;
        if layout != Layout::Tn {
            return Self::Rows {
                a: &a[rows.start * k + depth.start..],
                stride: k,
            };
        }
        let a = &a[depth.start * m + rows.start..];
        // Read in place it is 8 % faster, but at strides of a power of two the lines that
        // a tile reads from share few sets of the caches and push each other out, which
        // matters where they are read again for the next panel.
        if m % 1024 != 0 || n <= NR {
            return Self::Columns { a, stride: m };
        }
        let length = rows.len().next_multiple_of(MR) * depth.len();
        let panels = at_least(buffer, length, 0.0);
        pack::left_columns(a, m, depth.len(), rows.len(), panels);
        Self::Panels(panels)
    }
}

/// A block of the right operand.
enum Right<'a> {
    /// Packed into panels of [`NR`] columns.
    Panels(&'a [Register]),
    /// Stored by rows, `stride` apart.
    Rows { b: &'a [f32], stride: usize },
}

impl<'a> Right<'a> {
    fn of(
        product: &Product,
        b: &'a [f32],
        depth: &Range<usize>,
        columns: &Range<usize>,
        buffer: &'a mut Vec<Register>,
    ) -> Self {
        let Product {
            layout, m, k, n, ..
        } = *product;
        let length = pack::right_len(depth.len(), columns.len());
        if layout == Layout::Nt {
            let panels = at_least(buffer, length, Register::splat(0.0));
            let b = &b[columns.start * k + depth.start..];
            pack::right_columns(b, k, depth.len(), columns.len(), panels);
            return Self::Panels(panels);
        }
        let b = &b[depth.start * n + columns.start..];
        // Read by few rows of tiles, it is not worth packing.
        if m <= FEW_ROWS {
            return Self::Rows { b, stride: n };
        }
        let panels = at_least(buffer, length, Register::splat(0.0));
        pack::right_rows(b, n, depth.len(), columns.len(), panels);
        Self::Panels(panels)
    }
}

/// The first `length` elements of a buffer that grows when it has to.
fn at_least<T: Clone>(buffer: &mut Vec<T>, length: usize, fill: T) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, fill);
    }
    &mut buffer[..length]
}

/// A part of a product that fits the caches.
struct Block<'a> {
    left: Left<'a>,
    right: &'a Right<'a>,
    rows: usize,
    columns: usize,
    depth: usize,
    c_stride: usize,
    add: bool,
}

impl Block<'_> {
    /// Writes the block to the rows of `c`, or adds it.
    fn multiply(&self, c: &mut [f32]) {
        // The panel of the right operand stays in the first-level cache while the rows
        // of the left one pass.
        for j in (0..self.columns).step_by(NR) {
            for i in (0..self.rows).step_by(MR) {
                let c = &mut c[i * self.c_stride + j..];
                match (self.rows - i).min(MR) {
                    1 => self.tile_of_rows::<1>(i, j, c),
                    2 => self.tile_of_rows::<2>(i, j, c),
                    3 => self.tile_of_rows::<3>(i, j, c),
                    4 => self.tile_of_rows::<4>(i, j, c),
                    5 => self.tile_of_rows::<5>(i, j, c),
                    6 => self.tile_of_rows::<6>(i, j, c),
                    7 => self.tile_of_rows::<7>(i, j, c),
                    _ => self.tile_of_rows::<8>(i, j, c),
                }
            }
        }
    }

    #[inline(always)]
    fn tile_of_rows<const R: usize>(&self, i: usize, j: usize, c: &mut [f32]) {
        let width = (self.columns - j).min(NR);
        if width > HALF {
            self.tile::<R, NV>(i, j, width, c);
        } else {
            self.tile::<R, { NV / 2 }>(i, j, width, c);
        }
    }

    #[inline(never)]
    fn tile<const R: usize, const V: usize>(
        &self,
        i: usize,
        j: usize,
        width: usize,
        c: &mut [f32],
    ) {
        match *self.right {
            Right::Panels(panels) => {
                let panel = &panels[j / LANES * self.depth..][..V * self.depth];
                self.tile_with::<R, V>(i, panel.as_chunks().0.iter().copied(), width, c);
            }
            Right::Rows { b, stride } => {
                let rows = b[j..].chunks(stride).take(self.depth);
                if width == V * LANES {
                    let steps = rows.map(|row| {
                        let row = &row[..V * LANES];
                        std::array::from_fn(|v| load(&row[v * LANES..]))
                    });
                    self.tile_with::<R, V>(i, steps, width, c);
                } else {
                    let steps = rows.map(|row| {
                        std::array::from_fn(|v| load_partial(&row[(v * LANES).min(width)..width]))
                    });
                    self.tile_with::<R, V>(i, steps, width, c);
                }
            }
        }
    }

    // The sums are written where they are made: where branches meet, they would have to
    // leave the registers.
    #[inline(always)]
    fn tile_with<const R: usize, const V: usize>(
        &self,
        i: usize,
        right: impl ExactSizeIterator<Item = [Register; V]>,
        width: usize,
        c: &mut [f32],
    ) {
        let write = |sums: tile::Tile<R, V>, c: &mut [f32]| {
            tile::write(&sums, c, self.c_stride, width, self.add)
        };
        match self.left {
            Left::Rows { a, stride } => {
                let rows = std::array::from_fn(|r| &a[(i + r) * stride..][..self.depth]);
                write(tile::of_rows(rows, right), c);
            }
            Left::Columns { a, stride } => write(tile::of_columns(&a[i..], stride, right), c),
            Left::Panels(panels) => {
                write(tile::of_columns(&panels[i * self.depth..], MR, right), c);
            }
        }
    }
}
