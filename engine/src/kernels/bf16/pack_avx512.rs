//! Packing of a tile in registers of AVX-512.

use super::{
    pack::{SIDE, Source, Tile},
    rounding::{KEPT, QUIET},
};
use std::arch::x86_64::*;

/// Returns whether this processor has AVX-512 for numbers of 16 bits.
#[inline(always)]
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Packs a tile, with the bits of the plain packing.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn pack(source: &Source<'_>, Tile(words): &mut Tile) {
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
        let mask = ((1_u32 << present) - 1) as __mmask16;
        let from = values.as_ptr().wrapping_add(line * stride + place);
        // SAFETY: only the `present` numbers are read, which lie before `needed`.
        unsafe { _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, from)) }
    };
    // No `from_fn` for vectors: what lacks the instructions cannot have a closure with them inlined.
    let mut words_of_lines = [_mm512_setzero_si512(); SIDE];
    for (i, words) in words_of_lines.iter_mut().enumerate() {
        *words = match source.along_k {
            true => pairs_of(load(i, 0), load(i, SIDE)),
            false => pairs(load(2 * i, 0), load(2 * i + 1, 0)),
        };
    }
    let lines = match source.along_k == source.is_left {
        true => words_of_lines,
        false => transposed(words_of_lines),
    };
    for (to, line) in words.as_chunks_mut::<SIDE>().0.iter_mut().zip(lines) {
        // SAFETY: `to` has 16 words.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), line) };
    }
}

/// `rounded` in the upper half of each word; the lower half is anything.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rounded(bits: __m512i) -> __m512i {
    let set = |x: u32| _mm512_set1_epi32(x.cast_signed());
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), set(1));
    let half = _mm512_add_epi32(odd, set(0x7fff));
    let x = _mm512_castsi512_ps(bits);
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
    // Added to the bits: the half, for a NaN nothing.
    let near = _mm512_mask_add_epi32(bits, !nan, bits, half);
    _mm512_mask_or_epi32(near, nan, near, set(QUIET))
}

/// Pairs of neighbours among 32 numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs_of(first: __m512i, second: __m512i) -> __m512i {
    // The odd ones of 64 halves.
    let index: [u16; 32] = std::array::from_fn(|i| 2 * i as u16 + 1);
    // SAFETY: both are 64 bytes of plain numbers.
    let index = unsafe { std::mem::transmute::<[u16; 32], __m512i>(index) };
    _mm512_permutex2var_epi16(rounded(first), index, rounded(second))
}

/// Pairs of the numbers in the same lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs(low: __m512i, high: __m512i) -> __m512i {
    let kept = _mm512_set1_epi32(KEPT.cast_signed());
    let low = _mm512_srli_epi32::<16>(rounded(low));
    // (high & kept) | low, in one instruction.
    _mm512_ternarylogic_epi32::<0xf8>(low, rounded(high), kept)
}

/// The transpose of 16 x 16 words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
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
