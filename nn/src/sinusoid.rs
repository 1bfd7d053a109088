//! Sinusoids of numbers: timesteps of a diffusion, rows and columns of an image.
//!
//! A number `x` becomes `width` features, `[cos(w_0 x), .., cos(w_{h-1} x), sin(w_0 x), ..,
//! sin(w_{h-1} x)]` with `h = width / 2` and `w_i = 10000^(-i/h)` (Vaswani et al., Attention
//! Is All You Need, 2017). DiT's code has timesteps in this order (`timestep_embedding`), but
//! positions with sines first (`get_1d_sincos_pos_embed_from_grid`, from MAE). Positions here
//! have cosines first too: the same numbers in other places, which a network whose weights
//! start independent and alike cannot tell apart.

use engine::{
    op::{Backward, Forward, Ints, Op},
    shape::Shape,
    tape::{Tape, Var},
};

const LONGEST_PERIOD: f64 = 10_000.0;

/// The features of `x`.
///
/// # Panics
/// If the width is odd.
#[track_caller]
pub fn features(x: f64, out: &mut [f32]) {
    assert!(out.len().is_multiple_of(2), "sinusoid: an odd width");
    let half = out.len() / 2;
    let (cosines, sines) = out.split_at_mut(half);
    for (i, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
        let (s, c) = (x * LONGEST_PERIOD.powf(-(i as f64) / half as f64)).sin_cos();
        (*cosine, *sine) = (c as f32, s as f32);
    }
}

/// The positions `[side², dim]` of patches in a square, row by row: the first half of the
/// features is of the column, the second of the row, as in MAE and DiT; within each half
/// cosines come before sines, in MAE and DiT after them. They are fixed.
///
/// # Panics
/// If the width is no multiple of 4.
#[track_caller]
pub fn positions_2d(side: usize, dim: usize) -> Vec<f32> {
    assert!(dim.is_multiple_of(4), "positions_2d: dim {dim}");
    let mut table = vec![0.0; side * side * dim];
    for (i, position) in table.chunks_exact_mut(dim).enumerate() {
        let (of_column, of_row) = position.split_at_mut(dim / 2);
        features((i % side) as f64, of_column);
        features((i / side) as f64, of_row);
    }
    table
}

struct Sinusoids {
    numbers: Ints,
    width: usize,
}

impl Op for Sinusoids {
    fn name(&self) -> &'static str {
        "sinusoids"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [y] = cx.outputs();
        let rows = y.chunks_exact_mut(self.width);
        for (row, &number) in rows.zip(cx.ints(self.numbers)) {
            features(f64::from(number), row);
        }
    }

    /// Whole numbers have no gradient.
    fn backward(&self, _: &mut Backward<'_>) {}
}

/// The features `[numbers, width]` of whole numbers.
///
/// # Panics
/// If the width is odd.
#[track_caller]
pub fn sinusoids<'t>(tape: &'t Tape, numbers: &[u32], width: usize) -> Var<'t> {
    let op = Sinusoids {
        numbers: tape.ints(numbers),
        width,
    };
    let [y] = tape.apply(op, &[], [Shape::from([numbers.len(), width])]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_cosines_then_sines_of_falling_frequencies() {
        let tape = Tape::new();
        let rows = sinusoids(&tape, &[0, 7], 4).value();
        assert_eq!(rows[..4], [1.0, 1.0, 0.0, 0.0]);
        let expected = [7_f64.cos(), 0.07_f64.cos(), 7_f64.sin(), 0.07_f64.sin()];
        for (x, expected) in rows[4..].iter().zip(expected) {
            assert!(
                (f64::from(*x) - expected).abs() < 1e-7,
                "{x} and {expected}"
            );
        }
    }

    #[test]
    fn a_position_tells_its_column_and_its_row() {
        let (side, dim) = (3, 8);
        let table = positions_2d(side, dim);
        let at = |row: usize, column: usize| &table[(row * side + column) * dim..][..dim];
        assert_eq!(at(0, 2)[..4], at(1, 2)[..4]);
        assert_eq!(at(1, 0)[4..], at(1, 2)[4..]);
        assert_eq!(at(2, 1)[..4], at(0, 1)[..4]);
        assert_ne!(at(1, 2), at(2, 1));
        assert_eq!(at(0, 0)[..4], [1.0, 1.0, 0.0, 0.0], "cosines first");
    }
}
