//! Matrix products and attention on any GPU that Vulkan, Metal or DX12 reaches (`docs/backend.md`).
//!
//! Operands are sent to the device unless it has them already: a weight is resident until
//! the optimiser changes it, the input of a layer from the forward to the backward, the
//! gradient of the output for both of its products. Several jobs go in one submission;
//! results are downloaded at once, or deferred, where the tape allows it, until they are
//! read. Whatever fails is computed on the CPU.
#![cfg(feature = "wgpu")]

mod attention;
mod attention_calls;
mod call;
mod device;
mod element_wise;
mod kernel;
mod measure;
mod memory;
mod submission;
#[cfg(test)]
mod tests;
mod transfer;
mod tuning;

pub use device::adapters;

use call::Kernel;
use device::Opened;
use engine::backend::{
    self, Adapter, Backend, DeviceError, Download, Job, Operand, Options, Role, Target, Threshold,
    Traffic, Work,
};
use kernel::TILES;
use memory::{Key, Memory};
use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};
use tuning::Tuning;

/// A GPU as a backend.
pub struct WgpuBackend(Arc<Gpu>);

impl Deref for WgpuBackend {
    type Target = Gpu;

    fn deref(&self) -> &Gpu {
        &self.0
    }
}

/// A GPU with all that was made on it.
pub struct Gpu {
    name: String,
    device: Arc<Opened>,
    memory: Mutex<Memory>,
    pipelines: Mutex<BTreeMap<Kernel, wgpu::ComputePipeline>>,
    tuning: Mutex<Tuning>,
    tunes: bool,
    cache: Option<PathBuf>,
    /// The edge of the smallest cube that is sent.
    threshold: OnceLock<usize>,
    warning: Option<String>,
}

impl WgpuBackend {
    /// Opens the first of [`adapters`].
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn open(options: &Options) -> Result<Self, DeviceError> {
        let device = Arc::new(Opened::open(options.software)?);
        let cache = options.cache.as_ref();
        let cache = cache.map(|directory| tuning::path(directory, &device.adapter));
        let mut warning = None;
        let tuning = match cache.as_deref().map(Tuning::load) {
            Some(Ok(tuning)) => tuning,
            Some(Err(reason)) => {
                let path = cache.as_deref().unwrap_or(Path::new(""));
                warning = Some(format!("{} is measured again: {reason}", path.display()));
                Tuning::default()
            }
            None => Tuning::default(),
        };
        let memory = Memory::new(device.clone(), options);
        let adapter = &device.adapter;
        let gpu = Arc::new(Gpu {
            name: format!("wgpu: {} ({})", adapter.name, adapter.api),
            memory: Mutex::new(memory),
            pipelines: Mutex::default(),
            tuning: Mutex::new(tuning),
            tunes: options.tuning,
            cache,
            threshold: OnceLock::new(),
            warning,
            device,
        });
        let threshold = match options.threshold {
            Threshold::Cube(edge) => edge,
            Threshold::Measured => gpu.measured_threshold(),
        };
        gpu.threshold.get_or_init(|| threshold);
        Ok(Self(gpu))
    }
}

impl Gpu {
    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.device.adapter
    }

    /// Gives the device up, as if it were lost.
    pub fn destroy(&self) {
        self.device.device.destroy();
        self.device
            .failure
            .set("the device is lost: it was given up");
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no holder panics")
    }

    fn give_back(&self, matrices: impl IntoIterator<Item = wgpu::Buffer>) {
        let mut memory = self.memory();
        matrices
            .into_iter()
            .for_each(|matrix| memory.give_matrix(matrix));
    }

    /// Returns whether the device can do a job.
    fn can(&self, job: &Job<'_>) -> bool {
        let limit = self.adapter().max_binding.min(self.adapter().max_buffer);
        // The buffer of a matrix may be an eighth larger.
        let fits = |len: usize| {
            let bytes = bytes_of(len);
            bytes + bytes / 4 < limit
        };
        let possible = match &job.work {
            Work::Product(product) => {
                let [m, n] = TILES[0].block().map(|block| block as usize);
                product.m.div_ceil(m).max(product.n.div_ceil(n)) < 1 << 16
            }
            Work::Forward(_) | Work::Backward(_) => true,
            Work::AttentionForward(shape) | Work::AttentionBackward(shape) => self.attends(shape),
        };
        possible
            && job.operands.iter().map(Operand::len).all(fits)
            && job.targets.iter().map(Target::len).all(fits)
            && !job.operands[0].is_empty()
            && !job.targets[0].is_empty()
            && !self.device.failure.is_set()
    }

    /// Returns whether the device does a job: always if it alone has an operand. Of the others it does
    /// those that are as large and as dense as the cube of the threshold, which has `2 s³`
    /// operations for `12 s²` bytes. Parameters and their gradients do not count as bytes to
    /// be moved: they are sent and fetched once for all micro-batches.
    fn takes(&self, job: &Job<'_>, memory: &Memory) -> bool {
        let worth = |flops: usize| {
            let stays = |operand: &Operand<'_>| {
                operand.parameter_version().is_some() || memory.has(operand)
            };
            let sent = job.operands.iter().filter(|operand| !stays(operand));
            let sum = |target: &Target<'_>| {
                target.role() == Role::ParameterGradient && memory.defers(target)
            };
            let fetched = job.targets.iter().filter(|target| !sum(target));
            let moved =
                sent.map(Operand::len).sum::<usize>() + fetched.map(Target::len).sum::<usize>();
            let (flops, moved) = (flops as f64, 4.0 * moved as f64);
            let edge = self.threshold.get().copied().unwrap_or_default() as f64;
            flops >= 2.0 * edge.powi(3) && flops >= moved * edge / 6.0
        };
        self.can(job) && (job.needs_device() || job.work.flops().is_some_and(worth))
    }
}

fn entry(binding: usize, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    }
}

impl Backend for WgpuBackend {
    fn name(&self) -> &str {
        &self.name
    }

    #[track_caller]
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        jobs.iter().flatten().for_each(Job::check);
        let (mut here, mut there): (Vec<_>, Vec<_>) = {
            let memory = self.memory();
            let jobs = jobs.iter_mut().flatten();
            jobs.partition(|job| !self.takes(job, &memory))
        };
        if !there.is_empty() && self.0.run(&mut there, parallel).is_err() {
            here.append(&mut there);
        }
        for job in here {
            job.compute(parallel);
        }
    }

    fn failure(&self) -> Option<String> {
        self.device.failure.get()
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn traffic(&self) -> Traffic {
        self.memory().traffic
    }

    fn time_on_device(&self, job: &Job<'_>) -> Option<Duration> {
        self.can(job).then(|| self.time(job)).flatten()
    }
}

impl backend::Device for Gpu {
    fn download(&self, sums: &mut [Download<'_>], parallel: bool) {
        self.download_sums(sums, parallel);
    }

    fn evict(&self, key: u64) {
        self.memory().forget(&Key::Resident(key));
    }
}

/// Bytes of so many elements.
fn bytes_of(len: usize) -> u64 {
    4 * len as u64
}
