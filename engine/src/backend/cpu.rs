use super::{Backend, Function, Job, Work};
use crate::kernels::{
    activation,
    matmul::{matmul, matmul_parallel},
};

/// The processor that the program runs on. Same bits for any number of threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    #[track_caller]
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        for Job { work, a, b, c, .. } in jobs.iter_mut().flatten() {
            compute(*work, a.values, b.values, c, parallel);
        }
    }
}

/// One job.
#[track_caller]
pub(super) fn compute(work: Work, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
    match work {
        Work::Product(product) => {
            let matmul = if parallel { matmul_parallel } else { matmul };
            matmul(product, a, b, c);
        }
        Work::Forward(Function::Gelu) => activation::gelu(c, a),
        Work::Forward(Function::SwiGlu { hidden }) => activation::swiglu(c, a, hidden),
        Work::Backward {
            function: Function::Gelu,
            accumulate,
        } => activation::gelu_backward(c, accumulate, a, b),
        Work::Backward {
            function: Function::SwiGlu { hidden },
            accumulate,
        } => activation::swiglu_backward(c, accumulate, a, b, hidden),
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
