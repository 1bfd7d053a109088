//! Memory aligned to whole SIMD vectors, and its reuse: after the first steps, a training
//! step allocates nothing.

use crate::simd::{F32, LANES};
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
};

/// A fixed-length slice of `f32` that starts on a 64-byte boundary, so that no
/// vector load of a kernel straddles two cache lines.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    vectors: Vec<F32>,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            vectors: vec![F32::ZERO; len.div_ceil(LANES)],
            len,
        }
    }

    /// A copy of `values`.
    pub fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Number of elements that the memory could hold.
    pub fn capacity(&self) -> usize {
        self.vectors.len() * LANES
    }

    /// Changes the length within the capacity; what the elements hold is
    /// unspecified afterwards.
    ///
    /// # Panics
    /// If `len` exceeds the capacity.
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.capacity(),
            "buffer: {len} elements do not fit in {}",
            self.capacity()
        );
        self.len = len;
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.vectors)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.vectors)[..self.len]
    }
}

/// Buffers waiting to be used again, by size class.
///
/// Classes grow by a quarter, so that sizes that vary from step to step (tokens of
/// an expert) settle on a bounded set of buffers.
#[derive(Debug, Default)]
pub struct Pool {
    free: BTreeMap<usize, Vec<Buffer>>,
    allocated: usize,
    poison: bool,
}

impl Pool {
    /// A pool that fills every buffer it hands out with NaN, for tests: an
    /// operation that does not write all of its output is found out.
    pub fn poisoned() -> Self {
        Self {
            poison: true,
            ..Self::default()
        }
    }

    /// A buffer of `len` elements with unspecified contents.
    pub fn take(&mut self, len: usize) -> Buffer {
        let class = class_of(len);
        let mut buffer = match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(buffer) => buffer,
            None => {
                self.allocated += class;
                Buffer::zeros(class)
            }
        };
        buffer.set_len(len);
        if self.poison {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Buffer) {
        if buffer.capacity() > 0 {
            self.free.entry(buffer.capacity()).or_default().push(buffer);
        }
    }

    /// Elements allocated from the system so far.
    pub fn allocated(&self) -> usize {
        self.allocated
    }
}

/// The smallest class that holds `len` elements: 16, 20, 24, 28, 32, 40 ... vectors.
fn class_of(len: usize) -> usize {
    let vectors = len.div_ceil(16).max(1);
    let step = (vectors.next_power_of_two() / 8).max(1);
    vectors.next_multiple_of(step) * 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_starts_on_a_cache_line() {
        for len in [1, 15, 16, 17, 1000, 100_000] {
            let buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
        }
    }

    #[test]
    fn a_returned_buffer_is_used_again() {
        let mut pool = Pool::default();
        let buffer = pool.take(1000);
        let allocated = pool.allocated();
        pool.give(buffer);
        assert_eq!(pool.take(990).len(), 990);
        assert_eq!(pool.allocated(), allocated);
    }

    #[test]
    fn a_class_wastes_at_most_a_quarter_of_a_large_buffer() {
        for len in 256..20_000 {
            let class = class_of(len);
            assert!(
                class >= len && class * 4 <= len * 5 + 64,
                "{len} -> {class}"
            );
            assert_eq!(class_of(class), class, "a class is its own class");
        }
    }

    #[test]
    fn a_poisoned_pool_hands_out_nan() {
        let mut pool = Pool::poisoned();
        let buffer = pool.take(3);
        assert!(buffer.iter().all(|x| x.is_nan()));
    }
}
