//! The inner loops: linear combinations, scalar products and rank-one sums over a few
//! streams at a time, small enough to stay in registers and the first-level cache.

#![allow(
    clippy::needless_range_loop,
    reason = "the loops over streams and columns index several arrays at once"
)]

use engine::simd::register::{LANES, Register, load, load_partial, store, store_partial};
use wide::bytemuck::cast;
use wide::f32x8;

/// True if the target has 16 vector registers, not 32.
pub(in crate::connection) const FEW_REGISTERS: bool = cfg!(not(any(
    target_feature = "avx512f",
    target_feature = "neon"
)));

/// The elements of a stream that one step of a loop treats.
pub(in crate::connection) trait Chunk: Copy {
    fn load(self, x: &[f32], at: usize) -> Register;
    fn store(self, x: &mut [f32], at: usize, value: Register);
    /// `value` in the lanes of the chunk, 0 beyond.
    fn splat(self, value: f32) -> Register;
}

/// A full vector.
#[derive(Clone, Copy)]
pub(in crate::connection) struct Whole;

impl Chunk for Whole {
    #[inline(always)]
    fn load(self, x: &[f32], at: usize) -> Register {
        load(&x[at..])
    }

    #[inline(always)]
    fn store(self, x: &mut [f32], at: usize, value: Register) {
        store(&mut x[at..], value);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Register {
        Register::splat(value)
    }
}

/// The last elements of a stream, fewer than a vector.
#[derive(Clone, Copy)]
pub(in crate::connection) struct Tail(pub(in crate::connection) usize);

impl Chunk for Tail {
    #[inline(always)]
    fn load(self, x: &[f32], at: usize) -> Register {
        load_partial(&x[at..][..self.0])
    }

    #[inline(always)]
    fn store(self, x: &mut [f32], at: usize, value: Register) {
        store_partial(&mut x[at..][..self.0], value);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Register {
        let lanes = [value; LANES];
        load_partial(&lanes[..self.0])
    }
}

/// Runs the body for every chunk of `0..d`: compiled once for whole vectors and once for
/// the tail.
macro_rules! for_chunks {
    ($d:expr, |$chunk:ident, $at:ident| $body:block) => {{
        let d: usize = $d;
        let whole = d - d % LANES;
        let mut $at = 0;
        while $at < whole {
            let $chunk = Whole;
            $body
            $at += LANES;
        }
        if $at < d {
            let $chunk = Tail(d - $at);
            $body
        }
    }};
}
pub(in crate::connection) use for_chunks;

/// An array of vectors. `std::array::from_fn` is not always inlined, and a call for a few
/// instructions in an inner loop costs more than they do.
#[inline(always)]
pub(in crate::connection) fn vectors<const N: usize>(
    mut vector: impl FnMut(usize) -> Register,
) -> [Register; N] {
    let mut vectors = [Register::ZERO; N];
    for (index, slot) in vectors.iter_mut().enumerate() {
        *slot = vector(index);
    }
    vectors
}

/// Likewise, an array of arrays.
#[inline(always)]
pub(in crate::connection) fn matrix<const M: usize, const N: usize>(
    mut vector: impl FnMut(usize, usize) -> Register,
) -> [[Register; N]; M] {
    let mut matrix = [[Register::ZERO; N]; M];
    for (row, slots) in matrix.iter_mut().enumerate() {
        *slots = vectors(|index| vector(row, index));
    }
    matrix
}

/// Stream `index` of contiguous streams.
#[inline(always)]
pub(in crate::connection) fn stream(x: &[f32], index: usize, d: usize) -> &[f32] {
    &x[index * d..][..d]
}

/// The sums of the lanes of each vector, eight vectors at a time.
#[inline(always)]
pub(in crate::connection) fn sum_lanes(vectors: &[Register], mut put: impl FnMut(usize, f32)) {
    for (group, vectors) in vectors.chunks(8).enumerate() {
        let mut halves = [f32x8::ZERO; 8];
        for (half, &vector) in halves.iter_mut().zip(vectors) {
            *half = eight_lanes(vector);
        }
        let [a, b, c, d, e, f, g, h] = f32x8::transpose(halves);
        let sums = (((a + e) + (c + g)) + ((b + f) + (d + h))).to_array();
        for i in 0..vectors.len() {
            put(group * 8 + i, sums[i]);
        }
    }
}

/// Eight numbers with the sum of the lanes of a vector.
#[inline(always)]
fn eight_lanes(vector: Register) -> f32x8 {
    const VECTORS: usize = 8usize.div_ceil(LANES);
    let mut vectors = [Register::ZERO; VECTORS];
    vectors[0] = vector;
    let eights: [f32x8; VECTORS * LANES / 8] = cast(vectors);
    eights
        .into_iter()
        .reduce(|a, b| a + b)
        .expect("eight lanes")
}

/// A stream that goes into every combination with a weight of its own.
pub(in crate::connection) type Extra<'a> = Option<(&'a [f32], fn(usize) -> f32)>;

/// No such stream.
pub(in crate::connection) const NO_EXTRA: Extra<'static> = None;

/// `out[t] (+)= sum_m coefficient(m, t) source[m] + extra_coefficient(t) extra` over the
/// streams of `out` (a multiple of `T`) and `source` (a multiple of `K`).
#[inline(always)]
pub(in crate::connection) fn combine<const K: usize, const T: usize>(
    d: usize,
    out: &mut [f32],
    source: &[f32],
    coefficient: impl Fn(usize, usize) -> f32,
    extra: Option<(&[f32], impl Fn(usize) -> f32)>,
    accumulate: bool,
) {
    for (tile, out) in out.chunks_exact_mut(T * d).enumerate() {
        for (part, source) in source.chunks_exact(K * d).enumerate() {
            let weights: [[Register; T]; K] =
                matrix(|m, t| Register::splat(coefficient(part * K + m, tile * T + t)));
            let add = accumulate || part > 0;
            match &extra {
                Some((extra, extra_coefficient)) if part == 0 => {
                    let extra = &extra[..d];
                    let extra_weights: [Register; T] =
                        vectors(|t| Register::splat(extra_coefficient(tile * T + t)));
                    for_chunks!(d, |chunk, at| {
                        let x = chunk.load(extra, at);
                        let start = initial::<T>(chunk, out, d, at, add);
                        let sums = vectors(|t| extra_weights[t].mul_add(x, start[t]));
                        combine_chunk(chunk, out, source, d, at, &weights, sums);
                    });
                }
                _ => for_chunks!(d, |chunk, at| {
                    let sums = initial::<T>(chunk, out, d, at, add);
                    combine_chunk(chunk, out, source, d, at, &weights, sums);
                }),
            }
        }
    }
}

/// `out[i] += values[i]`.
#[inline(always)]
pub(in crate::connection) fn add<const J: usize>(out: &mut [f32], values: [f32; J]) {
    for (slot, value) in out[..J].iter_mut().zip(values) {
        *slot += value;
    }
}

/// The start of a sum.
#[inline(always)]
pub(in crate::connection) fn initial<const T: usize>(
    chunk: impl Chunk,
    out: &[f32],
    d: usize,
    at: usize,
    add: bool,
) -> [Register; T] {
    if add {
        vectors(|t| chunk.load(stream(out, t, d), at))
    } else {
        [Register::ZERO; T]
    }
}

#[inline(always)]
fn combine_chunk<const K: usize, const T: usize>(
    chunk: impl Chunk,
    out: &mut [f32],
    source: &[f32],
    d: usize,
    at: usize,
    weights: &[[Register; T]; K],
    mut sums: [Register; T],
) {
    for m in 0..K {
        let x = chunk.load(stream(source, m, d), at);
        for t in 0..T {
            sums[t] = weights[m][t].mul_add(x, sums[t]);
        }
    }
    for t in 0..T {
        chunk.store(&mut out[t * d..][..d], at, sums[t]);
    }
}

/// Calls `put(i, j, [<a[i], b[j]>, <a[i], b[j + 1]>, ...])` until all streams of `a` (a
/// multiple of `I`) have met all of `b` (a multiple of `J`).
///
/// The products come `J` at a time so that they can be added to contiguous memory: one by
/// one, the compiler makes scatters of them, which are slow.
#[inline(always)]
pub(in crate::connection) fn contract<const I: usize, const J: usize>(
    d: usize,
    a: &[f32],
    b: &[f32],
    put: impl FnMut(usize, usize, [f32; J]),
) {
    // Sixteen sums would leave no register for what is multiplied.
    match FEW_REGISTERS && I == 4 && J == 4 {
        true => contract_tiles::<2, J>(d, a, b, put),
        false => contract_tiles::<I, J>(d, a, b, put),
    }
}

#[inline(always)]
fn contract_tiles<const I: usize, const J: usize>(
    d: usize,
    a: &[f32],
    b: &[f32],
    mut put: impl FnMut(usize, usize, [f32; J]),
) {
    for (tile_a, a) in a.chunks_exact(I * d).enumerate() {
        for (tile_b, b) in b.chunks_exact(J * d).enumerate() {
            let mut sums = [[Register::ZERO; J]; I];
            for_chunks!(d, |chunk, at| {
                let right: [Register; J] = vectors(|j| chunk.load(stream(b, j, d), at));
                for i in 0..I {
                    let left = chunk.load(stream(a, i, d), at);
                    for j in 0..J {
                        sums[i][j] = left.mul_add(right[j], sums[i][j]);
                    }
                }
            });
            let mut products = [[0.0; J]; I];
            sum_lanes(sums.as_flattened(), |index, sum| {
                products[index / J][index % J] = sum;
            });
            for (i, products) in products.into_iter().enumerate() {
                put(tile_a * I + i, tile_b * J, products);
            }
        }
    }
}

/// The sums of `S` streams.
#[inline(always)]
pub(in crate::connection) fn stream_sums<const S: usize>(d: usize, streams: &[f32]) -> [f32; S] {
    let mut sums = [Register::ZERO; S];
    for_chunks!(d, |chunk, at| {
        for s in 0..S {
            sums[s] += chunk.load(stream(streams, s, d), at);
        }
    });
    let mut out = [0.0; S];
    sum_lanes(&sums, |s, sum| out[s] = sum);
    out
}
