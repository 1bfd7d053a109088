//! A submission: operands sent, products computed, results fetched.

use super::{
    super::{Job, Product},
    WgpuBackend,
    kernel::{self, Kind, Tile},
    memory::Failed,
};
use rayon::prelude::*;
use std::sync::mpsc;

/// Elements that one task copies back.
const BLOCK: usize = 1 << 16;

/// Where the operands and the result of one product are on the device.
pub(super) struct Call<'a> {
    pub product: Product,
    pub batch: usize,
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
        let Product {
            layout, m, k, n, ..
        } = call.product;
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
            let bytes = (4 * call.batch * rows * columns) as u64;
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
        let pipeline = self.pipeline(call.tile, Kind::new(layout, shapes));
        let [block_m, block_n] = call.tile.block().map(|block| block as usize);
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        for _ in 0..rounds {
            pass.dispatch_workgroups(
                n.div_ceil(block_n) as u32,
                m.div_ceil(block_m) as u32,
                call.batch as u32,
            );
        }
    }

    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        let descriptor = wgpu::CommandEncoderDescriptor::default();
        self.device.device.create_command_encoder(&descriptor)
    }

    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), Failed> {
        let poll = wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: None,
        };
        self.device.device.poll(poll).map_err(|error| {
            self.device
                .failure
                .set(format!("the device does not answer: {error}"));
            Failed
        })?;
        match self.device.failure.is_set() {
            true => Err(Failed),
            false => Ok(()),
        }
    }

    /// Computes all jobs in one submission.
    pub(super) fn run(&self, jobs: &mut [&mut Job<'_>], parallel: bool) -> Result<(), Failed> {
        let tiles: Vec<Tile> = jobs.iter().map(|job| self.tile(&job.product)).collect();
        let (mut scratch, mut uploads, mut readbacks) = (Vec::new(), Vec::new(), Vec::new());
        let (sender, mapped) = mpsc::channel();
        let mut encoder = self.encoder();
        let mut memory = self.memory();
        for (job, tile) in jobs.iter().zip(tiles) {
            let a = memory.operand(&job.a, &mut encoder, &mut scratch, &mut uploads)?;
            let b = memory.operand(&job.b, &mut encoder, &mut scratch, &mut uploads)?;
            let bytes = size_of_val(&*job.c) as u64;
            let c = memory.matrix(bytes);
            let call = Call {
                product: job.product,
                batch: job.batch,
                tile,
                buffers: [&a, &b, &c],
            };
            self.encode(&call, &mut encoder, 1);
            let readback = memory.readback(bytes);
            encoder.copy_buffer_to_buffer(&c, 0, &readback, 0, bytes);
            scratch.push(c);
            readbacks.push(readback);
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        for buffer in scratch {
            memory.give_matrix(buffer);
        }
        // Copies of other threads go on while this one waits for its products.
        drop(memory);
        let map = |buffer: &wgpu::Buffer, mode| {
            let sender = sender.clone();
            buffer.map_async(mode, .., move |result| {
                // The receiver is gone only after a failure.
                let _ = sender.send(result.is_ok());
            });
        };
        readbacks
            .iter()
            .for_each(|buffer| map(buffer, wgpu::MapMode::Read));
        uploads
            .iter()
            .for_each(|buffer| map(buffer, wgpu::MapMode::Write));
        self.wait(submission)?;
        for _ in 0..readbacks.len() + uploads.len() {
            if mapped.recv() != Ok(true) {
                self.device
                    .failure
                    .set("the device is lost: a result did not arrive");
                return Err(Failed);
            }
        }
        for (job, buffer) in jobs.iter_mut().zip(&readbacks) {
            let bytes = size_of_val(&*job.c) as u64;
            let Ok(view) = buffer.get_mapped_range(..bytes) else {
                self.device
                    .failure
                    .set("the device is lost: a result cannot be read");
                return Err(Failed);
            };
            take_over(
                job.c,
                bytemuck::cast_slice(&view),
                job.product.accumulate,
                parallel,
            );
        }
        let mut memory = self.memory();
        for buffer in readbacks {
            buffer.unmap();
            memory.give_readback(buffer);
        }
        for buffer in uploads {
            memory.give_upload(buffer);
        }
        Ok(())
    }
}

/// `c = result` or `c += result`.
fn take_over(c: &mut [f32], result: &[f32], accumulate: bool, parallel: bool) {
    let take = |(c, result): (&mut [f32], &[f32])| match accumulate {
        true => c.iter_mut().zip(result).for_each(|(c, x)| *c += x),
        false => c.copy_from_slice(result),
    };
    match parallel {
        true => c
            .par_chunks_mut(BLOCK)
            .zip(result.par_chunks(BLOCK))
            .for_each(take),
        false => take((c, result)),
    }
}
