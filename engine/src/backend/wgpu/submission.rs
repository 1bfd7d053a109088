//! A submission: operands sent, jobs done, results fetched.

use super::{
    super::{Away, Job, Product, Work},
    WgpuBackend,
    device::Failed,
    element_wise, kernel,
    kernel::Kind,
    memory::Needs,
    transfer::take_over,
};
use std::{iter, sync::mpsc};

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kernel {
    /// Of a product.
    Product(kernel::Tile, Kind),
    /// Of an element-wise function.
    ElementWise(element_wise::Kind),
}

impl Kernel {
    fn source(self) -> String {
        match self {
            Self::Product(tile, kind) => kernel::source(tile, kind),
            Self::ElementWise(kind) => element_wise::source(kind),
        }
    }
}

/// Something that the device does to matrices it has.
pub(super) struct Call<'a> {
    pub kernel: Kernel,
    /// What the kernel is told: the extents.
    pub extents: [usize; 3],
    /// Workgroups.
    pub groups: [u32; 3],
    /// A, B and C with their elements.
    pub buffers: [(&'a wgpu::Buffer, usize); 3],
}

impl<'a> Call<'a> {
    /// A product, which is added to what is there if `adds`. The slices of a tile that has
    /// some go to `partial`, and a second call adds them up.
    pub fn product(
        product: &Product,
        tile: kernel::Tile,
        adds: bool,
        buffers: [&'a wgpu::Buffer; 3],
        partial: Option<&'a wgpu::Buffer>,
    ) -> (Self, Option<Self>) {
        let [block_m, block_n] = tile.block().map(|block| block as usize);
        let sizes = product.shapes().map(|[rows, columns]| rows * columns);
        let mut buffers: [_; 3] = std::array::from_fn(|i| (buffers[i], sizes[i]));
        let slices = tile.slices as usize;
        let sum = partial.map(|partial| {
            let (kind, extents) = (element_wise::Kind::Sum(adds), [sizes[2], slices]);
            let made = (partial, slices * sizes[2]);
            let result = std::mem::replace(&mut buffers[2], made);
            Self::element_wise(kind, extents, [made, made, result])
        });
        let call = Self {
            kernel: Kernel::Product(tile, Kind::new(product, tile, adds && sum.is_none())),
            extents: [product.m, product.k, product.n],
            groups: [
                product.n.div_ceil(block_n) as u32,
                product.m.div_ceil(block_m) as u32,
                tile.slices,
            ],
            buffers,
        };
        (call, sum)
    }

    /// An element-wise function of A and B, with `count` elements to be made.
    pub fn element_wise(
        kind: element_wise::Kind,
        [count, hidden]: [usize; 2],
        buffers: [(&'a wgpu::Buffer, usize); 3],
    ) -> Self {
        Self {
            kernel: Kernel::ElementWise(kind),
            extents: [count, hidden, 0],
            groups: element_wise::groups(count),
            buffers,
        }
    }
}

/// A result on its way back.
struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    arrived: mpsc::Receiver<bool>,
}

impl WgpuBackend {
    fn pipeline(&self, kernel: Kernel) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().expect("no holder panics");
        let made = pipelines.entry(kernel).or_insert_with(|| {
            let device = &self.device.device;
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("product"),
                source: wgpu::ShaderSource::Wgsl(kernel.source().into()),
            });
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("product"),
                layout: Some(&self.pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                // Every element of it is written before it is read.
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: None,
            })
        });
        made.clone()
    }

    /// Adds calls to what the encoder does, so many times over.
    fn encode(&self, calls: &[Call<'_>], encoder: &mut wgpu::CommandEncoder, rounds: u32) {
        let bound: Vec<_> = calls.iter().map(|call| self.bound(call)).collect();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for _ in 0..rounds {
            for (call, (pipeline, group)) in calls.iter().zip(&bound) {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[]);
                let [x, y, z] = call.groups;
                pass.dispatch_workgroups(x, y, z);
            }
        }
    }

    /// The pipeline of a call with its matrices.
    fn bound(&self, call: &Call<'_>) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
        let device = &self.device.device;
        let extents = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("extents"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let [x, y, z] = call.extents.map(|extent| extent as u32);
        let values = [x, y, z, 0];
        self.device
            .queue
            .write_buffer(&extents, 0, bytemuck::cast_slice(&values));
        let mut entries = Vec::with_capacity(4);
        for (binding, &(buffer, elements)) in call.buffers.iter().enumerate() {
            entries.push(wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 0,
                    size: wgpu::BufferSize::new(4 * elements as u64),
                }),
            });
        }
        entries.push(wgpu::BindGroupEntry {
            binding: 3,
            resource: extents.as_entire_binding(),
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("product"),
            layout: &self.layout,
            entries: &entries,
        });
        (self.pipeline(call.kernel), group)
    }

    /// Adds a product to what the encoder does, so many times over. What the slices of the
    /// tile make goes to scratch memory.
    pub(super) fn encode_product(
        &self,
        (product, tile, adds): (&Product, kernel::Tile, bool),
        buffers: [&wgpu::Buffer; 3],
        encoder: &mut wgpu::CommandEncoder,
        scratch: &mut Vec<wgpu::Buffer>,
        rounds: u32,
    ) {
        let tile = tile.for_product(product);
        let partial = (tile.slices > 1).then(|| {
            let bytes = 4 * tile.slices as usize * product.m * product.n;
            let partial = self.memory().matrix(bytes as u64);
            scratch.push(partial.clone());
            partial
        });
        let (call, sum) = Call::product(product, tile, adds, buffers, partial.as_ref());
        let calls: Vec<_> = iter::once(call).chain(sum).collect();
        self.encode(&calls, encoder, rounds);
    }

    /// Lets the encoder do the work of a job on matrices that the device has.
    fn encode_job(
        &self,
        job: &Job<'_>,
        leaves: bool,
        buffers: [&wgpu::Buffer; 3],
        encoder: &mut wgpu::CommandEncoder,
        scratch: &mut Vec<wgpu::Buffer>,
    ) {
        let [a, b, c] = buffers;
        let [a_len, b_len, c_len] = [job.a.values.len(), job.b.values.len(), job.c.len()];
        let call = match job.work {
            Work::Product(product) => {
                let adds = leaves && product.accumulate;
                let work = (&product, self.tile(&product), adds);
                return self.encode_product(work, buffers, encoder, scratch, 1);
            }
            Work::Forward(function) => {
                let kind = element_wise::Kind::Forward(function.into());
                let sizes = [c_len, element_wise::width(function)];
                Call::element_wise(kind, sizes, [(a, a_len), (a, a_len), (c, c_len)])
            }
            Work::Backward {
                function,
                accumulate,
            } => {
                let adds = leaves && accumulate;
                let kind = element_wise::Kind::Backward(function.into(), adds);
                let sizes = [a_len, element_wise::width(function)];
                Call::element_wise(kind, sizes, [(a, a_len), (b, b_len), (c, c_len)])
            }
        };
        self.encode(&[call], encoder, 1);
    }

    /// Does all jobs in one submission. Afterwards either all results are there, or none
    /// has been touched. Those that may stay on the device are not waited for.
    pub(super) fn run(&self, jobs: &mut [&mut Job<'_>], parallel: bool) -> Result<(), Failed> {
        let mut encoder = self.device.encoder();
        let (mut needs, mut scratch) = (Needs::default(), Vec::new());
        let mut places = Vec::with_capacity(jobs.len());
        let returned = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            for job in &*jobs {
                let a = memory.operand(&job.a, &mut needs, &mut scratch)?;
                let b = match job.b.values {
                    [] => a.clone(),
                    _ => memory.operand(&job.b, &mut needs, &mut scratch)?,
                };
                let leaves = memory.leaves(job);
                let c = memory.result(job, leaves, &mut scratch)?;
                let bytes = size_of_val(&*job.c) as u64;
                let readback = (!leaves).then(|| memory.readback(bytes));
                places.push((readback, [a, b, c]));
            }
            memory.returned.clone()
        };
        // Without the lock: other threads copy and multiply meanwhile.
        for (weight, values) in &needs.weights {
            weight.help(values, &self.device, &returned)?;
        }
        for transfer in &needs.transfers {
            self.device
                .checked(transfer.write(&mut encoder, parallel))?;
        }
        for (job, (readback, buffers)) in jobs.iter().zip(&places) {
            let leaves = readback.is_none();
            let buffers = buffers.each_ref();
            self.encode_job(job, leaves, buffers, &mut encoder, &mut scratch);
            if let Some(readback) = readback {
                let bytes = size_of_val(&*job.c) as u64;
                encoder.copy_buffer_to_buffer(buffers[2], 0, readback, 0, bytes);
            }
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        for transfer in needs.transfers {
            returned.after_submission(&transfer.upload);
        }
        let mut results = Vec::with_capacity(jobs.len());
        for (job, (readback, _)) in jobs.iter_mut().zip(&places) {
            if let Some(buffer) = readback {
                let readback = Readback::of(buffer.clone(), size_of_val(&*job.c));
                results.push((readback, &mut *job.c, job.work.accumulates()));
            }
        }
        if !results.is_empty() {
            self.fetch(results, submission, parallel)?;
        } else if self.device.failure.is_set() {
            return Err(Failed);
        }
        for (job, (readback, _)) in jobs.iter().zip(&places) {
            if let Some(place) = &job.place {
                place.set_away(readback.is_none());
            }
        }
        let mut memory = self.memory();
        for matrix in scratch {
            memory.give_matrix(matrix);
        }
        Ok(())
    }

    /// Waits for results of a submission. Afterwards either all are there, or none has been
    /// touched.
    fn fetch(
        &self,
        results: Vec<(Readback, &mut [f32], bool)>,
        submission: wgpu::SubmissionIndex,
        parallel: bool,
    ) -> Result<(), Failed> {
        self.device.wait(submission)?;
        let views: Result<Vec<_>, Failed> = results
            .iter()
            .map(|(readback, ..)| {
                let arrived = readback.arrived.recv().ok().filter(|&mapped| mapped);
                self.device
                    .checked(arrived.ok_or("a result did not arrive"))?;
                let bytes = readback.bytes;
                self.device
                    .checked(readback.buffer.get_mapped_range(..bytes))
            })
            .collect();
        let mut buffers = Vec::with_capacity(results.len());
        for ((readback, c, adds), view) in results.into_iter().zip(views?) {
            take_over(c, bytemuck::cast_slice(&view), adds, parallel);
            buffers.push((readback.buffer, readback.bytes));
        }
        let mut memory = self.memory();
        for (buffer, bytes) in buffers {
            memory.traffic.fetched += bytes;
            buffer.unmap();
            memory.give_readback(buffer);
        }
        Ok(())
    }

    /// Brings back what only the device has, all of it on its way before the first is waited
    /// for. It `stays` there if that is still counted on.
    pub(super) fn bring(&self, away: &mut [Away<'_>], stays: bool, parallel: bool) {
        if self.device.failure.is_set() {
            away.iter_mut().for_each(|away| away.values.fill(0.0));
            return;
        }
        let sent = away.iter().map(|away| self.send_back(away, stays));
        let sent: Vec<_> = sent.collect();
        for (away, sent) in away.iter_mut().zip(sent) {
            let done = sent.and_then(|(readback, submission)| {
                self.fetch(vec![(readback, away.values, false)], submission, parallel)
            });
            if done.is_err() {
                away.values.fill(0.0);
            }
        }
    }

    /// Lets the device add up and send back what only it has.
    fn send_back(
        &self,
        away: &Away<'_>,
        stays: bool,
    ) -> Result<(Readback, wgpu::SubmissionIndex), Failed> {
        let mut encoder = self.device.encoder();
        let bytes = size_of_val(away.values);
        let (sum, addends, buffer) = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            let places = away.identities.iter().map(|identity| memory.left(identity));
            let mut places = places.collect::<Result<Vec<_>, _>>()?.into_iter();
            let sum = places.next().ok_or(Failed)?;
            for identity in away.identities {
                memory.set_only(identity, stays);
            }
            (sum, places, memory.readback(bytes as u64))
        };
        for addend in addends {
            let len = away.values.len();
            let buffers = [(&addend, len), (&addend, len), (&sum, len)];
            let kind = element_wise::Kind::Sum(true);
            let call = Call::element_wise(kind, [len, 1], buffers);
            self.encode(&[call], &mut encoder, 1);
        }
        encoder.copy_buffer_to_buffer(&sum, 0, &buffer, 0, bytes as u64);
        let submission = self.device.queue.submit([encoder.finish()]);
        Ok((Readback::of(buffer, bytes), submission))
    }
}

impl Readback {
    /// What a submission has copied to a buffer.
    fn of(buffer: wgpu::Buffer, bytes: usize) -> Self {
        let (sender, arrived) = mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only after a failure.
            let _ = sender.send(result.is_ok());
        });
        Self {
            buffer,
            bytes: bytes as u64,
            arrived,
        }
    }
}
