//! The loops of the predictors, and of the gradient that gathers at the streams of a row.

use super::padded;
use crate::connection::streams::rows::{
    Chunk, FEW_REGISTERS, Tail, Whole, for_chunks, initial, matrix, stream, sum_lanes, vectors,
};
use engine::simd::register::{LANES, Register, load, store};

/// Floats in a cache line.
const LINE: usize = 16;

/// Prefetches row `row`, of `len` elements, into the cache, if there is one.
///
/// The streams of a row are walked side by side, an order in which the processor does not
/// foresee that the next row will be wanted.
#[inline(always)]
pub(super) fn prefetch_row(x: &[f32], len: usize, row: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in x
        .chunks_exact(len)
        .nth(row)
        .into_iter()
        .flat_map(|x| x.chunks(LINE))
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing, for an address inside of a slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, len, row);
}

/// For `S` streams `x`: `|x - mean|^2` and the products of `x - mean` with `C` columns.
///
/// `columns` is `[chunk, C, LANES]`, 0 beyond `d`.
#[inline(always)]
pub(super) fn project<const C: usize, const S: usize>(
    d: usize,
    streams: &[f32],
    mean: [f32; S],
    columns: &[f32],
) -> ([f32; S], [[f32; C]; S]) {
    let mut squares = [Register::ZERO; S];
    let mut sums = [[Register::ZERO; C]; S];
    for_chunks!(d, |chunk, at| {
        let columns = &columns[at * C..][..C * LANES];
        let x: [Register; S] =
            vectors(|s| chunk.load(stream(streams, s, d), at) - chunk.splat(mean[s]));
        for s in 0..S {
            squares[s] = x[s].mul_add(x[s], squares[s]);
        }
        for c in 0..C {
            let column = load(&columns[c * LANES..]);
            for s in 0..S {
                sums[s][c] = x[s].mul_add(column, sums[s][c]);
            }
        }
    });
    let mut square_sums = [0.0; S];
    let mut products = [[0.0; C]; S];
    sum_lanes(&squares, |s, sum| square_sums[s] = sum);
    sum_lanes(sums.as_flattened(), |index, sum| {
        products[index / C][index % C] = sum;
    });
    (square_sums, products)
}

/// Adds `sum_s (x[s] - mean[s]) weights[s, c]` to column `c` of `columns`, in the groups
/// of `C` columns that [`project`] takes.
#[inline(always)]
pub(super) fn outer<const C: usize>(
    d: usize,
    streams: &[f32],
    mean: &[f32],
    weights: &[f32],
    columns: &mut [f32],
) {
    let count = weights.len() / mean.len();
    let group_len = C * padded(d);
    for (group, columns) in columns.chunks_exact_mut(group_len).enumerate() {
        // Two sums of each column, where there are registers for them.
        let paired = match FEW_REGISTERS && C > 6 {
            true => 0,
            false => d - d % (2 * LANES),
        };
        for at in (0..paired).step_by(2 * LANES) {
            let columns = &mut columns[at * C..][..2 * C * LANES];
            let mut sums: [[Register; C]; 2] =
                matrix(|half, c| load(&columns[(half * C + c) * LANES..]));
            let rows = streams.chunks_exact(d).zip(weights.chunks_exact(count));
            for ((x, weights), &mean) in rows.zip(mean) {
                let weights = &weights[group * C..][..C];
                let centred: [Register; 2] =
                    vectors(|half| load(&x[at + half * LANES..]) - Register::splat(mean));
                for c in 0..C {
                    let weight = Register::splat(weights[c]);
                    for half in 0..2 {
                        sums[half][c] = centred[half].mul_add(weight, sums[half][c]);
                    }
                }
            }
            for (half, sums) in sums.iter().enumerate() {
                for (c, &sum) in sums.iter().enumerate() {
                    store(&mut columns[(half * C + c) * LANES..], sum);
                }
            }
        }
        let (rest, offset) = (d - paired, paired);
        for_chunks!(rest, |chunk, at| {
            let columns = &mut columns[(offset + at) * C..][..C * LANES];
            let mut sums: [Register; C] = vectors(|c| load(&columns[c * LANES..]));
            let rows = streams.chunks_exact(d).zip(weights.chunks_exact(count));
            for ((x, weights), &mean) in rows.zip(mean) {
                let weights = &weights[group * C..][..C];
                let centred = chunk.load(x, offset + at) - chunk.splat(mean);
                for c in 0..C {
                    sums[c] = centred.mul_add(Register::splat(weights[c]), sums[c]);
                }
            }
            for c in 0..C {
                store(&mut columns[c * LANES..], sums[c]);
            }
        });
    }
}

/// The gradients that flow back into the streams of one row.
#[derive(Clone, Copy)]
pub(super) struct Inflow<'a> {
    /// The gradient that the state has from elsewhere, `[rate, d]`.
    pub state: Option<&'a [f32]>,
    /// The gradient of the read `h0` `[d]` and one `alpha` `[rate, rate + 1]`.
    pub hidden: Option<(&'a [f32], &'a [f32])>,
    /// The way through the coefficients.
    pub predicted: Option<Predicted<'a>>,
}

/// The gradient that reaches the streams of one row through their coefficients:
/// `sum_c weights[s, c] columns[c] - slope[s] (x[s] - mean[s])`.
#[derive(Clone, Copy)]
pub(super) struct Predicted<'a> {
    pub streams: &'a [f32],
    pub mean: &'a [f32],
    pub columns: &'a [f32],
    pub weights: &'a [f32],
    pub slope: &'a [f32],
}

/// `out (+)=` all of `inflow`, over the streams of a row (a multiple of `T`).
#[inline(always)]
pub(super) fn collect<const C: usize, const T: usize>(
    d: usize,
    rate: usize,
    out: &mut [f32],
    inflow: Inflow,
    accumulate: bool,
) {
    for (tile, out) in out.chunks_exact_mut(T * d).enumerate() {
        let first = tile * T;
        let state = inflow.state.map(|state| &state[first * d..][..T * d]);
        let hidden = inflow.hidden.map(|(hidden, alpha)| {
            let read: [Register; T] = vectors(|t| Register::splat(alpha[(first + t) * (rate + 1)]));
            (&hidden[..d], read)
        });
        let Some(predicted) = inflow.predicted else {
            for_chunks!(d, |chunk, at| {
                let sums = received(chunk, out, state, hidden, d, at, accumulate);
                for t in 0..T {
                    chunk.store(&mut out[t * d..][..d], at, sums[t]);
                }
            });
            continue;
        };
        let streams = &predicted.streams[first * d..][..T * d];
        let slope: [Register; T] = vectors(|t| Register::splat(predicted.slope[first + t]));
        let group_len = C * padded(d);
        for (group, columns) in predicted.columns.chunks_exact(group_len).enumerate() {
            let weights: [[Register; C]; T] = matrix(|t, c| {
                Register::splat(predicted.weights[(first + t) * (rate + 2) + group * C + c])
            });
            for_chunks!(d, |chunk, at| {
                let mut sums: [Register; T] = if group == 0 {
                    let sums = received(chunk, out, state, hidden, d, at, accumulate);
                    vectors(|t| {
                        let centred = chunk.load(stream(streams, t, d), at)
                            - chunk.splat(predicted.mean[first + t]);
                        slope[t].mul_neg_add(centred, sums[t])
                    })
                } else {
                    initial::<T>(chunk, out, d, at, true)
                };
                let columns = &columns[at * C..][..C * LANES];
                for c in 0..C {
                    let column = load(&columns[c * LANES..]);
                    for t in 0..T {
                        sums[t] = weights[t][c].mul_add(column, sums[t]);
                    }
                }
                for t in 0..T {
                    chunk.store(&mut out[t * d..][..d], at, sums[t]);
                }
            });
        }
    }
}

/// The gradient of `T` streams from later and from the read.
#[inline(always)]
fn received<const T: usize>(
    chunk: impl Chunk,
    out: &[f32],
    state: Option<&[f32]>,
    hidden: Option<(&[f32], [Register; T])>,
    d: usize,
    at: usize,
    accumulate: bool,
) -> [Register; T] {
    let mut sums = initial::<T>(chunk, out, d, at, accumulate);
    if let Some(state) = state {
        for t in 0..T {
            sums[t] += chunk.load(stream(state, t, d), at);
        }
    }
    if let Some((hidden, read)) = hidden {
        let hidden = chunk.load(hidden, at);
        for t in 0..T {
            sums[t] = read[t].mul_add(hidden, sums[t]);
        }
    }
    sums
}
