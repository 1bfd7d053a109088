//! Backends: matrix products and attention, on the CPU or on a device.
//!
//! Both are most of the arithmetic of a training step, and nearly all that a device
//! could take over. An operation therefore asks a [`Backend`] for them and does everything
//! else itself, but for the few [functions](Function) that stand between two products.

mod bf16;
mod device;
mod job;
mod stored;

pub use crate::kernels::{
    attention::AttentionShape,
    matmul::{Layout, Product},
};
pub use bf16::Bf16Backend;
pub use device::{Adapter, DeviceError, Options, Threshold, Traffic};
pub use job::{Function, Job, Work, workers};
pub use stored::{Device, Download, Operand, ParameterVersion, Resident, Role, Stored, Target};
pub(crate) use stored::{Downloads, Residence};

use crate::kernels::matmul::{matmul, matmul_parallel};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Computes [jobs](Job): products each within 1e-4 of the product in f64 of its operands, which
/// [`Bf16Backend`] rounds first, relative to the norms of the rows multiplied.
pub trait Backend: Send + Sync {
    /// Name under which results say who computed them.
    fn name(&self) -> &str;

    /// Jobs that are wanted together and may share operands, such as the two gradients of a
    /// linear layer or the products of all experts: a device receives each operand once,
    /// and all jobs in one submission. Where a job does not add to C, C may hold anything
    /// before. A `None` is a job that is not wanted.
    ///
    /// `parallel` allows the use of more threads than the calling one. It must not change
    /// the result.
    ///
    /// # Panics
    /// If a matrix does not have the number of elements that its job says.
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool);

    /// A single product of scratch matrices, in f32.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that `product` says.
    #[track_caller]
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
        self.compute(&mut [Some(Job::new(product, a, b, c))], parallel);
    }

    /// Message of a device that has failed, so that everything is computed on the CPU by now.
    /// Results from then on are right all the same, but for those that were deferred.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Warning from the opening of the device.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Traffic to and from a device so far: nothing where there is none.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// Time of a job whose operands are on the device and whose results stay there: `None`
    /// where there is no device, it has failed, or it does not do such work.
    fn time_on_device(&self, job: &Job<'_>) -> Option<Duration> {
        let _ = job;
        None
    }
}

/// Jobs that go in one call.
const BATCH: usize = 32;

impl dyn Backend + '_ {
    /// Any number of jobs that are wanted together, as [`Backend::compute`], in calls of 32.
    ///
    /// # Panics
    /// If a matrix does not have the number of elements that its job says.
    #[track_caller]
    pub fn batched<'a>(&self, jobs: impl IntoIterator<Item = Job<'a>>, parallel: bool) {
        let mut jobs = jobs.into_iter().fuse();
        loop {
            let mut batch: [Option<Job<'_>>; BATCH] = std::array::from_fn(|_| jobs.next());
            if batch[0].is_none() {
                return;
            }
            self.compute(&mut batch, parallel);
        }
    }
}

/// The CPU. Same bits for any number of threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    #[track_caller]
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        for job in jobs.iter_mut().flatten() {
            job.compute(parallel);
        }
    }
}

/// A number that was not given out before in this process.
pub(crate) fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_products_is_computed_one_by_one() {
        let product = Product::new(Layout::Nt, 2, 3, 1).accumulating();
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        for count in [0, 1, 32, 33, 70] {
            let mut c = vec![1.0; 2 * count];
            let jobs = c.chunks_mut(2).enumerate().map(|(i, c)| {
                let b = &values[i % 4..][..3];
                Job::new(product, &values[..], b, c)
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
