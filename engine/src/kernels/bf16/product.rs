//! Products of bf16 operands: the loops around the kernel of a unit.
//!
//! Operands are rounded and packed a stretch of the summed dimension at a time, B whole, A by
//! blocks of rows that stay in the second-level cache. A kernel then adds their product to C, or,
//! over the first stretch, writes it.
//!
//! Every sum runs over the summed dimension in an order that depends on the unit and on k alone,
//! whichever rows of C are computed together: the same bits for any number of threads.

use super::{
    pack::Operand,
    tile::{DEPTH, Kernel, Packed, SIDE, Tile},
    unit::Unit,
};
use crate::kernels::matmul::{Layout, Product};
use rayon::prelude::*;
use std::cell::RefCell;

/// Longest stretch of the summed dimension: two panels of A and two of B, together 64 KiB, are what a
/// kernel works on at once.
const STRETCH: usize = 512;
/// Rows of A that are packed at once, 128 KiB at most.
const ROWS: usize = 128;
/// Fewest multiplications for which other threads are woken.
const MULTIPLICATIONS_FOR_THREADS: usize = 1 << 24;

thread_local! {
    /// Packed A and B, kept by each thread from one product to the next.
    static PACKED: [RefCell<Vec<Tile>>; 2] = const { [const { RefCell::new(Vec::new()) }; 2] };
}

/// `C = op(A) op(B)` or `C += ...`, operands rounded to bf16.
///
/// # Panics
/// If a slice does not have the number of elements that `product` says, or the processor does not
/// have the unit.
#[track_caller]
pub fn product(unit: Unit, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
    let Some(kernel) = unit.kernel() else {
        panic!("bf16: this processor has no {}", unit.name());
    };
    run(kernel, product, a, b, c, parallel);
}

#[track_caller]
fn run(kernel: Kernel, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
    product.check([a.len(), b.len(), c.len()]);
    let Product { m, k, n, .. } = product;
    if c.is_empty() {
        return;
    }
    if k == 0 && !product.accumulate {
        c.fill(0.0);
    }
    let operand = |values, extent, along_k, is_left| Operand {
        values,
        extent,
        k,
        along_k,
        is_left,
    };
    let a = operand(a, m, product.layout != Layout::Tn, true);
    let b = operand(b, n, product.layout == Layout::Nt, false);
    let several = parallel && m * n * k >= MULTIPLICATIONS_FOR_THREADS;
    let threads = if several {
        rayon::current_num_threads()
    } else {
        1
    };
    // Pairs of panels for a thread, and rows of C.
    let pairs = n.div_ceil(2 * SIDE).div_ceil(threads);
    let rows = m.div_ceil(threads).next_multiple_of(2 * SIDE).min(ROWS);
    // Stretches about equally long.
    let stretch = k
        .div_ceil(k.div_ceil(STRETCH).max(1))
        .next_multiple_of(DEPTH)
        .max(DEPTH);
    // Taken out, since this thread may begin another product while it waits for others.
    let mut columns = PACKED.with(|[_, b]| b.take());
    for start in (0..k).step_by(stretch) {
        let depth = start..k.min(start + stretch);
        let steps = depth.len().div_ceil(DEPTH);
        let columns = at_least(&mut columns, n, steps);
        each_chunk(columns, 2 * pairs * steps, several, |(i, tiles)| {
            b.pack(2 * pairs * SIDE * i, depth.clone(), tiles);
        });
        let columns = &*columns;
        let add = product.accumulate || start > 0;
        each_chunk(c, rows * n, several, |(i, c)| {
            PACKED.with(|[buffer, _]| {
                let buffer = &mut *buffer.borrow_mut();
                let packed = at_least(buffer, c.len() / n, steps);
                a.pack(rows * i, depth.clone(), packed);
                let packed = Packed {
                    rows: packed,
                    columns,
                    steps,
                };
                kernel(packed, c, n, add);
            });
        });
    }
    PACKED.with(|[_, b]| b.replace(columns));
}

/// The tiles for `extent` rows or columns, in pairs of panels, from a buffer that grows when it has
/// to.
fn at_least(buffer: &mut Vec<Tile>, extent: usize, steps: usize) -> &mut [Tile] {
    let tiles = 2 * extent.div_ceil(2 * SIDE) * steps;
    if buffer.len() < tiles {
        buffer.resize(tiles, Tile::ZERO);
    }
    &mut buffer[..tiles]
}

/// Calls `job` with each chunk and its index, on all threads or on this one.
fn each_chunk<T: Send>(
    values: &mut [T],
    size: usize,
    several: bool,
    job: impl Fn((usize, &mut [T])) + Send + Sync,
) {
    match several {
        true => values.par_chunks_mut(size).enumerate().for_each(job),
        false => values.chunks_mut(size).enumerate().for_each(job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::{bf16::rounded, matmul::matmul},
        skipped::skipped,
    };
    use proptest::prelude::*;

    /// The product in plain arithmetic.
    fn plain(packed: Packed<'_>, c: &mut [f32], n: usize, add: bool) {
        let numbers = |Tile(words): &Tile, word: usize| {
            [words[word] << 16, words[word] & 0xffff_0000].map(f32::from_bits)
        };
        let panel = |tiles: &[Tile], i: usize| -> Vec<Tile> {
            tiles[i / SIDE * packed.steps..][..packed.steps].to_vec()
        };
        for (i, c) in c.chunks_mut(n).enumerate() {
            for (j, c) in c.iter_mut().enumerate() {
                let tiles = panel(packed.rows, i)
                    .into_iter()
                    .zip(panel(packed.columns, j));
                let mut sum = if add { *c } else { 0.0 };
                for (a, b) in tiles {
                    for pair in 0..SIDE {
                        let a = numbers(&a, i % SIDE * SIDE + pair);
                        let b = numbers(&b, pair * SIDE + j % SIDE);
                        sum += a[0] * b[0] + a[1] * b[1];
                    }
                }
                *c = sum;
            }
        }
    }

    /// Numbers of -1 to 1 without a pattern, so that sums stay small.
    fn values(seed: u32, len: usize) -> Vec<f32> {
        let mixed = |i: u32| {
            let x = i.wrapping_mul(0x9e37_79b9) ^ seed.wrapping_mul(0x85eb_ca6b);
            (x ^ x >> 15).wrapping_mul(0x2c1b_3c6d)
        };
        (0..len as u32)
            .map(|i| (mixed(i) >> 8) as f32 / (1 << 23) as f32 - 1.0)
            .collect()
    }

    fn compare(product: Product, kernel: Kernel, parallel: bool) {
        let Product { m, k, n, .. } = product;
        let (a, b, mut start) = (values(1, m * k), values(2, k * n), values(3, m * n));
        if !product.accumulate {
            start.fill(f32::NAN);
        }
        let round = |x: &[f32]| x.iter().map(|&x| rounded(x)).collect::<Vec<_>>();
        let (mut expected, mut got) = (start.clone(), start);
        matmul(product, &round(&a), &round(&b), &mut expected);
        run(kernel, product, &a, &b, &mut got, parallel);
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = (got - expected).abs();
            assert!(
                error <= 1e-6 * (k as f32 + 1.0),
                "{product:?} at {i}: {got}, expected {expected}"
            );
        }
    }

    fn products([m, k, n]: [usize; 3]) -> impl Iterator<Item = Product> {
        [Layout::Nn, Layout::Nt, Layout::Tn]
            .into_iter()
            .flat_map(move |layout| {
                let product = Product::new(layout, m, k, n);
                [product, product.accumulating()]
            })
    }

    proptest! {
        #[test]
        fn the_loops_compute_the_product_in_every_layout(m in 1..70_usize, k in 0..80_usize, n in 1..70_usize) {
            for product in products([m, k, n]) {
                compare(product, plain, false);
            }
        }
    }

    #[test]
    fn blocks_of_rows_and_stretches_of_k_are_put_together() {
        for extents in [[300, 40, 3], [3, 1100, 40], [130, 513, 33]] {
            for product in products(extents) {
                compare(product, plain, false);
            }
        }
    }

    /// Odd shapes, edges of every kind and those of a training step.
    fn unit_computes_the_product_of_the_rounded_operands(unit: Unit) {
        let Some(kernel) = unit.kernel() else {
            return skipped(format_args!("this processor has no {}", unit.name()));
        };
        for extents in [
            [1, 1, 1],
            [16, 32, 16],
            [33, 65, 31],
            [31, 33, 32],
            [32, 64, 33],
            [7, 1025, 49],
            [130, 513, 95],
            [512, 128, 384],
            [100, 344, 128],
            [64, 2000, 48],
            [688, 1024, 128],
        ] {
            for product in products(extents) {
                compare(product, kernel, false);
                compare(product, kernel, true);
            }
        }
        for m in 1..=34 {
            for n in 1..=34 {
                compare(
                    Product::new(Layout::Nn, m, 5, n).accumulating(),
                    kernel,
                    false,
                );
            }
        }
    }

    #[test]
    fn the_tile_unit_computes_the_product_of_the_rounded_operands() {
        unit_computes_the_product_of_the_rounded_operands(Unit::Tiles);
    }

    #[test]
    fn the_vector_unit_computes_the_product_of_the_rounded_operands() {
        unit_computes_the_product_of_the_rounded_operands(Unit::Vectors);
    }

    #[test]
    fn what_is_not_finite_reaches_its_row_or_column_and_no_other() {
        let (m, k, n) = (20, 40, 20);
        let (mut a, mut b) = (vec![1.0; m * k], vec![1.0; k * n]);
        a[3 * k + 5] = f32::NAN;
        b[7 * n + 2] = f32::INFINITY;
        let units = Unit::ALL.into_iter().filter_map(Unit::kernel);
        for kernel in std::iter::once(plain as Kernel).chain(units) {
            let mut c = vec![0.0; m * n];
            let product = Product::new(Layout::Nn, m, k, n);
            run(kernel, product, &a, &b, &mut c, false);
            for (index, c) in c.into_iter().enumerate() {
                match (index / n, index % n) {
                    (3, _) => assert!(c.is_nan(), "{index}"),
                    (_, 2) => assert_eq!(c, f32::INFINITY, "{index}"),
                    _ => assert_eq!(c, 40.0, "{index}"),
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let kernels = Unit::ALL.into_iter().filter_map(Unit::kernel);
        let kernels = kernels.chain([plain as Kernel]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        let pool = pool.expect("three threads");
        for kernel in kernels {
            for product in products([300, 700, 310]) {
                let (a, b) = (values(1, 300 * 700), values(2, 700 * 310));
                let mut c = [values(3, 300 * 310), values(3, 300 * 310)];
                for (c, parallel) in c.iter_mut().zip([false, true]) {
                    pool.install(|| run(kernel, product, &a, &b, c, parallel));
                }
                assert!(c[0] == c[1]);
            }
        }
    }
}
