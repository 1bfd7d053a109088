//! Self-attention on the device: which kernels a job is made of.
//!
//! A workgroup computes a block of queries, or of keys, of one head and meets the blocks of
//! the other side one after the other in workgroup memory. Scores are never stored on the
//! device: the backward computes them again from the logarithms of the sums of exponentials
//! (Dao et al., FlashAttention, 2022). Queries and keys each have a kernel of their own
//! for their gradients, so that nothing is added to by two workgroups at once.

mod source;
mod steps;

pub(super) use source::source;

use crate::{
    Gpu, bytes_of,
    call::{Call, Kernel, Matrix},
    element_wise,
};
use engine::backend::AttentionShape;

/// Rows of a block.
const ROWS: usize = 32;

/// Invocations that share rows of a block, 4 rows each.
const ACROSS: usize = 8;

/// Invocations of a workgroup.
const SIZE: usize = ROWS / 4 * ACROSS;

/// What a kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pass {
    /// The output and the logarithms of the sums of exponentials, by blocks of queries.
    Forward,
    /// `D = rowsum(dO O)`: the mean of the gradients of the probabilities.
    Means,
    /// Gradient of the queries, by blocks of them.
    Queries,
    /// Gradients of keys and values, by blocks of them.
    Keys,
}

/// Function of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub pass: Pass,
    /// Width of a head.
    pub head_dim: usize,
    pub causal: bool,
    pub rotary: bool,
    /// True if the gradient is added to what is there.
    pub adds: bool,
    /// Columns of a head that are in workgroup memory at a time: all of them, if they fit.
    pub chunk: usize,
}

impl Kind {
    /// The kernel for an attention, if there is one that needs no more than `memory` bytes.
    fn new(shape: &AttentionShape, pass: Pass, rotary: bool, memory: u32) -> Option<Self> {
        let kind = |chunks| Self {
            pass,
            head_dim: shape.head_dim,
            causal: shape.causal,
            rotary,
            adds: false,
            chunk: shape.head_dim / chunks,
        };
        let mut kinds = (1..=8).map(kind);
        kinds.find(|kind| kind.is_possible() && kind.memory() <= memory as usize)
    }

    /// Returns whether the columns of a head, whose halves turn towards each other, are whole
    /// chunks, and both halves of a chunk whole rounds of the invocations.
    fn is_possible(&self) -> bool {
        (16..=128).contains(&self.head_dim)
            && self.chunk > 0
            && self.head_dim.is_multiple_of(self.chunk)
            && self.chunk.is_multiple_of(2 * ACROSS)
    }

    /// Columns of each block in workgroup memory.
    ///
    /// The scores take the place of what nobody reads any more where there is such.
    fn tiles(&self) -> Vec<usize> {
        let chunk = self.chunk;
        match self.pass {
            // Queries; keys, then partial maxima and probabilities; values.
            Pass::Forward => vec![chunk, chunk.max(ROWS + ACROSS), chunk],
            Pass::Means => vec![],
            // Queries and dO; keys; values, then dS.
            Pass::Queries => vec![chunk, chunk, chunk, chunk.max(ROWS)],
            // Keys and values; queries and dO; P and dS.
            Pass::Keys => vec![chunk, chunk, chunk, chunk, ROWS, ROWS],
        }
    }

    /// Bytes of workgroup memory.
    fn memory(&self) -> usize {
        4 * ROWS * self.tiles().iter().sum::<usize>()
    }

    /// Numbers of matrices that are read and written.
    pub fn bindings(&self) -> [usize; 2] {
        let tables = usize::from(self.rotary);
        match self.pass {
            Pass::Forward => [1 + tables, 2],
            Pass::Means => [2, 1],
            Pass::Queries | Pass::Keys => [4 + tables, 1],
        }
    }
}

/// The most matrices of a kernel.
const MATRICES: u32 = 6;

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
