//! Rotary position embedding (Su et al., RoFormer, 2021, equation 34), in the
//! half-split convention: the vector of one head is (a, b), two halves, and
//! `a' = a cos - b sin`, `b' = a sin + b cos`. Lane `i` of both halves turns by
//! the angle `position * theta^(-2 i / head_dim)`.
//!
//! The rotation is orthogonal, so its gradient is the rotation backwards.

use crate::simd::register::{LANES, Register, load_partial, store_partial};

/// Tables of a rotation: cosine and sine, each `[positions, head_dim / 2]`.
///
/// [`fill_rotary_tables`] computes them. More positions than a sequence has
/// tokens are fine: the first ones are used.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    /// Cosines, `[positions, head_dim / 2]`.
    pub cos: &'a [f32],
    /// Sines, `[positions, head_dim / 2]`.
    pub sin: &'a [f32],
}

impl<'a> Rotary<'a> {
    /// Cosines and sines of one position, `head_dim / 2` each.
    #[inline(always)]
    pub(super) fn at(&self, position: usize, half: usize) -> (&'a [f32], &'a [f32]) {
        let range = position * half..(position + 1) * half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Fills the tables of [`Rotary`] for the positions 0, 1, ...; as many as fit.
///
/// Angles, sines and cosines are computed in f64 and rounded once. `theta` is the
/// base of the frequencies (10000 in the paper).
///
/// # Panics
/// If `head_dim` is odd or zero, or the tables are not both `[positions, head_dim / 2]`.
#[track_caller]
pub fn fill_rotary_tables(theta: f64, head_dim: usize, cos: &mut [f32], sin: &mut [f32]) {
    assert!(
        head_dim > 0 && head_dim.is_multiple_of(2),
        "rotary: head_dim is {head_dim}, expected an even number of at least 2"
    );
    let half = head_dim / 2;
    assert!(
        cos.len() == sin.len() && cos.len().is_multiple_of(half),
        "rotary: cos is [{}] and sin is [{}], expected both [positions, head_dim / 2 = {half}]",
        cos.len(),
        sin.len()
    );
    let rows = cos.chunks_exact_mut(half).zip(sin.chunks_exact_mut(half));
    for (position, (cos, sin)) in rows.enumerate() {
        for (i, (cos, sin)) in cos.iter_mut().zip(sin).enumerate() {
            let frequency = theta.powf(-2.0 * i as f64 / head_dim as f64);
            let (s, c) = (position as f64 * frequency).sin_cos();
            *cos = c as f32;
            *sin = s as f32;
        }
    }
}

/// `out = scale * rotation(x)` for one head at one position; `x` and `out` are
/// `[2 * half]`, the tables' rows `[half]`.
#[inline(always)]
pub(super) fn rotate(x: &[f32], rotation: (&[f32], &[f32]), scale: f32, out: &mut [f32]) {
    turn(x, rotation, scale, out, |a, b, cos, sin| {
        (a.mul_sub(cos, b * sin), a.mul_add(sin, b * cos))
    });
}

/// `out = scale * inverse rotation(x)`: the gradient of [`rotate`].
#[inline(always)]
pub(super) fn rotate_back(x: &[f32], rotation: (&[f32], &[f32]), scale: f32, out: &mut [f32]) {
    turn(x, rotation, scale, out, |a, b, cos, sin| {
        (a.mul_add(cos, b * sin), b.mul_sub(cos, a * sin))
    });
}

/// Applies `f(a, b, cos, sin)` to the scaled halves of `x`.
#[inline(always)]
fn turn(
    x: &[f32],
    (cos, sin): (&[f32], &[f32]),
    scale: f32,
    out: &mut [f32],
    f: impl Fn(Register, Register, Register, Register) -> (Register, Register),
) {
    let half = cos.len();
    let scale = Register::splat(scale);
    let (a, b) = x.split_at(half);
    let (out_a, out_b) = out.split_at_mut(half);
    let (a, a_rest) = a.as_chunks();
    let (b, b_rest) = b.as_chunks();
    let (cos, cos_rest) = cos.as_chunks();
    let (sin, sin_rest) = sin.as_chunks();
    let (out_a, out_a_rest) = out_a.as_chunks_mut::<LANES>();
    let (out_b, out_b_rest) = out_b.as_chunks_mut::<LANES>();
    let inputs = a.iter().zip(b).zip(cos.iter().zip(sin));
    for (((a, b), (cos, sin)), (out_a, out_b)) in inputs.zip(out_a.iter_mut().zip(out_b)) {
        let (a, b) = (Register::new(*a) * scale, Register::new(*b) * scale);
        let (turned_a, turned_b) = f(a, b, Register::new(*cos), Register::new(*sin));
        *out_a = turned_a.to_array();
        *out_b = turned_b.to_array();
    }
    if !a_rest.is_empty() {
        let (a, b) = (load_partial(a_rest) * scale, load_partial(b_rest) * scale);
        let (a, b) = f(a, b, load_partial(cos_rest), load_partial(sin_rest));
        store_partial(out_a_rest, a);
        store_partial(out_b_rest, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_the_rounded_sine_and_cosine_of_every_angle() {
        let (positions, head_dim, theta) = (7, 6, 10_000.0f64);
        let (mut cos, mut sin) = (vec![f32::NAN; 21], vec![f32::NAN; 21]);
        fill_rotary_tables(theta, head_dim, &mut cos, &mut sin);
        for position in 0..positions {
            for i in 0..3 {
                let angle = position as f64 / theta.powf(i as f64 / 3.0);
                assert!((cos[position * 3 + i] as f64 - angle.cos()).abs() < 1e-7);
                assert!((sin[position * 3 + i] as f64 - angle.sin()).abs() < 1e-7);
            }
        }
        assert_eq!((cos[0], sin[0]), (1.0, 0.0));
    }

    #[test]
    fn the_halves_turn_towards_each_other() {
        // One quarter turn: a' = -b, b' = a.
        let mut out = [f32::NAN; 2];
        rotate(&[3.0, 5.0], (&[0.0], &[1.0]), 2.0, &mut out);
        assert_eq!(out, [-10.0, 6.0]);
    }

    #[test]
    fn rotating_back_undoes_the_rotation_for_every_width() {
        for half in [1, 2, 8, 15, 16, 17, 32, 40] {
            let (mut cos, mut sin) = (vec![0.0; 10 * half], vec![0.0; 10 * half]);
            fill_rotary_tables(100.0, 2 * half, &mut cos, &mut sin);
            let rotary = Rotary {
                cos: &cos,
                sin: &sin,
            };
            let x: Vec<f32> = (0..2 * half).map(|i| (i as f32 * 0.7).sin()).collect();
            let (mut turned, mut back) = (vec![f32::NAN; 2 * half], vec![f32::NAN; 2 * half]);
            rotate(&x, rotary.at(9, half), 4.0, &mut turned);
            rotate_back(&turned, rotary.at(9, half), 0.25, &mut back);
            for (x, back) in x.iter().zip(&back) {
                assert!((x - back).abs() < 1e-6, "half {half}: {x} became {back}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "rotary: head_dim is 5")]
    fn an_odd_head_dim_is_refused() {
        fill_rotary_tables(10_000.0, 5, &mut [], &mut []);
    }
}
