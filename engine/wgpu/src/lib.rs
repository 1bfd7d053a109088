//! Products on any GPU that Vulkan, Metal or DX12 reaches (`docs/backend.md`).
//!
//! The operands of a product are sent to the device unless it has them already: weights
//! stay there until the optimiser changes them, inputs of a layer from the forward to its
//! backward, the gradient of its output for both of its products. Several jobs go in one
//! submission; their results come back, or stay where the tape allows it until they are
//! asked for. Whatever fails is computed on the CPU.

mod call;
mod device;
mod element_wise;
mod kernel;
mod measure;
mod memory;
mod sending;
mod submission;
#[cfg(test)]
mod tests;
mod transfer;
mod tuning;

pub use device::adapters;

use super::{
    Adapter, Away, Backend, DeviceError, Identity, Job, Operand, Options, Place, Product,
    Threshold, Traffic, Work, cpu,
};
use call::Kernel;
use device::Device;
use kernel::TILES;
use memory::Memory;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tuning::Tuning;

/// A GPU.
pub struct WgpuBackend {
    name: String,
    device: Arc<Device>,
    layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    memory: Mutex<Memory>,
    pipelines: Mutex<BTreeMap<Kernel, wgpu::ComputePipeline>>,
    tuning: Mutex<Tuning>,
    tunes: bool,
    cache: Option<PathBuf>,
    /// The edge of the smallest cube that is sent.
    threshold: usize,
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
        let device = Arc::new(Device::open(options.software)?);
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
        let memory = Memory::new(device.clone(), options);
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
            Threshold::Cube(edge) => edge,
            Threshold::Measured => backend.measured_threshold(),
        };
        Ok(backend)
    }

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

    /// Whether the device can do a job.
    fn can(&self, job: &Job<'_>) -> bool {
        let limit = self.adapter().max_binding.min(self.adapter().max_buffer);
        // The buffer of a matrix may be an eighth larger.
        let fits = |values: &[f32]| {
            let bytes = size_of_val(values) as u64;
            bytes + bytes / 4 < limit
        };
        let groups = match job.work {
            Work::Product(product) => {
                let [m, n] = TILES[0].block().map(|block| block as usize);
                product.m.div_ceil(m).max(product.n.div_ceil(n))
            }
            Work::Forward(_) | Work::Backward { .. } => 0,
        };
        [job.a.values, job.b.values, job.c].into_iter().all(fits)
            && !job.c.is_empty()
            && !job.a.values.is_empty()
            && groups < 1 << 16
            && !self.device.failure.is_set()
    }

    /// Whether the device does a job: what only it has stays there. Of the products, it does
    /// those that are as large and as dense as the cube of the threshold, which has `2 s³`
    /// operations for `12 s²` bytes. Parameters and their gradients do not count as bytes to
    /// be moved: they are sent and fetched once for all micro-batches.
    fn takes(&self, job: &Job<'_>, memory: &Memory) -> bool {
        let worth = |product: Product| {
            let stays = |factor: &Operand<'_>| {
                matches!(factor.identity, Some(Identity::Parameter { .. })) || memory.has(factor)
            };
            let sent = [&job.a, &job.b].into_iter().filter(|factor| !stays(factor));
            let sum = |place: &Place<'_>| matches!(place.identity, Identity::Sum { .. });
            let fetched = match job.place.as_ref().is_some_and(sum) && memory.leaves(job) {
                true => 0,
                false => job.c.len(),
            };
            let moved = sent.map(|factor| factor.values.len()).sum::<usize>() + fetched;
            let (flops, moved) = (product.flops() as f64, 4.0 * moved as f64);
            let edge = self.threshold as f64;
            flops >= 2.0 * edge.powi(3) && flops >= moved * edge / 6.0
        };
        self.can(job)
            && (job.needs_device()
                || match job.work {
                    Work::Product(product) => worth(product),
                    Work::Forward(_) | Work::Backward { .. } => false,
                })
    }

    /// A job that the device does not do.
    fn compute_here(&self, job: &mut Job<'_>, parallel: bool) {
        let (a, b) = (self.here(&job.a, parallel), self.here(&job.b, parallel));
        if let Some(place) = job.place.filter(Place::is_away) {
            if job.work.accumulates() {
                let (identities, values) = (&[place.identity], &mut *job.c);
                self.bring(&mut [Away { identities, values }], false, parallel);
            }
            self.forget(place.identity);
            place.set_away(false);
        }
        cpu::compute(job.work, &a, &b, job.c, parallel);
    }

    /// The elements of an operand.
    fn here<'a>(&self, operand: &Operand<'a>, parallel: bool) -> Cow<'a, [f32]> {
        let Some(identity) = operand.identity.filter(|_| operand.away) else {
            return Cow::Borrowed(operand.values);
        };
        let mut values = vec![0.0; operand.values.len()];
        let (identities, elements) = (&[identity], &mut values[..]);
        let away = Away {
            identities,
            values: elements,
        };
        // The tape still counts on the device.
        self.bring(&mut [away], true, parallel);
        Cow::Owned(values)
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
    fn compute(&self, jobs: &mut [Option<Job<'_>>], parallel: bool) {
        jobs.iter().flatten().for_each(Job::check);
        let (mut here, mut there): (Vec<_>, Vec<_>) = {
            let memory = self.memory();
            let jobs = jobs.iter_mut().flatten();
            jobs.partition(|job| !self.takes(job, &memory))
        };
        if !there.is_empty() && self.run(&mut there, parallel).is_err() {
            here.append(&mut there);
        }
        for job in here {
            self.compute_here(job, parallel);
        }
    }

    fn bring(&self, away: &mut [Away<'_>], parallel: bool) {
        WgpuBackend::bring(self, away, false, parallel);
    }

    fn forget(&self, identity: Identity) {
        self.memory().forget(&identity);
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

    fn traffic(&self) -> Traffic {
        self.memory().traffic
    }

    fn time_on_device(&self, product: Product) -> Option<Duration> {
        let tile = self.tile(&product);
        self.times(&product, &[tile])[0]
    }
}
