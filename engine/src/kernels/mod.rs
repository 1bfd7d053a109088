//! Kernels: plain functions over slices. No tensor, no state but buffers that
//! threads keep.
//!
//! A backward function writes each gradient as `=` or `+=`, as its `accumulate` flag
//! says; overwriting never reads the destination, which may hold anything. Sums run in
//! an order that depends on the shapes alone.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod bf16;
pub mod broadcast;
pub mod elementwise;
pub mod embedding;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod reduce;
pub mod rotary;
pub mod softmax;
#[cfg(test)]
mod testing;

/// Destination of a gradient.
#[derive(Debug)]
pub struct Grad<'a> {
    /// The destination.
    pub values: &'a mut [f32],
    /// Add to `values` instead of overwriting them.
    pub accumulate: bool,
}

/// Panics unless the slice `name` has `expected` elements.
#[track_caller]
#[inline]
pub(crate) fn expect_len(op: &str, name: &str, actual: usize, expected: usize) {
    assert!(
        actual == expected,
        "{op}: {name} has {actual} elements, expected {expected}"
    );
}

/// The number of rows of `width` in `len` elements; panics unless they divide evenly.
#[track_caller]
#[inline]
pub(crate) fn expect_rows(op: &str, name: &str, len: usize, width: usize) -> usize {
    assert!(
        width > 0 && len.is_multiple_of(width),
        "{op}: {name} has {len} elements, expected rows of {width}"
    );
    len / width
}
