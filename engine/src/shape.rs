//! Shapes of dense row-major tensors.

use std::fmt;

/// The largest rank: `[batch, sequence, stream, channel]` needs no more.
pub const MAX_RANK: usize = 4;

/// The extents of a dense row-major tensor of rank 0 to [`MAX_RANK`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// A shape with these extents.
    ///
    /// # Panics
    /// If there are more than [`MAX_RANK`] of them.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Self {
        assert!(
            dims.len() <= MAX_RANK,
            "shape: {dims:?} has rank {}, at most {MAX_RANK} is supported",
            dims.len()
        );
        let mut shape = Self {
            dims: [0; MAX_RANK],
            rank: dims.len() as u8,
        };
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }

    /// Number of extents.
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// Number of elements; 1 for rank 0.
    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last extent (1 for rank 0): the width of a row.
    pub fn width(&self) -> usize {
        self.dims().last().copied().unwrap_or(1)
    }

    /// Number of rows of [`Shape::width`] elements.
    pub fn rows(&self) -> usize {
        let dims = self.dims();
        dims[..dims.len().saturating_sub(1)].iter().product()
    }

    /// The same shape with another last extent.
    #[track_caller]
    pub fn with_width(&self, width: usize) -> Self {
        assert!(self.rank > 0, "shape: a scalar has no last extent");
        let mut shape = *self;
        shape.dims[self.rank as usize - 1] = width;
        shape
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Self {
        Self::new(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_knows_its_rows_and_its_width() {
        let shape = Shape::from([2, 3, 5]);
        assert_eq!((shape.len(), shape.rows(), shape.width()), (30, 6, 5));
        assert_eq!(shape.with_width(7), Shape::from([2, 3, 7]));
        assert_eq!(shape.to_string(), "[2, 3, 5]");
    }

    #[test]
    fn a_scalar_has_one_element_in_one_row() {
        let shape = Shape::from([]);
        assert_eq!((shape.len(), shape.rows(), shape.width()), (1, 1, 1));
    }

    #[test]
    #[should_panic(expected = "rank 5")]
    fn a_rank_beyond_the_largest_is_refused() {
        Shape::new(&[1, 1, 1, 1, 1]);
    }
}
