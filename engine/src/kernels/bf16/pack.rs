//! Operands in the order in which the kernels read them: tiles of 1 KiB.
//!
//! A tile holds 16 rows of A, or 16 columns of B, and 32 numbers of each along the summed
//! dimension. A word is a pair of them, the first one in the lower half. Words lie `[row][pair]`
//! for A, `[pair][column]` for B. Numbers too small for a normal f32 are zero. The tiles of 16 rows or columns follow each other: a panel.

use super::{pack_avx512, rounding::rounded};
use std::ops::Range;

/// Rows of A and columns of B in a tile.
pub const SIDE: usize = 16;
/// Numbers of a tile along the summed dimension.
pub const DEPTH: usize = 32;
/// Words of a tile, two numbers each.
pub const WORDS: usize = SIDE * DEPTH / 2;

/// Words of packed operands, on the boundaries of cache lines that tile loads want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Tile(pub [u32; WORDS]);

impl Tile {
    /// No numbers.
    pub const ZERO: Self = Self([0; WORDS]);
}

/// A or B.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The numbers.
    pub values: &'a [f32],
    /// Rows of A or columns of B.
    pub extent: usize,
    /// Length of the summed dimension.
    pub k: usize,
    /// Stored `[extent, k]`, else `[k, extent]`.
    pub along_k: bool,
    /// A, else B.
    pub is_left: bool,
}

impl Operand<'_> {
    /// Packs panels from row or column `first` on, over a stretch of the summed dimension, and
    /// fills `tiles` with them. What lies beyond the edges is zero.
    pub fn pack(&self, first: usize, depth: Range<usize>, tiles: &mut [Tile]) {
        let steps = depth.len().div_ceil(DEPTH);
        let panels = tiles.len() / steps;
        let mut pack = |panel: usize, step: usize| {
            let source = self.source(first + panel * SIDE, depth.start + step * DEPTH);
            source.pack(&mut tiles[panel * steps + step]);
        };
        // In the order of memory.
        if self.along_k {
            for panel in 0..panels {
                (0..steps).for_each(|step| pack(panel, step));
            }
        } else {
            for step in 0..steps {
                (0..panels).for_each(|panel| pack(panel, step));
            }
        }
    }

    /// The numbers of the tile that begins at this row or column and this depth.
    #[inline(always)]
    fn source(&self, row: usize, depth: usize) -> Source<'_> {
        let row = row.min(self.extent);
        let rows = SIDE.min(self.extent - row);
        let depths = DEPTH.min(self.k - depth);
        let (start, stride, [lines, width]) = match self.along_k {
            true => (row * self.k + depth, self.k, [rows, depths]),
            false => (depth * self.extent + row, self.extent, [depths, rows]),
        };
        Source {
            values: &self.values[start.min(self.values.len())..],
            stride,
            lines: if width == 0 { 0 } else { lines },
            width,
            along_k: self.along_k,
            is_left: self.is_left,
        }
    }
}

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

    #[inline(always)]
    fn pack(&self, tile: &mut Tile) {
        match pack_avx512::is_available() {
            // SAFETY: the processor has the instructions.
            true => unsafe { pack_avx512::pack(self, tile) },
            false => self.pack_plainly(tile),
        }
    }

    /// [`Self::pack`] word by word.
    fn pack_plainly(&self, Tile(words): &mut Tile) {
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
fn packed(x: f32) -> u32 {
    match x.is_subnormal() {
        true => 0.0_f32.copysign(x),
        false => rounded(x),
    }
    .to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped::skipped;
    use proptest::prelude::*;

    /// Any bits, special values and ties among them.
    fn values(len: usize) -> Vec<f32> {
        let special = [
            0x7f80_0001,
            0xffff_ffff,
            0x7f7f_ffff,
            0x0000_7fff,
            0x3f80_8000,
            0x3f81_8000,
        ];
        (0..len as u32)
            .map(|i| match i % 11 {
                0 => special[i as usize / 11 % special.len()],
                _ => i.wrapping_mul(0x9e37_79b9),
            })
            .map(f32::from_bits)
            .collect()
    }

    /// The four ways to store and to pack an operand.
    fn operands(values: &[f32], extent: usize, k: usize) -> [Operand<'_>; 4] {
        [(false, false), (false, true), (true, false), (true, true)].map(|(along_k, is_left)| {
            Operand {
                values,
                extent,
                k,
                along_k,
                is_left,
            }
        })
    }

    proptest! {
        #[test]
        fn tiles_hold_the_rounded_numbers_in_their_places(extent in 1..50_usize, k in 1..100_usize, start in 0..3_usize) {
            let values = values(extent * k);
            let depth = (start * DEPTH).min(k - 1)..k;
            let steps = depth.len().div_ceil(DEPTH);
            for operand in operands(&values, extent, k) {
                let panels = extent.div_ceil(SIDE) + 1;
                let mut tiles = vec![Tile([7; WORDS]); panels * steps];
                operand.pack(0, depth.clone(), &mut tiles);
                for row in 0..panels * SIDE {
                    for at in 0..steps * DEPTH {
                        let place = [row % SIDE, at % DEPTH / 2];
                        let [line, word] = if operand.is_left { place } else { [place[1], place[0]] };
                        let tile = &tiles[row / SIDE * steps + at / DEPTH];
                        let got = tile.0[line * SIDE + word] >> (16 * (at % 2)) & 0xffff;
                        let at = depth.start + at;
                        let stored = if operand.along_k { row * k + at } else { at * extent + row };
                        let want = match row < extent && at < k {
                            true => packed(values[stored]) >> 16,
                            false => 0,
                        };
                        prop_assert_eq!(got, want, "{} {}", row, at);
                    }
                }
            }
        }
    }

    #[test]
    fn vectors_pack_the_same_bits() {
        if !pack_avx512::is_available() {
            return skipped("this processor has no AVX512-BF16");
        }
        let values = values(50 * 100);
        for extent in 1..50 {
            for k in (1..100).step_by(3) {
                for operand in operands(&values[..extent * k], extent, k) {
                    for row in (0..extent + SIDE).step_by(SIDE) {
                        for depth in (0..k).step_by(DEPTH) {
                            let source = operand.source(row, depth);
                            let [mut plain, mut vectors] = [Tile::ZERO, Tile([7; WORDS])];
                            source.pack_plainly(&mut plain);
                            // SAFETY: the processor has the instructions.
                            unsafe { pack_avx512::pack(&source, &mut vectors) };
                            assert_eq!(plain, vectors, "{row} {depth} {operand:?}");
                        }
                    }
                }
            }
        }
    }
}
