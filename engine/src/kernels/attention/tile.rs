//! The register tiles of attention: three small matrix products over packed rows.
//!
//! The scores have the queries of a panel along their lanes, so that maximum and sum of
//! a row are vertical; the other products have the columns of the head along theirs.
//! Every step of an inner loop is broadcasts times loads, into sums that are independent
//! of one another: at least 8, which is what two FMA units with a latency of 4 cycles
//! need.

use std::array::from_fn;
use std::ops::Range;

use crate::simd::register::{LANES, Register, load, store};

/// Rows of a wide tile and vectors in a row, by the registers of the target: 32 of 16
/// `f32` with AVX-512, 16 of 8 with AVX, 32 of 4 with NEON, 16 of 4 elsewhere. The sums,
/// the vectors of one step and a broadcast have to fit.
const SHAPE: (usize, usize) = if cfg!(target_feature = "avx512f") {
    (8, 2)
} else if cfg!(target_feature = "avx") {
    (4, 2)
} else if cfg!(target_feature = "neon") {
    (4, 4)
} else {
    (2, 4)
};
/// Rows of a wide tile.
pub(super) const GROUP: usize = SHAPE.0;
/// Vectors in a row of a wide tile.
pub(super) const VECTORS: usize = SHAPE.1;
/// Rows of a narrow tile, one vector wide. Packed rows come in multiples of it.
pub(super) const NARROW: usize = 8;
/// Queries of a query panel: they lie along the lanes of the score tiles.
pub(super) const PANEL: usize = VECTORS * LANES;

/// Columns of a head that the scores take at a time. Packed rows are padded to it.
pub(super) const BLOCK_COLUMNS: usize = 8;

/// Floats from one packed row to the next: `S`, or any number where `S` is zero. Loops
/// over rows of a known stride need fewer checks and registers.
#[derive(Clone, Copy)]
pub(super) struct Stride<const S: usize>(usize);

impl<const S: usize> Stride<S> {
    /// The stride of rows that are `floats` apart, which `S` has to agree with.
    #[inline(always)]
    pub fn new(floats: usize) -> Self {
        assert!(S == 0 || S == floats, "the stride is {floats}, not {S}");
        Self(floats)
    }

    #[inline(always)]
    pub fn get(self) -> usize {
        if S == 0 { self.0 } else { S }
    }
}

/// One value for each query of a query panel.
pub(super) type Queries = [f32; PANEL];
/// Registers that hold one value for each query of a query panel.
pub(super) type PanelRegisters = [Register; VECTORS];

/// The registers of one value for each query.
#[inline(always)]
pub(super) fn load_queries(x: &Queries) -> PanelRegisters {
    from_fn(|v| load(&x[v * LANES..]))
}

/// Scores of [`GROUP`] keys (or values), `rows` `[GROUP, stride]`, against a query panel:
/// `tile[r][v] = sum over c of rows[r][c] * columns[c][v]`, with the columns in blocks.
///
/// Only the vectors `FROM..` of queries are computed, the others are zero.
#[inline(always)]
pub(super) fn score_tile<const S: usize, const FROM: usize>(
    rows: &[f32],
    stride: Stride<S>,
    columns: &[[Queries; BLOCK_COLUMNS]],
) -> [PanelRegisters; GROUP] {
    let zero = Register::splat(0.0);
    let mut tile = [[zero; VECTORS]; GROUP];
    for (block, columns) in columns.iter().enumerate() {
        // Arrays, so that the steps of a block need no bounds checks.
        let rows: [&[f32; BLOCK_COLUMNS]; GROUP] =
            from_fn(|r| group(rows, r * stride.get() + block * BLOCK_COLUMNS));
        for c in 0..BLOCK_COLUMNS {
            let column: PanelRegisters = from_fn(|v| match v >= FROM {
                true => load(&columns[c][v * LANES..]),
                false => zero,
            });
            for r in 0..GROUP {
                let weight = Register::splat(rows[r][c]);
                for v in FROM..VECTORS {
                    tile[r][v] = weight.mul_add(column[v], tile[r][v]);
                }
            }
        }
    }
    tile
}

/// `sums[q] += sum over the keys j < seen(last) of weights[j][q] * rows[j]` for the
/// queries of a panel, `queries` of them, where `last` is the last query of a tile: the
/// weights beyond what a query sees have to be zero up to there.
///
/// `sums` is `[PANEL, stride]`, `rows` `[keys, stride]`.
#[inline(always)]
pub(super) fn add_keys<const S: usize>(
    sums: &mut [f32],
    queries: usize,
    weights: &[Queries],
    rows: &[f32],
    stride: Stride<S>,
    seen: impl Fn(usize) -> usize,
) {
    for_tiles(stride.get(), queries, |q, column, wide| {
        let sums = &mut sums[q * stride.get() + column..];
        if wide {
            add_keys_tile::<S, GROUP, VECTORS>(
                sums,
                q,
                &weights[..seen(q + GROUP - 1)],
                rows,
                stride,
                column,
            );
        } else {
            add_keys_tile::<S, NARROW, 1>(
                sums,
                q,
                &weights[..seen(q + NARROW - 1)],
                rows,
                stride,
                column,
            );
        }
    });
}

/// [`add_keys`] for the `R` queries from `q` on and `N` vectors of their rows.
#[inline(always)]
fn add_keys_tile<const S: usize, const R: usize, const N: usize>(
    sums: &mut [f32],
    q: usize,
    weights: &[Queries],
    rows: &[f32],
    stride: Stride<S>,
    column: usize,
) {
    let weights = weights.iter().map(|weights| {
        let weights: &[f32; R] = group(weights, q);
        move |r: usize| weights[r]
    });
    add_tile::<S, R, N>(sums, rows, stride, column, weights);
}

/// `sums[j] += sum over the queries from(j) <= q < queries of weights[j][q] * rows[q]`
/// for some keys, where `j` is the first key of a tile: the weights of queries that do
/// not see a key have to be zero from there on.
///
/// `sums` is `[keys, stride]`, `rows` `[PANEL, stride]`.
#[inline(always)]
pub(super) fn add_queries<const S: usize>(
    sums: &mut [f32],
    weights: &[Queries],
    rows: &[f32],
    stride: Stride<S>,
    from: impl Fn(usize) -> usize,
    queries: usize,
) {
    for_tiles(stride.get(), weights.len(), |j, column, wide| {
        let seen = from(j)..queries;
        let rows = &rows[seen.start * stride.get()..];
        let sums = &mut sums[j * stride.get() + column..];
        if wide {
            add_queries_tile::<S, GROUP, VECTORS>(sums, &weights[j..], seen, rows, stride, column);
        } else {
            add_queries_tile::<S, NARROW, 1>(sums, &weights[j..], seen, rows, stride, column);
        }
    });
}

/// [`add_queries`] for the first `R` keys and `N` vectors of their rows.
#[inline(always)]
fn add_queries_tile<const S: usize, const R: usize, const N: usize>(
    sums: &mut [f32],
    weights: &[Queries],
    queries: Range<usize>,
    rows: &[f32],
    stride: Stride<S>,
    column: usize,
) {
    let weights: &[Queries; R] = weights[..R].try_into().expect("R keys");
    assert!(queries.end <= PANEL);
    let weights = queries.map(|q| move |r: usize| weights[r][q]);
    add_tile::<S, R, N>(sums, rows, stride, column, weights);
}

/// Calls `f(row, column, wide)` for the tiles that cover some rows of `stride` columns:
/// wide ones as far as they go, narrow ones for the last columns.
#[inline(always)]
fn for_tiles(stride: usize, rows: usize, mut f: impl FnMut(usize, usize, bool)) {
    let wide = stride / PANEL * PANEL;
    for column in (0..wide).step_by(PANEL) {
        for row in (0..rows).step_by(GROUP) {
            f(row, column, true);
        }
    }
    for column in (wide..stride).step_by(LANES) {
        for row in (0..rows).step_by(NARROW) {
            f(row, column, false);
        }
    }
}

/// `sums[r] += sum over t of weights(t)[r] * rows[t]`, for `N` vectors of `R` rows of
/// sums and of the rows from `column` on; `sums` begins there.
#[inline(always)]
fn add_tile<const S: usize, const R: usize, const N: usize>(
    sums: &mut [f32],
    rows: &[f32],
    stride: Stride<S>,
    column: usize,
    weights: impl Iterator<Item = impl Fn(usize) -> f32>,
) {
    let stride = stride.get();
    let mut tile: [[Register; N]; R] =
        from_fn(|r| from_fn(|n| load(&sums[r * stride + n * LANES..])));
    for (weight, row) in weights.zip(rows.chunks_exact(stride)) {
        let row = &row[column..column + N * LANES];
        let row: [Register; N] = from_fn(|n| load(&row[n * LANES..]));
        for r in 0..R {
            let weight = Register::splat(weight(r));
            for n in 0..N {
                tile[r][n] = weight.mul_add(row[n], tile[r][n]);
            }
        }
    }
    for r in 0..R {
        for n in 0..N {
            store(&mut sums[r * stride + n * LANES..], tile[r][n]);
        }
    }
}

/// The `K` elements of `x` from `first` on.
#[inline(always)]
pub(super) fn group<const K: usize>(x: &[f32], first: usize) -> &[f32; K] {
    x[first..first + K].try_into().expect("K elements")
}

/// Keeps the scores that count and makes the others minus infinity, so that their
/// probability is exactly zero: query `first_query + lane` sees the key if
/// `key < seq` and, in causal attention, `key <= query`.
#[inline(always)]
pub(super) fn mask_scores(
    scores: PanelRegisters,
    key: usize,
    first_query: usize,
    seq: usize,
    causal: bool,
) -> PanelRegisters {
    const LANE: Queries = {
        let mut lanes = [0.0; PANEL];
        let mut i = 0;
        while i < PANEL {
            lanes[i] = i as f32;
            i += 1;
        }
        lanes
    };
    let hidden = Register::splat(f32::NEG_INFINITY);
    if key >= seq {
        return [hidden; VECTORS];
    }
    if !causal || key <= first_query {
        return scores;
    }
    let first_seen = Register::splat((key - first_query) as f32);
    let lane = load_queries(&LANE);
    from_fn(|v| first_seen.simd_gt(lane[v]).select(hidden, scores[v]))
}
