//! What there is to say about a device, whether or not this build can reach one.

use std::{fmt, path::PathBuf};

/// A device that products can be moved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// How it is reached: Vulkan, Metal or DX12.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// Discrete GPU, integrated GPU, CPU ...
    pub kind: String,
    /// Whether the processor itself plays the device.
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

/// What has crossed the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of operands sent to the device.
    pub sent: u64,
    /// Bytes of results fetched from it.
    pub fetched: u64,
    /// Calls that brought products to it.
    pub submissions: u64,
    /// Buffers made for matrices and transfers; all others were used again.
    pub buffers: u64,
}

/// How a device is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether a device that the processor itself plays will do.
    pub software: bool,
    /// Whether to measure which tile is fastest; the smallest is used otherwise.
    pub tuning: bool,
    /// From which size on the device computes products.
    pub threshold: Threshold,
    /// The directory where measurements of adapters are kept; `None` keeps none.
    pub cache: Option<PathBuf>,
    /// Bytes of operands kept on the device.
    pub budget: u64,
    /// Whether every result comes back at once, even where it could stay on the device.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// This build has no code for one.
    NotBuilt,
    /// None was found.
    NoAdapter,
    /// None but the processor itself.
    OnlySoftware {
        /// Its name.
        name: String,
    },
    /// It cannot run the smallest kernel.
    Limits {
        /// Its name.
        name: String,
    },
    /// It could not be opened.
    Open {
        /// Its name.
        name: String,
        /// What its driver said.
        reason: String,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => f.write_str(
                "this build has no wgpu backend: build it with `cargo build --release --features wgpu`",
            ),
            Self::NoAdapter => f.write_str(
                "no adapter was found: install a Vulkan, Metal or DX12 driver, or use --backend cpu",
            ),
            Self::OnlySoftware { name } => write!(
                f,
                "the only adapter is {name}, which is the processor itself: use --backend cpu, or --software-adapter to try the kernels on it"
            ),
            Self::Limits { name } => write!(
                f,
                "{name} runs too few invocations or has too little workgroup memory for the smallest kernel: use --backend cpu"
            ),
            Self::Open { name, reason } => {
                write!(f, "{name} cannot be opened ({reason}): use --backend cpu")
            }
        }
    }
}

impl std::error::Error for DeviceError {}
