//! Products on any GPU that Vulkan, Metal or DX12 reaches (`docs/backend.md`).
//!
//! The operands of a product are sent to the device unless it has them already: weights
//! stay there until the optimiser changes them, inputs of a layer from the forward to its
//! backward, the gradient of its output for both of its products. Several products go in
//! one submission; only their results come back. Whatever fails is computed on the CPU.

mod device;
mod kernel;
mod measure;
mod memory;
mod submission;
#[cfg(test)]
mod tests;
mod tuning;

pub use device::adapters;

use super::{Adapter, Backend, CpuBackend, DeviceError, Job, Options, Product, Threshold};
use device::Device;
use kernel::{Kind, TILES, Tile};
use memory::Memory;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tuning::Tuning;

/// A GPU.
pub struct WgpuBackend {
    name: String,
    device: Device,
    layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    memory: Mutex<Memory>,
    pipelines: Mutex<BTreeMap<(Tile, Kind), wgpu::ComputePipeline>>,
    tuning: Mutex<Tuning>,
    tunes: bool,
    cache: Option<PathBuf>,
    threshold: u64,
    warning: Option<String>,
}

/// Opens the first of [`adapters`].
///
/// # Errors
/// [`DeviceError`].
pub fn open(options: &Options) -> Result<Arc<dyn Backend>, DeviceError> {
    Ok(Arc::new(WgpuBackend::open(options)?))
}

impl WgpuBackend {
    /// Opens the first of [`adapters`].
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn open(options: &Options) -> Result<Self, DeviceError> {
        let device = Device::open(options.software)?;
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
        let storage =
            |binding, read_only| entry(binding, wgpu::BufferBindingType::Storage { read_only });
        let handle = &device.device;
        let layout = handle.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("product"),
            entries: &[
                storage(0, true),
                storage(1, true),
                storage(2, false),
                entry(3, wgpu::BufferBindingType::Uniform),
            ],
        });
        let pipeline_layout = handle.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("product"),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let memory = Memory::new(handle.clone(), device.failure.clone(), options.budget);
        let adapter = &device.adapter;
        let mut backend = Self {
            name: format!("wgpu: {} ({})", adapter.name, adapter.api),
            layout,
            pipeline_layout,
            memory: Mutex::new(memory),
            pipelines: Mutex::default(),
            tuning: Mutex::new(tuning),
            tunes: options.tuning,
            cache,
            threshold: 0,
            warning,
            device,
        };
        backend.threshold = match options.threshold {
            Threshold::Flops(flops) => flops,
            Threshold::Measured => backend.measured_threshold(),
        };
        Ok(backend)
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.device.adapter
    }

    /// Bytes of operands sent to the device so far.
    pub fn bytes_sent(&self) -> u64 {
        self.memory().sent()
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

    /// Whether the device computes a product.
    fn takes(&self, product: &Product, batch: usize) -> bool {
        let bytes = |[rows, columns]: [usize; 2]| (4 * batch * rows * columns) as u64;
        let largest = product.shapes().map(bytes).into_iter().max();
        let [m, n] = TILES[0].block();
        let groups = product
            .m
            .div_ceil(m as usize)
            .max(product.n.div_ceil(n as usize));
        product.flops() > 0
            && (product.flops() * batch) as u64 >= self.threshold
            && largest.is_some_and(|bytes| {
                bytes + bytes / 4
                    < self
                        .device
                        .adapter
                        .max_binding
                        .min(self.device.adapter.max_buffer)
            })
            && batch.max(groups) < 1 << 16
            && !self.device.failure.is_set()
    }
}

fn entry(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
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
    fn matmul(&self, product: Product, a: &[f32], b: &[f32], c: &mut [f32], parallel: bool) {
        let job = Job::new(product, a.into(), b.into(), c);
        self.products(&mut [Some(job)], parallel);
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
        let (a, b) = (a.into(), b.into());
        let job = Job {
            product,
            batch,
            a,
            b,
            c,
        };
        self.products(&mut [Some(job)], parallel);
    }

    #[track_caller]
    fn products(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        jobs.iter().flatten().for_each(Job::check);
        let mut here: Vec<&mut Job<'_>> = Vec::new();
        let mut there: Vec<&mut Job<'_>> = Vec::new();
        for job in jobs.iter_mut().flatten() {
            match self.takes(&job.product, job.batch) {
                true => there.push(job),
                false => here.push(job),
            }
        }
        if !there.is_empty() && self.run(&mut there, parallel).is_err() {
            here.append(&mut there);
        }
        for job in here {
            let (a, b) = (job.a.values, job.b.values);
            match job.batch {
                1 => CpuBackend.matmul(job.product, a, b, job.c, parallel),
                batch => CpuBackend.matmul_batch(job.product, batch, a, b, job.c, parallel),
            }
        }
    }

    fn release(&self, tape: u64) {
        self.memory().release(tape);
    }

    fn failure(&self) -> Option<String> {
        self.device.failure.get()
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn time_on_device(&self, product: Product) -> Option<Duration> {
        let tile = self.tile(&product);
        self.time(&product, tile)
    }
}
