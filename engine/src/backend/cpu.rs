use super::{Backend, Job};
use crate::kernels::matmul::{matmul, matmul_parallel};

/// The processor that the program runs on. Same bits for any number of threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    #[track_caller]
    fn products(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        let matmul = if parallel { matmul_parallel } else { matmul };
        for Job {
            product, a, b, c, ..
        } in jobs.iter_mut().flatten()
        {
            matmul(*product, a.values, b.values, c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Layout, Product};

    #[test]
    fn any_number_of_products_is_computed_one_by_one() {
        let product = Product::new(Layout::Nt, 2, 3, 1).accumulating();
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        for count in [0, 1, 32, 33, 70] {
            let mut c = vec![1.0; 2 * count];
            let jobs = c.chunks_mut(2).enumerate().map(|(i, c)| {
                let b = &values[i % 4..][..3];
                Job::new(product, values[..].into(), b.into(), c)
            });
            (&CpuBackend as &dyn Backend).batched(jobs, false);
            for (i, c) in c.chunks(2).enumerate() {
                let mut want = [1.0; 2];
                matmul(product, &values, &values[i % 4..][..3], &mut want);
                assert_eq!(*c, want);
            }
        }
    }
}
