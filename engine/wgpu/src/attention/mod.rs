//! Kernels of self-attention on the device.
//!
//! A workgroup computes a block of queries, or of keys, of one head and meets the blocks of
//! the other side one after the other in workgroup memory. Scores are never stored on the
//! device: the backward computes them again from the logarithms of the sums of exponentials
//! (Dao et al., FlashAttention, 2022). Queries and keys each have a kernel of their own
//! for their gradients, so that nothing is added to by two workgroups at once.

mod source;
mod steps;

pub(super) use source::source;

use engine::backend::AttentionShape;

/// Rows of a block.
pub(super) const ROWS: usize = 32;

/// Invocations that share rows of a block, 4 rows each.
const ACROSS: usize = 8;

/// Invocations of a workgroup.
pub(super) const SIZE: usize = ROWS / 4 * ACROSS;

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
    pub fn new(shape: &AttentionShape, pass: Pass, rotary: bool, memory: u32) -> Option<Self> {
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
pub(super) const MATRICES: u32 = 6;
