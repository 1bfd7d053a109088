use rayon::prelude::*;

use super::{Backend, Job};
use crate::kernels::matmul::{Product, matmul, matmul_parallel};

/// The processor that the program runs on. Same bits for any number of threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    #[track_caller]
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
        if parallel {
            matmul_parallel(product, a, b, c);
        } else {
            matmul(product, a, b, c);
        }
    }

    #[track_caller]
    fn matmul_batch(
        &self,
        product: Product,
        batch: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        parallel: bool,
    ) {
        let job = Job {
            product,
            batch,
            a: a.into(),
            b: b.into(),
            c,
        };
        job.check();
        let c = job.c;
        let sizes = product.shapes().map(|[rows, columns]| rows * columns);
        let one = |(i, c): (usize, &mut [f32])| {
            let a = &a[i * sizes[0]..][..sizes[0]];
            let b = &b[i * sizes[1]..][..sizes[1]];
            matmul(product, a, b, c);
        };
        if c.is_empty() {
            // No products, or nothing in them.
        } else if parallel {
            c.par_chunks_mut(sizes[2]).enumerate().for_each(one);
        } else {
            c.chunks_mut(sizes[2]).enumerate().for_each(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Layout;

    #[test]
    fn a_batch_is_the_products_one_after_another() {
        let product = Product::new(Layout::Nt, 5, 9, 20).accumulating();
        let [a, b, c] = product.shapes().map(|[rows, columns]| {
            (0..3 * rows * columns)
                .map(|i| (i * i % 101) as f32 - 50.0)
                .collect::<Vec<_>>()
        });
        let mut want = c.clone();
        for i in 0..3 {
            let a = &a[i * 5 * 9..][..5 * 9];
            let b = &b[i * 20 * 9..][..20 * 9];
            matmul(product, a, b, &mut want[i * 5 * 20..][..5 * 20]);
        }
        for parallel in [false, true] {
            let mut got = c.clone();
            CpuBackend.matmul_batch(product, 3, &a, &b, &mut got, parallel);
            assert_eq!(got, want);
        }
    }

    #[test]
    fn an_empty_batch_does_nothing() {
        let product = Product::new(Layout::Nn, 2, 3, 4);
        CpuBackend.matmul_batch(product, 0, &[], &[], &mut [], true);
    }

    #[test]
    #[should_panic(expected = "matmul_batch: c has 7 elements, expected 2 times 4")]
    fn a_batch_of_the_wrong_size_is_refused() {
        let product = Product::new(Layout::Nn, 2, 2, 2);
        CpuBackend.matmul_batch(product, 2, &[0.0; 8], &[0.0; 8], &mut [0.0; 7], false);
    }
}
