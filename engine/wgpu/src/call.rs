//! Work for the encoder: kernels with the matrices that they read and make.

use crate::{Gpu, attention, bytes_of, element_wise, entry, kernel, kernel::Kind};
use engine::backend::{Product, Work};
use std::iter;

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kernel {
    /// Of a product.
    Product(kernel::Tile, Kind),
    /// Of an element-wise function.
    ElementWise(element_wise::Kind),
    /// Of an attention.
    Attention(attention::Kind),
}

impl Kernel {
    fn source(self) -> String {
        match self {
            Self::Product(tile, kind) => kernel::source(tile, kind),
            Self::ElementWise(kind) => element_wise::source(kind),
            Self::Attention(kind) => attention::source(kind),
        }
    }

    /// Numbers of matrices that are read and written.
    fn bindings(self) -> [usize; 2] {
        match self {
            Self::Product(..) | Self::ElementWise(_) => [2, 1],
            Self::Attention(kind) => kind.bindings(),
        }
    }
}

/// A matrix on the device: its buffer and the number of its elements.
pub(super) type Matrix<'a> = (&'a wgpu::Buffer, usize);

/// Something that the device does to matrices it has.
pub(super) struct Call<'a> {
    pub kernel: Kernel,
    /// Extents, as the kernel is told them.
    pub extents: [usize; 3],
    /// Workgroups.
    pub groups: [u32; 3],
    /// What is read, then what is written.
    pub buffers: Vec<Matrix<'a>>,
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
            buffers: buffers.into(),
        };
        (call, sum)
    }

    /// An element-wise function of A and B, for `count` elements, or a sum of `matrices`.
    pub fn element_wise(
        kind: element_wise::Kind,
        [count, matrices]: [usize; 2],
        buffers: [Matrix<'a>; 3],
    ) -> Self {
        Self {
            kernel: Kernel::ElementWise(kind),
            extents: [count, matrices, 0],
            groups: element_wise::groups(count),
            buffers: buffers.into(),
        }
    }
}

/// All elements of a matrix.
fn bound((buffer, elements): Matrix<'_>) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer,
        offset: 0,
        size: wgpu::BufferSize::new(bytes_of(elements)),
    })
}

impl Gpu {
    fn pipeline(&self, kernel: Kernel) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().expect("no holder panics");
        let made = pipelines.entry(kernel).or_insert_with(|| {
            let device = &self.device.device;
            let [read, written] = kernel.bindings();
            let matrices = (0..read + written).map(|i| {
                let read_only = i < read;
                entry(i, wgpu::BufferBindingType::Storage { read_only })
            });
            let extents = entry(read + written, wgpu::BufferBindingType::Uniform);
            let entries: Vec<_> = matrices.chain([extents]).collect();
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("matrices"),
                entries: &entries,
            });
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("matrices"),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some("product"),
                source: wgpu::ShaderSource::Wgsl(kernel.source().into()),
            });
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("product"),
                layout: Some(&layout),
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
        let resources = call.buffers.iter().map(|&matrix| bound(matrix));
        let resources = resources.chain([extents.as_entire_binding()]);
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let pipeline = self.pipeline(call.kernel);
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("matrices"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        (pipeline, group)
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

    /// Lets the encoder do work on matrices that the device has, so many times over. A target
    /// is added to if so.
    pub(super) fn encode_work(
        &self,
        work: &Work,
        operands: [Option<Matrix<'_>>; 5],
        targets: [Option<(Matrix<'_>, bool)>; 2],
        encoder: &mut wgpu::CommandEncoder,
        scratch: &mut Vec<wgpu::Buffer>,
        rounds: u32,
    ) {
        let [Some(a), second, ..] = operands else {
            return;
        };
        let [Some((c, adds)), lse] = targets else {
            return;
        };
        let b = second.unwrap_or(a);
        let means;
        let calls = match work {
            Work::Product(product) => {
                let (work, buffers) = ((product, self.tile(product), adds), [a.0, b.0, c.0]);
                return self.encode_product(work, buffers, encoder, scratch, rounds);
            }
            Work::Forward(function) => {
                let kind = element_wise::Kind::Forward(*function);
                vec![Call::element_wise(kind, [c.1, 0], [a, a, c])]
            }
            Work::Backward(function) => {
                let kind = element_wise::Kind::Backward(*function, adds);
                vec![Call::element_wise(kind, [a.1, 0], [a, b, c])]
            }
            Work::AttentionForward(shape) => {
                let made = [Some(c), lse.map(|(lse, _)| lse)];
                self.attention_forward(shape, [Some(a), second], made)
            }
            Work::AttentionBackward(shape) => {
                means = self.attention_means(shape);
                scratch.push(means.clone());
                self.attention_backward(shape, operands, (c, adds), &means)
            }
        };
        self.encode(&calls, encoder, rounds);
    }
}
