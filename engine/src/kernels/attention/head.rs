//! One head, and how its work is cut into blocks and packed rows.

use std::ops::Range;

use super::pack::HeadRows;
use super::tile::{BLOCK_COLUMNS, GROUP, PANEL, Queries};
use crate::kernels::rotary::Rotary;
use crate::simd::register;

/// Keys of a block: a panel's scores for it stay in the first-level cache.
pub(super) const BLOCK: usize = 128;

/// One head of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub seq: usize,
    pub head_dim: usize,
    pub causal: bool,
    pub scale: f32,
    pub rotary: Option<Rotary<'a>>,
    pub queries: HeadRows<'a>,
    pub keys: HeadRows<'a>,
    pub values: HeadRows<'a>,
}

impl Head<'_> {
    /// Number of keys that a query sees; a query past the end as the last one.
    #[inline(always)]
    pub(super) fn keys_seen_by(&self, query: usize) -> usize {
        if self.causal {
            self.seq.min(query + 1)
        } else {
            self.seq
        }
    }

    /// The end of the keys of a block that the first half of the panel from `first_query`
    /// on sees: from there on only the second half counts.
    #[inline(always)]
    pub(super) fn seen_by_half(&self, first_query: usize, block: Range<usize>) -> usize {
        if self.causal {
            (first_query + PANEL / 2).clamp(block.start, block.end)
        } else {
            block.end
        }
    }

    /// Floats from one packed row to the next.
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        packed_stride(self.head_dim)
    }

    /// The blocks of a transposed panel that are not all padding.
    #[inline(always)]
    pub(super) fn blocks<'a>(&self, columns: &'a [Queries]) -> &'a [[Queries; BLOCK_COLUMNS]] {
        &columns.as_chunks().0[..self.head_dim.div_ceil(BLOCK_COLUMNS)]
    }

    /// Returns whether a query of the panel from `first_query` on does not see all keys of
    /// the group from `key` on.
    #[inline(always)]
    pub(super) fn hides_some(&self, key: usize, first_query: usize) -> bool {
        key + GROUP > self.keys_seen_by(first_query)
    }
}

/// Floats from one packed row to the next: whole registers and whole blocks of columns.
pub(super) fn packed_stride(head_dim: usize) -> usize {
    head_dim.next_multiple_of(register::LANES.max(BLOCK_COLUMNS))
}

/// Takes some floats off the front of the scratch.
pub(super) fn take<'a>(scratch: &mut &'a mut [f32], floats: usize) -> &'a mut [f32] {
    scratch
        .split_off_mut(..floats)
        .expect("the scratch was checked")
}
