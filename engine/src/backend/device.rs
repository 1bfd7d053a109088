//! Description of devices and of how they are opened, whether or not this build can reach one.

use std::path::PathBuf;
use thiserror::Error;

/// A device that products can be moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Name.
    pub name: String,
    /// Interface: Vulkan, Metal or DX12.
    pub api: String,
    /// Driver and its version.
    pub driver: String,
    /// Discrete GPU, integrated GPU, CPU ...
    pub kind: String,
    /// True if the device is emulated by the CPU.
    pub software: bool,
    /// The largest buffer in bytes.
    pub max_buffer: u64,
    /// The largest matrix that a kernel can read, in bytes.
    pub max_binding: u64,
    /// Memory of a workgroup in bytes.
    pub workgroup_memory: u32,
    /// Invocations of a workgroup.
    pub workgroup_size: u32,
}

/// From which cube on the device computes products: those that have at least as many
/// operations as the cube, and as many for every byte that has to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// The smallest that the device, transfers included, computes sooner than one thread of
    /// the CPU, unless all threads together are faster at every size: measured once for each
    /// adapter.
    Measured,
    /// The one of this edge; 0 sends everything.
    Cube(usize),
}

/// Bytes and calls between the program and a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of operands sent.
    pub sent: u64,
    /// Bytes of results downloaded.
    pub fetched: u64,
    /// Submissions of jobs and downloads.
    pub submissions: u64,
    /// Buffers made for matrices and transfers; all others were used again.
    pub buffers: u64,
}

/// Settings of a device.
#[derive(Clone, Debug)]
pub struct Options {
    /// True if a device that the CPU emulates will do.
    pub software: bool,
    /// True if the fastest tile is to be measured; the smallest is used otherwise.
    pub tuning: bool,
    /// Size from which on the device computes products.
    pub threshold: Threshold,
    /// The directory where measurements of adapters are kept; `None` keeps none.
    pub cache: Option<PathBuf>,
    /// Bytes of operands kept on the device.
    pub budget: u64,
    /// True if every result is downloaded at once, even where it could be deferred.
    pub fetch_results: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            software: false,
            tuning: true,
            threshold: Threshold::Measured,
            cache: None,
            budget: 4 << 30,
            fetch_results: false,
        }
    }
}

/// Why there is no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// This build has no code for devices.
    #[error(
        "this build has no wgpu backend: build it with `cargo build --release --features wgpu`"
    )]
    NotBuilt,
    /// No adapter was found.
    #[error("no adapter was found: install a Vulkan, Metal or DX12 driver, or use --backend cpu")]
    NoAdapter,
    /// The only adapter is the processor itself.
    #[error(
        "the only adapter is {name}, which is the processor itself: use --backend cpu, or --software-adapter to try the kernels on it"
    )]
    OnlySoftware {
        /// Name of the adapter.
        name: String,
    },
    /// The adapter cannot run the smallest kernel.
    #[error(
        "{name} runs too few invocations or has too little workgroup memory for the smallest kernel: use --backend cpu"
    )]
    Limits {
        /// Name of the adapter.
        name: String,
    },
    /// The adapter could not be opened.
    #[error("{name} cannot be opened ({reason}): use --backend cpu")]
    Open {
        /// Name of the adapter.
        name: String,
        /// Message of the driver.
        reason: String,
    },
}
