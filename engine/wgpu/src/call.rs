//! Work for the encoder: kernels with the matrices that they read and make.

use crate::{Gpu, bytes_of, element_wise, kernel, kernel::Kind};
use engine::backend::{Job, Product, Work};
use std::iter;

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
    kernel: Kernel,
    /// Extents, as the kernel is told them.
    extents: [usize; 3],
    /// Workgroups.
    groups: [u32; 3],
    /// A, B and C with their elements.
    buffers: [(&'a wgpu::Buffer, usize); 3],
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

    /// An element-wise function of A and B, for `count` elements, or a sum of `matrices`.
    pub fn element_wise(
        kind: element_wise::Kind,
        [count, matrices]: [usize; 2],
        buffers: [(&'a wgpu::Buffer, usize); 3],
    ) -> Self {
        Self {
            kernel: Kernel::ElementWise(kind),
            extents: [count, matrices, 0],
            groups: element_wise::groups(count),
            buffers,
        }
    }
}

impl Gpu {
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
    pub(super) fn encode(
        &self,
        calls: &[Call<'_>],
        encoder: &mut wgpu::CommandEncoder,
        rounds: u32,
    ) {
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
                    size: wgpu::BufferSize::new(bytes_of(elements)),
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
            let elements = tile.slices as usize * product.m * product.n;
            let partial = self.memory().matrix(bytes_of(elements));
            scratch.push(partial.clone());
            partial
        });
        let (call, sum) = Call::product(product, tile, adds, buffers, partial.as_ref());
        let calls: Vec<_> = iter::once(call).chain(sum).collect();
        self.encode(&calls, encoder, rounds);
    }

    /// Lets the encoder do the work of a job on matrices that the device has.
    pub(super) fn encode_job(
        &self,
        job: &Job<'_>,
        defers: bool,
        buffers: [&wgpu::Buffer; 3],
        encoder: &mut wgpu::CommandEncoder,
        scratch: &mut Vec<wgpu::Buffer>,
    ) {
        let [a, b, c] = buffers;
        let [a_len, b_len, c_len] = [job.a.len(), job.b.len(), job.c.len()];
        // Elements of the CPU are added to when the result is downloaded.
        let adds = defers && job.c.accumulates();
        let call = match job.work {
            Work::Product(product) => {
                let work = (&product, self.tile(&product), adds);
                return self.encode_product(work, buffers, encoder, scratch, 1);
            }
            Work::Forward(function) => {
                let kind = element_wise::Kind::Forward(function);
                Call::element_wise(kind, [c_len, 0], [(a, a_len), (a, a_len), (c, c_len)])
            }
            Work::Backward(function) => {
                let kind = element_wise::Kind::Backward(function, adds);
                Call::element_wise(kind, [a_len, 0], [(a, a_len), (b, b_len), (c, c_len)])
            }
        };
        self.encode(&[call], encoder, 1);
    }
}
