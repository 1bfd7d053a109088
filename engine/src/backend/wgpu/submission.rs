//! A submission: operands sent, products computed, results fetched.

use super::{
    super::{Job, Product},
    WgpuBackend,
    device::Failed,
    kernel::{self, Kind, Tile},
    transfer::take_over,
};
use std::sync::mpsc;

/// Where the operands and the result of one product are on the device.
pub(super) struct Call<'a> {
    pub product: Product,
    pub tile: Tile,
    pub buffers: [&'a wgpu::Buffer; 3],
}

impl WgpuBackend {
    pub(super) fn pipeline(&self, tile: Tile, kind: Kind) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().expect("no holder panics");
        let made = pipelines.entry((tile, kind)).or_insert_with(|| {
            let device = &self.device.device;
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("product"),
                source: wgpu::ShaderSource::Wgsl(kernel::source(tile, kind).into()),
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

    /// Adds a product to what the encoder does.
    pub(super) fn encode(&self, call: &Call<'_>, encoder: &mut wgpu::CommandEncoder, rounds: u32) {
        let Product { m, k, n, .. } = call.product;
        let shapes = call.product.shapes();
        let device = &self.device.device;
        let extents = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("extents"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let values = [m, k, n, 0].map(|extent| extent as u32);
        self.device
            .queue
            .write_buffer(&extents, 0, bytemuck::cast_slice(&values));
        let mut entries = Vec::with_capacity(4);
        for (binding, (buffer, [rows, columns])) in call.buffers.iter().zip(shapes).enumerate() {
            let bytes = (4 * rows * columns) as u64;
            entries.push(wgpu::BindGroupEntry {
                binding: binding as u32,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 0,
                    size: wgpu::BufferSize::new(bytes),
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
        let pipeline = self.pipeline(call.tile, Kind::new(&call.product, call.tile));
        let [block_m, block_n] = call.tile.block().map(|block| block as usize);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        for _ in 0..rounds {
            pass.dispatch_workgroups(n.div_ceil(block_n) as u32, m.div_ceil(block_m) as u32, 1);
        }
    }

    /// Computes all jobs in one submission. Afterwards either all results are there, or none
    /// has been touched.
    pub(super) fn run(&self, jobs: &mut [&mut Job<'_>], parallel: bool) -> Result<(), Failed> {
        let tiles: Vec<Tile> = jobs.iter().map(|job| self.tile(&job.product)).collect();
        let mut encoder = self.device.encoder();
        let (mut transfers, mut scratch, mut readbacks) = (Vec::new(), Vec::new(), Vec::new());
        let returned = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            for (job, tile) in jobs.iter().zip(tiles) {
                let a = memory.operand(&job.a, &mut transfers, &mut scratch)?;
                let b = memory.operand(&job.b, &mut transfers, &mut scratch)?;
                let bytes = size_of_val(&*job.c) as u64;
                let whole = job.result.filter(|_| !job.product.accumulate);
                let c = memory.result(whole, bytes, &mut scratch);
                let readback = memory.readback(bytes);
                readbacks.push((readback, job.product, tile, [a, b, c]));
            }
            memory.returned.clone()
        };
        // Without the lock: other threads copy and multiply meanwhile.
        for transfer in &transfers {
            self.device
                .checked(transfer.write(&mut encoder, parallel))?;
        }
        for (readback, product, tile, buffers) in &readbacks {
            let call = Call {
                product: *product,
                tile: *tile,
                buffers: buffers.each_ref(),
            };
            self.encode(&call, &mut encoder, 1);
            let [m, n] = [product.m, product.n];
            encoder.copy_buffer_to_buffer(&buffers[2], 0, readback, 0, (4 * m * n) as u64);
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        for transfer in transfers {
            transfer.give_back(&returned);
        }
        let (sender, mapped) = mpsc::channel();
        for (readback, ..) in &readbacks {
            let sender = sender.clone();
            readback.map_async(wgpu::MapMode::Read, .., move |result| {
                // The receiver is gone only after a failure.
                let _ = sender.send(result.is_ok());
            });
        }
        self.device.wait(submission)?;
        for _ in &readbacks {
            let arrived = mapped.recv().ok().filter(|&mapped| mapped);
            self.device
                .checked(arrived.ok_or("a result did not arrive"))?;
        }
        let views: Result<Vec<_>, _> = readbacks
            .iter()
            .map(|(buffer, product, ..)| {
                buffer.get_mapped_range(..(4 * product.m * product.n) as u64)
            })
            .collect();
        let views = self.device.checked(views)?;
        let mut fetched = 0;
        for (job, view) in jobs.iter_mut().zip(&views) {
            fetched += view.len() as u64;
            let result = bytemuck::cast_slice(view);
            take_over(job.c, result, job.product.accumulate, parallel);
        }
        drop(views);
        let mut memory = self.memory();
        memory.traffic.fetched += fetched;
        for (readback, ..) in readbacks {
            readback.unmap();
            memory.give_readback(readback);
        }
        for matrix in scratch {
            memory.give_matrix(matrix);
        }
        Ok(())
    }
}
