//! Tiles of 1 KiB, the order in which the kernels read operands.
//!
//! A tile holds 16 rows of A, or 16 columns of B, and 32 numbers of each along the summed
//! dimension. A word is a pair of them, the first one in the lower half. Words lie `[row][pair]`
//! for A, `[pair][column]` for B. Numbers too small for a normal f32 are zero. The tiles of 16 rows
//! or columns follow each other: a panel.

use super::rounding::rounded;

/// Rows of A and columns of B in a tile.
pub const SIDE: usize = 16;
/// Numbers of a tile along the summed dimension.
pub const DEPTH: usize = 32;
/// Words of a tile, two numbers each.
pub const WORDS: usize = SIDE * DEPTH / 2;

/// Words of packed operands, on the boundaries of cache lines, which tile loads need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Tile(pub [u32; WORDS]);

impl Tile {
    /// No numbers.
    pub const ZERO: Self = Self([0; WORDS]);
}

/// Packed operands of some rows of C over a stretch of the summed dimension. Panels of 16 rows or
/// columns come in pairs, of which the last may lie beyond the edge and is zero.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Panels of A.
    pub rows: &'a [Tile],
    /// Panels of B.
    pub columns: &'a [Tile],
    /// Tiles of a panel, at least one.
    pub steps: usize,
}

/// Writes the product to rows of C, each of `n` numbers, or adds it to them.
pub type Kernel = fn(packed: Packed<'_>, c: &mut [f32], n: usize, add: bool);

/// The numbers of a tile where they are stored: `lines` lines of `width` numbers.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Numbers from the first one on.
    pub values: &'a [f32],
    /// Numbers from one line to the next.
    pub stride: usize,
    /// Lines, at most 16 along k, 32 otherwise.
    pub lines: usize,
    /// Numbers of a line, at most 32 along k, 16 otherwise.
    pub width: usize,
    /// A line is a row of A or a column of B, else a step along the summed dimension.
    pub along_k: bool,
    /// Of A, else of B.
    pub is_left: bool,
}

impl Source<'_> {
    /// Returns whether no number of the tile lies beyond an edge.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        [self.lines, self.width]
            == match self.along_k {
                true => [SIDE, DEPTH],
                false => [DEPTH, SIDE],
            }
    }

    /// Packs the tile, word by word.
    pub fn pack(&self, Tile(words): &mut Tile) {
        let number = |row, depth| {
            let (line, place) = match self.along_k {
                true => (row, depth),
                false => (depth, row),
            };
            match line < self.lines && place < self.width {
                true => packed(self.values[line * self.stride + place]),
                false => 0,
            }
        };
        for (i, word) in words.iter_mut().enumerate() {
            let (row, pair) = match self.is_left {
                true => (i / SIDE, i % SIDE),
                false => (i % SIDE, i / SIDE),
            };
            *word = number(row, 2 * pair) >> 16 | number(row, 2 * pair + 1);
        }
    }
}

/// A number in bf16, in the upper half; one too small for a normal f32 is zero, as the units take it.
pub fn packed(x: f32) -> u32 {
    match x.is_subnormal() {
        true => 0.0_f32.copysign(x),
        false => rounded(x),
    }
    .to_bits()
}
