//! Calls of the kernels of self-attention: which ones a job is made of.

use crate::{
    Gpu,
    attention::{Kind, MATRICES, Pass, ROWS, SIZE},
    bytes_of,
    call::{Call, Kernel, Matrix},
    element_wise,
};
use engine::backend::AttentionShape;

impl Gpu {
    fn attention_kind(&self, shape: &AttentionShape, pass: Pass, rotary: bool) -> Option<Kind> {
        Kind::new(shape, pass, rotary, self.adapter().workgroup_memory)
    }

    /// Returns whether there are kernels for an attention, forward and backward.
    pub(super) fn attends(&self, shape: &AttentionShape) -> bool {
        let groups = shape.batch.max(shape.heads).max(shape.seq.div_ceil(ROWS));
        let passes = [Pass::Forward, Pass::Queries, Pass::Keys];
        let kernel = |pass| self.attention_kind(shape, pass, true).is_some();
        passes.into_iter().all(kernel)
            && groups < 1 << 16
            && self.adapter().workgroup_size as usize >= SIZE
            && self
                .device
                .device
                .limits()
                .max_storage_buffers_per_shader_stage
                >= MATRICES
    }

    /// A kernel on blocks of rows of all heads.
    fn attention_call<'a>(
        &self,
        shape: &AttentionShape,
        (pass, adds): (Pass, bool),
        matrices: Vec<Matrix<'a>>,
        tables: Option<Matrix<'a>>,
        made: Vec<Matrix<'a>>,
    ) -> Call<'a> {
        let kind = self.attention_kind(shape, pass, tables.is_some());
        let kind = kind.expect("the device attends");
        let positions = tables.map_or(0, |(_, len)| len / shape.head_dim);
        let blocks = shape.seq.div_ceil(ROWS);
        Call {
            kernel: Kernel::Attention(Kind { adds, ..kind }),
            extents: [shape.seq, shape.heads, positions],
            groups: [shape.heads, blocks, shape.batch].map(|groups| groups as u32),
            buffers: matrices.into_iter().chain(tables).chain(made).collect(),
        }
    }

    /// The forward.
    pub(super) fn attention_forward<'a>(
        &self,
        shape: &AttentionShape,
        [qkv, tables]: [Option<Matrix<'a>>; 2],
        made: [Option<Matrix<'a>>; 2],
    ) -> Vec<Call<'a>> {
        let qkv = qkv.into_iter().collect();
        let made = made.into_iter().flatten().collect();
        vec![self.attention_call(shape, (Pass::Forward, false), qkv, tables, made)]
    }

    /// The backward, added to what is there if `adds`, with scratch memory for the means.
    pub(super) fn attention_backward<'a>(
        &self,
        shape: &AttentionShape,
        [qkv, tables, out, lse, dout]: [Option<Matrix<'a>>; 5],
        (dqkv, adds): (Matrix<'a>, bool),
        means: &'a wgpu::Buffer,
    ) -> Vec<Call<'a>> {
        let means = (means, shape.rows());
        let kind = Kind {
            pass: Pass::Means,
            head_dim: shape.head_dim,
            causal: false,
            rotary: false,
            adds: false,
            chunk: 0,
        };
        let calls = Call {
            kernel: Kernel::Attention(kind),
            extents: [shape.seq, shape.heads, shape.rows()],
            groups: element_wise::groups(shape.rows()),
            buffers: [out, dout].into_iter().flatten().chain([means]).collect(),
        };
        let read = [qkv, dout, lse, Some(means)].into_iter().flatten();
        let read: Vec<_> = read.collect();
        let gradient =
            |pass| self.attention_call(shape, (pass, adds), read.clone(), tables, vec![dqkv]);
        vec![calls, gradient(Pass::Queries), gradient(Pass::Keys)]
    }

    /// Scratch memory for the means of an attention.
    pub(super) fn attention_means(&self, shape: &AttentionShape) -> wgpu::Buffer {
        self.memory().matrix(bytes_of(shape.rows()))
    }
}
