//! Products of operands rounded to bf16, with sums in f32.

use super::{Backend, Job, Operand, Product, Work};
use crate::kernels::{
    bf16::{self, Unit, round},
    matmul::{matmul, matmul_parallel},
};
use std::cell::RefCell;

/// The CPU, with the operands of jobs rounded to bf16, to nearest and ties to even.
///
/// A product of two bf16 numbers is exact in f32 unless it overflows or underflows. The sums are those
/// of the [`Unit`] for such numbers where the processor has one that is faster than f32, else those of
/// the product of matrices in f32: they agree up to the order of sums and to what a unit takes for
/// zero, operands and sums below the smallest normal number.
/// Products of scratch matrices, which are those of the connections' coefficients, stay in f32, as
/// do element-wise functions. Same bits for any number of threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bf16Backend;

thread_local! {
    /// Rounded operands, kept by each thread from one product to the next.
    static ROUNDED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

impl Backend for Bf16Backend {
    fn name(&self) -> &str {
        match Unit::chosen() {
            Some(Unit::Tiles) => "cpu, bf16 products on its tile unit",
            Some(Unit::Vectors) => "cpu, bf16 products on its vector unit",
            None => "cpu, bf16 products",
        }
    }

    #[track_caller]
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        for job in jobs.iter_mut().flatten() {
            match job.work {
                Work::Product(product) => {
                    let [a, b, ..] = job.operands.each_ref().map(Operand::values);
                    let [c, _] = &mut job.targets;
                    rounded_product(Unit::chosen(), product, [a, b], c.values(), parallel);
                }
                _ => job.compute(parallel),
            }
        }
    }

    #[track_caller]
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
        match parallel {
            true => matmul_parallel(product, a, b, c),
            false => matmul(product, a, b, c),
        }
    }
}

/// The product on this unit; without one, in f32.
#[track_caller]
fn rounded_product(
    unit: Option<Unit>,
    product: Product,
    [a, b]: [&[f32]; 2],
    c: &mut [f32],
    parallel: bool,
) {
    if let Some(unit) = unit {
        return bf16::product(unit, product, a, b, c, parallel);
    }
    // Taken out, since this thread may begin another product while it waits for others.
    let mut rounded = ROUNDED.take();
    for (rounded, values) in rounded.iter_mut().zip([a, b]) {
        if rounded.len() < values.len() {
            rounded.resize(values.len(), 0.0);
        }
        round(values, &mut rounded[..values.len()]);
    }
    let [rounded_a, rounded_b] = &rounded;
    let (a, b) = (&rounded_a[..a.len()], &rounded_b[..b.len()]);
    match parallel {
        true => matmul_parallel(product, a, b, c),
        false => matmul(product, a, b, c),
    }
    ROUNDED.replace(rounded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backend::Layout, kernels::bf16::rounded};

    /// Element (i, j) of `op(A) op(B)` in f64, with the sum of the absolute values.
    fn exact(product: Product, a: &[f32], b: &[f32], i: usize, j: usize) -> [f64; 2] {
        let Product {
            layout, m, k, n, ..
        } = product;
        let term = |p: usize| {
            let (a, b) = match layout {
                Layout::Nn => (a[i * k + p], b[p * n + j]),
                Layout::Nt => (a[i * k + p], b[j * k + p]),
                Layout::Tn => (a[p * m + i], b[p * n + j]),
            };
            f64::from(rounded(a)) * f64::from(rounded(b))
        };
        let terms = (0..k).map(term);
        terms.fold([0.0; 2], |[sum, size], x| [sum + x, size + x.abs()])
    }

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.7 + seed).sin()).collect()
    }

    #[test]
    fn a_product_is_that_of_the_rounded_operands() {
        for layout in [Layout::Nn, Layout::Nt, Layout::Tn] {
            // The last of them is shared among threads.
            for (m, k, n) in [(1, 1, 1), (5, 33, 7), (37, 300, 43), (520, 256, 130)] {
                for product in [
                    Product::new(layout, m, k, n),
                    Product::new(layout, m, k, n).accumulating(),
                ] {
                    let [a, b] = [values(m * k, 0.1), values(k * n, 0.5)];
                    let before = values(m * n, 0.9);
                    let by = |unit, parallel| {
                        let mut c = before.clone();
                        rounded_product(unit, product, [&a, &b], &mut c, parallel);
                        c
                    };
                    let mut unrounded = before.clone();
                    matmul(product, &a, &b, &mut unrounded);
                    let mut chosen = before.clone();
                    let job = Job::new(product, &a[..], &b[..], &mut chosen[..]);
                    Bf16Backend.compute(&mut [Some(job)], false);
                    assert_eq!(chosen, by(Unit::chosen(), false));
                    for unit in [None, Unit::chosen()] {
                        let c = by(unit, false);
                        assert_ne!(c, unrounded, "{product:?}");
                        for index in (0..c.len()).step_by(1 + c.len() / 2000) {
                            let got = c[index];
                            let [mut want, size] = exact(product, &a, &b, index / n, index % n);
                            if product.accumulate {
                                want += f64::from(before[index]);
                            }
                            let off = (f64::from(got) - want).abs();
                            assert!(off <= 1e-6 * (size + 1.0), "{product:?} {index}: {off}");
                        }
                        assert_eq!(by(unit, true), c, "threads: {product:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_scratch_matrices_and_functions_stay_in_f32() {
        let product = Product::new(Layout::Nn, 5, 33, 7);
        let [a, b] = [values(5 * 33, 0.1), values(33 * 7, 0.5)];
        let (mut c, mut want) = (vec![0.0; 35], vec![0.0; 35]);
        Bf16Backend.matmul(product, &a, &b, &mut c, false);
        matmul(product, &a, &b, &mut want);
        assert_eq!(c, want);
        let (mut y, mut want) = (vec![0.0; a.len()], vec![0.0; a.len()]);
        let gelu = crate::backend::Function::Gelu;
        let mut job = Job::forward(gelu, (&a[..]).into(), (&mut want[..]).into());
        job.compute(false);
        let job = Job::forward(gelu, (&a[..]).into(), (&mut y[..]).into());
        Bf16Backend.compute(&mut [Some(job)], false);
        assert_eq!(y, want);
    }
}
