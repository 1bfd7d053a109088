//! Who multiplies matrices.
//!
//! The products of a training step are most of its arithmetic, and nearly all that
//! another device could take over. An operation therefore asks a [`Backend`] for them and
//! does everything else itself, but for the few [functions](Function) that stand between
//! two products.

mod cpu;
mod device;
mod job;
mod operand;
#[cfg_attr(feature = "wgpu", path = "wgpu/mod.rs")]
#[cfg_attr(not(feature = "wgpu"), path = "wgpu_absent.rs")]
pub mod wgpu;

pub use crate::kernels::matmul::{Layout, Product};
pub use cpu::CpuBackend;
pub use device::{Adapter, DeviceError, Options, Threshold, Traffic};
pub use job::{Function, Job, Work};
pub use operand::{Away, Identity, Operand, Place};

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Computes matrix products.
pub trait Backend: Send + Sync {
    /// The name under which results say who computed them.
    fn name(&self) -> &str;

    /// Jobs that are wanted together and may share operands, such as the two gradients of a
    /// linear layer or the products of all experts: a device takes each operand over once,
    /// and all jobs in one go. Where a job does not add to C, C may hold anything before. A
    /// `None` is a job that is not wanted.
    ///
    /// `parallel` allows the use of more threads than the calling one. It must not change
    /// the result.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that its job says.
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool);

    /// A single product of matrices that are not known by an identity.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that `product` says.
    #[track_caller]
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
        let job = Job::new(product, a.into(), b.into(), c);
        self.compute(&mut [Some(job)], parallel);
    }

    /// Brings back results that jobs have left on a device, which may keep copies. What is
    /// lost with a device becomes zeros; [`Backend::failure`] says so.
    fn bring(&self, away: &mut [Away<'_>], parallel: bool) {
        let _ = parallel;
        // Nothing is away but on a device.
        away.iter_mut().for_each(|away| away.values.fill(0.0));
    }

    /// Forgets what was kept under an identity.
    fn forget(&self, identity: Identity) {
        let _ = identity;
    }

    /// Forgets what was kept of the values and gradients of a tape.
    fn release(&self, tape: u64) {
        let _ = tape;
    }

    /// Why everything is computed on the CPU by now, if a device has failed. What comes back
    /// from then on is right all the same, but for what was away.
    fn failure(&self) -> Option<String> {
        None
    }

    /// What was odd when the device was opened.
    fn warning(&self) -> Option<String> {
        None
    }

    /// What has gone to a device and come back from it so far: nothing where there is none.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// The time of a product whose operands are on the device and whose result stays
    /// there: `None` where there is no device, or it has failed.
    fn time_on_device(&self, product: Product) -> Option<Duration> {
        let _ = product;
        None
    }
}

/// Jobs that go in one call.
const BATCH: usize = 32;

impl dyn Backend + '_ {
    /// Any number of jobs that are wanted together, as [`Backend::compute`], in calls of 32.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that its job says.
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

/// A number that was not given out before in this process.
pub(crate) fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
