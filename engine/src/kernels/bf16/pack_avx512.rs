//! Packing of a tile in registers, rounded by the instructions of AVX512-BF16.

use super::tile::{SIDE, Source, Tile};
use std::arch::x86_64::*;

/// Returns whether this processor has the instructions.
#[inline(always)]
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16")
}

/// Packs a tile, with the bits of the plain packing.
#[target_feature(enable = "avx512bw,avx512bf16")]
pub fn pack(source: &Source<'_>, tile: &mut Tile) {
    match source.is_whole() {
        true => pack_lines::<true>(source, tile),
        false => pack_lines::<false>(source, tile),
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512bf16")]
fn pack_lines<const WHOLE: bool>(source: &Source<'_>, Tile(words): &mut Tile) {
    let Source {
        values,
        stride,
        lines,
        width,
        ..
    } = *source;
    let needed = lines.checked_sub(1).map_or(0, |last| last * stride + width);
    assert!(values.len() >= needed, "pack: {source:?} ends too soon");
    // Sixteen numbers of a line from `place` on, zero beyond its end.
    let load = |line: usize, place: usize| {
        let present = match line < lines {
            true => width.saturating_sub(place).min(SIDE),
            false => 0,
        };
        let mask = match WHOLE {
            true => u16::MAX,
            false => ((1_u32 << present) - 1) as u16,
        };
        let from = values.as_ptr().wrapping_add(line * stride + place);
        // SAFETY: only the `present` numbers are read, all where the tile is whole. They lie before
        // `needed`.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    };
    // No `from_fn`: a function without the instructions cannot have a closure with them inlined.
    let mut pairs = [_mm512_setzero_si512(); SIDE];
    for (i, pairs) in pairs.iter_mut().enumerate() {
        *pairs = match source.along_k {
            true => rounded(load(i, 0), load(i, SIDE)),
            false => interleaved(rounded(load(2 * i, 0), load(2 * i + 1, 0))),
        };
    }
    if source.along_k != source.is_left {
        pairs = transposed(pairs);
    }
    for (to, pairs) in words.as_chunks_mut::<SIDE>().0.iter_mut().zip(pairs) {
        // SAFETY: `to` has 16 words.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs) };
    }
}

/// 32 numbers in bf16, those of `first` before those of `second`.
#[inline]
#[target_feature(enable = "avx512bw,avx512bf16")]
fn rounded(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both are 64 bytes of plain numbers.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first)) }
}

/// Each number of the first half, then the one at its place in the second.
#[inline]
#[target_feature(enable = "avx512bw,avx512bf16")]
fn interleaved(halves: __m512i) -> __m512i {
    let places: [u16; 2 * SIDE] = std::array::from_fn(|i| (i / 2 + i % 2 * SIDE) as u16);
    // SAFETY: both are 64 bytes of plain numbers.
    let places = unsafe { std::mem::transmute::<[u16; 2 * SIDE], __m512i>(places) };
    _mm512_permutexvar_epi16(places, halves)
}

/// The transpose of 16 x 16 words.
#[inline]
#[target_feature(enable = "avx512bw,avx512bf16")]
fn transposed(x: [__m512i; SIDE]) -> [__m512i; SIDE] {
    let [mut y, mut z] = [x, x];
    for i in (0..SIDE).step_by(2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    // Then quarter q of vector `i + c` holds column `4 q + c` of rows `i .. i + 4`.
    for i in (0..SIDE).step_by(4) {
        z[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        z[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        z[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        z[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    // The even quarters of two vectors and the odd ones, among 8 rows, then among all.
    for i in [0, 1, 2, 3, 8, 9, 10, 11] {
        y[i] = _mm512_shuffle_i32x4::<0x88>(z[i], z[i + 4]);
        y[i + 4] = _mm512_shuffle_i32x4::<0xdd>(z[i], z[i + 4]);
    }
    for i in 0..SIDE / 2 {
        z[i] = _mm512_shuffle_i32x4::<0x88>(y[i], y[i + 8]);
        z[i + 8] = _mm512_shuffle_i32x4::<0xdd>(y[i], y[i + 8]);
    }
    z
}
