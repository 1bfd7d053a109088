//! Who multiplies matrices.
//!
//! The products of a training step are most of its arithmetic, and nearly all that
//! another device could take over. An operation therefore asks a [`Backend`] for them and
//! does everything else itself.

mod cpu;
mod device;
#[cfg_attr(feature = "wgpu", path = "wgpu/mod.rs")]
#[cfg_attr(not(feature = "wgpu"), path = "wgpu_absent.rs")]
pub mod wgpu;

pub use crate::kernels::matmul::{Layout, Product};
pub use cpu::CpuBackend;
pub use device::{Adapter, DeviceError, Options, Threshold, Traffic};

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What the elements of an operand are known by. The same identity means the same
/// elements, so that a device can keep a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A parameter or a part of one, until the slab changes.
    Parameter {
        /// The network.
        network: u64,
        /// The parameter, in registration order.
        index: u32,
        /// The first element.
        start: usize,
        /// How many elements.
        len: usize,
        /// The state of the slab.
        version: u64,
    },
    /// A value of a tape, until the tape is reset.
    Value {
        /// The tape since its last reset.
        tape: u64,
        /// The value.
        number: u32,
    },
    /// The gradient of an operation's output, during its backward.
    Gradient {
        /// The tape since its last reset.
        tape: u64,
        /// Which backward.
        number: u32,
    },
}

/// A factor of a product.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// What they are known by; `None` for scratch memory.
    pub identity: Option<Identity>,
}

impl<'a> Operand<'a> {
    /// Some of the elements: the matrix of one expert within the weights of all. What is
    /// known by an identity keeps one only if it is a parameter, the parts of which are
    /// always the same.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let identity = self.identity.and_then(|identity| match identity {
            Identity::Parameter {
                network,
                index,
                start,
                version,
                ..
            } => Some(Identity::Parameter {
                network,
                index,
                start: start + range.start,
                len: range.len(),
                version,
            }),
            Identity::Value { .. } | Identity::Gradient { .. } => None,
        });
        Self {
            values: &self.values[range],
            identity,
        }
    }
}

impl<'a> From<&'a [f32]> for Operand<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self {
            values,
            identity: None,
        }
    }
}

/// One product.
#[derive(Debug)]
pub struct Job<'a> {
    /// The product.
    pub product: Product,
    /// A.
    pub a: Operand<'a>,
    /// B.
    pub b: Operand<'a>,
    /// C.
    pub c: &'a mut [f32],
    /// What C will be known by, if the product makes all of it: the next product may want it.
    pub result: Option<Identity>,
}

impl<'a> Job<'a> {
    /// A product of these matrices.
    pub fn new(product: Product, a: Operand<'a>, b: Operand<'a>, c: &'a mut [f32]) -> Self {
        Self {
            product,
            a,
            b,
            c,
            result: None,
        }
    }
}

/// Computes matrix products.
pub trait Backend: Send + Sync {
    /// The name under which results say who computed them.
    fn name(&self) -> &str;

    /// Products that are wanted together and may share operands, such as the two gradients
    /// of a linear layer or the products of all experts: a device takes each operand over
    /// once, and all products in one go. Each is `C = op(A) op(B)`, or `C += op(A) op(B)`;
    /// without `product.accumulate`, C may hold anything before. A `None` is a product that
    /// is not wanted.
    ///
    /// `parallel` allows the use of more threads than the calling one. It must not change
    /// the result.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that its product says.
    fn products(&self, jobs: &mut [Option<Job<'_>>], parallel: bool);

    /// A single product of matrices that are not known by an identity.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that `product` says.
    #[track_caller]
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
        let job = Job::new(product, a.into(), b.into(), c);
        self.products(&mut [Some(job)], parallel);
    }

    /// Forgets what was kept of the values and gradients of a tape.
    fn release(&self, tape: u64) {
        let _ = tape;
    }

    /// Why products are computed on the CPU by now, if a device has failed. Results are
    /// right all the same.
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

/// Products that go in one call.
const BATCH: usize = 32;

impl dyn Backend + '_ {
    /// Any number of products that are wanted together, as [`Backend::products`], in calls
    /// of 32.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that its product says.
    #[track_caller]
    pub fn batched<'a>(&self, jobs: impl IntoIterator<Item = Job<'a>>, parallel: bool) {
        let mut jobs = jobs.into_iter().fuse();
        loop {
            let mut batch: [Option<Job<'_>>; BATCH] = std::array::from_fn(|_| jobs.next());
            if batch[0].is_none() {
                return;
            }
            self.products(&mut batch, parallel);
        }
    }
}

/// A number that was not given out before in this process.
pub(crate) fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
