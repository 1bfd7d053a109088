//! Packing of operands into tiles.

#[cfg(target_arch = "x86_64")]
use super::pack_avx512;
use super::tile::{DEPTH, SIDE, Source, Tile};
use std::ops::Range;

/// An operand, A or B, as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Numbers of the matrix.
    pub values: &'a [f32],
    /// Rows of A or columns of B.
    pub extent: usize,
    /// Length of the summed dimension.
    pub k: usize,
    /// `true` if stored `[extent, k]`, `false` if `[k, extent]`.
    pub along_k: bool,
    /// `true` for A, `false` for B.
    pub is_left: bool,
}

impl Operand<'_> {
    /// Packs panels from row or column `first` on, over a stretch of the summed dimension, and
    /// fills `tiles` with them. What lies beyond the edges is zero. A stretch is not empty, and ends
    /// where a tile does or the dimension.
    pub fn pack(&self, first: usize, depth: Range<usize>, tiles: &mut [Tile]) {
        debug_assert!(!depth.is_empty() && depth.end <= self.k);
        debug_assert!(depth.end == self.k || depth.len().is_multiple_of(DEPTH));
        let steps = depth.len().div_ceil(DEPTH);
        let panels = tiles.len() / steps;
        let mut tile = |panel: usize, step: usize| {
            let source = self.source(first + panel * SIDE, depth.start + step * DEPTH);
            pack(&source, &mut tiles[panel * steps + step]);
        };
        // In the order of memory.
        if self.along_k {
            for panel in 0..panels {
                (0..steps).for_each(|step| tile(panel, step));
            }
        } else {
            for step in 0..steps {
                (0..panels).for_each(|panel| tile(panel, step));
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

/// Packs a tile by the best way that the processor has.
#[inline(always)]
fn pack(source: &Source<'_>, tile: &mut Tile) {
    #[cfg(target_arch = "x86_64")]
    if pack_avx512::is_available() {
        // SAFETY: the processor has the instructions.
        return unsafe { pack_avx512::pack(source, tile) };
    }
    source.pack(tile);
}

#[cfg(test)]
mod tests {
    use super::{
        super::tile::{WORDS, packed},
        *,
    };
    #[cfg(target_arch = "x86_64")]
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
    #[cfg(target_arch = "x86_64")]
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
                            source.pack(&mut plain);
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
