//! The pieces of a vector and their copies in the slots, as matrices.

/// `[n, m]`: 1 where slot j has a copy of piece i, `j mod m = i`.
pub(super) fn copies(m: usize, n: usize) -> Vec<f32> {
    let element = |at: usize| f32::from(at / m % m == at % m);
    (0..n * m).map(element).collect()
}

/// `[n, m]`: what takes the mean of all copies of a piece.
pub(super) fn means(m: usize, n: usize) -> Vec<f32> {
    let mut means = copies(m, n);
    for (at, mean) in means.iter_mut().enumerate() {
        let piece = at % m;
        *mean /= (piece..n).step_by(m).count() as f32;
    }
    means
}

/// The transpose of a matrix of `columns` columns.
pub(super) fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let element = |at: usize| matrix[at % rows * columns + at / rows];
    (0..matrix.len()).map(element).collect()
}

/// What a matrix of `columns` columns does to numbers, done to pieces of `width` numbers:
/// every element times the identity.
pub(super) fn of_pieces(matrix: &[f32], columns: usize, width: usize) -> Vec<f32> {
    let wide = columns * width;
    let mut out = vec![0.0; matrix.len() * width * width];
    for (at, &value) in matrix.iter().enumerate() {
        for c in 0..width {
            out[(at / columns * width + c) * wide + at % columns * width + c] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_their_copies() {
        assert_eq!(copies(2, 3), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(means(2, 3), [0.5, 0.0, 0.0, 1.0, 0.5, 0.0]);
        assert_eq!(transposed(&copies(2, 3), 2), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(
            of_pieces(&[1.0, 2.0], 2, 2),
            [
                1.0, 0.0, 2.0, 0.0, //
                0.0, 1.0, 0.0, 2.0
            ]
        );
    }
}
