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
pub use device::{Adapter, DeviceError, Options, Threshold};

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What the elements of an operand are known by. The same identity means the same
/// elements, so that a device can keep a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A parameter, until the slab changes.
    Parameter {
        /// The network.
        network: u64,
        /// The parameter, in registration order.
        index: u32,
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

impl<'a> From<&'a [f32]> for Operand<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self {
            values,
            identity: None,
        }
    }
}

/// One product, or a batch of products of the same shape whose matrices lie one after
/// another in memory.
#[derive(Debug)]
pub struct Job<'a> {
    /// The product.
    pub product: Product,
    /// How many of them.
    pub batch: usize,
    /// All A.
    pub a: Operand<'a>,
    /// All B.
    pub b: Operand<'a>,
    /// All C.
    pub c: &'a mut [f32],
}

impl<'a> Job<'a> {
    /// A single product.
    pub fn new(product: Product, a: Operand<'a>, b: Operand<'a>, c: &'a mut [f32]) -> Self {
        Self {
            product,
            batch: 1,
            a,
            b,
            c,
        }
    }

    /// # Panics
    /// If a slice does not have the number of elements that product and batch say.
    #[track_caller]
    fn check(&self) {
        let lens = [self.a.values.len(), self.b.values.len(), self.c.len()];
        for ((name, len), [rows, columns]) in ["a", "b", "c"]
            .into_iter()
            .zip(lens)
            .zip(self.product.shapes())
        {
            let (size, batch, product) = (rows * columns, self.batch, self.product);
            assert!(
                len == batch * size,
                "matmul_batch: {name} has {len} elements, expected {batch} times {size} in {product:?}"
            );
        }
    }
}

/// Computes matrix products.
pub trait Backend: Send + Sync {
    /// The name under which results say who computed them.
    fn name(&self) -> &str;

    /// `C = op(A) op(B)`, or `C += op(A) op(B)`; without `product.accumulate`, C may hold
    /// anything before.
    ///
    /// `parallel` allows the use of more threads than the calling one. It must not change
    /// the result.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that `product` says.
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool);

    /// `batch` products of the same shape, the operands of which lie one after another in
    /// `a`, `b` and `c`.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that `product` and `batch` say.
    fn matmul_batch(
        &self,
        product: Product,
        batch: usize,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        parallel: bool,
    );

    /// Products that are wanted together and may share operands, such as the two gradients
    /// of a linear layer: a device takes each operand over once, and all products in one
    /// go. A `None` is a product that is not wanted.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that its product says.
    fn products(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        for job in jobs.iter_mut().flatten() {
            let Job { product, batch, .. } = *job;
            let (a, b) = (job.a.values, job.b.values);
            match batch {
                1 => self.matmul(product, a, b, job.c, parallel),
                _ => self.matmul_batch(product, batch, a, b, job.c, parallel),
            }
        }
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

    /// The time of a product whose operands are on the device and whose result stays
    /// there: `None` where there is no device, or it has failed.
    fn time_on_device(&self, product: Product) -> Option<Duration> {
        let _ = product;
        None
    }
}

/// A number that was not given out before in this process.
pub(crate) fn unique_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
