//! The formulas of connections, written down once more in f64 and without haste, over any
//! [scalar](engine::scalar): the checks of the kernels compare with them, and reference values for
//! others are computed by them. All of them treat one token.

mod apply;
pub mod constrained;
pub mod slots;

pub use apply::{Around, Carried, apply};

use super::PredictorNorm;
use engine::scalar::Real;

/// The norm of `x`; without weight and bias they are 1 and 0.
pub fn norm<T: Real>(
    kind: PredictorNorm,
    x: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    eps: f32,
) -> Vec<T> {
    let count = T::from(x.len() as f64);
    let mean = match kind {
        PredictorNorm::LayerNorm => x.iter().copied().sum::<T>() / count,
        PredictorNorm::RmsNorm | PredictorNorm::None => T::from(0.0),
    };
    let squares = x.iter().map(|&x| (x - mean) * (x - mean));
    let root = match kind {
        PredictorNorm::None => T::from(1.0),
        _ => (squares.sum::<T>() / count + T::from(f64::from(eps))).sqrt(),
    };
    let normed = x.iter().enumerate().map(|(k, &x)| {
        let scaled = (x - mean) / root * weight.map_or(T::from(1.0), |weight| weight[k]);
        scaled + bias.map_or(T::from(0.0), |bias| bias[k])
    });
    normed.collect()
}

/// `x M` for a matrix `[x.len(), columns]`.
pub fn project<T: Real>(x: &[T], matrix: &[T], columns: usize) -> Vec<T> {
    assert_eq!(matrix.len(), x.len() * columns, "project: the matrix");
    let of_column = |c| {
        let terms = x.iter().zip(matrix[c..].iter().step_by(columns));
        terms.map(|(&x, &m)| x * m).sum()
    };
    (0..columns).map(of_column).collect()
}

/// `x Wᵀ` for weights `[out, x.len()]`.
pub fn linear<T: Real>(x: &[T], weight: &[T]) -> Vec<T> {
    let rows = weight.chunks(x.len());
    rows.map(|row| row.iter().zip(x).map(|(&w, &x)| w * x).sum())
        .collect()
}

/// The softmax of a few numbers.
pub fn softmax<T: Real>(z: &[T]) -> Vec<T> {
    let largest = z.iter().fold(f64::MIN, |most, z| most.max(z.value()));
    let exps: Vec<T> = z.iter().map(|&z| (z - T::from(largest)).exp()).collect();
    let sum: T = exps.iter().copied().sum();
    exps.into_iter().map(|e| e / sum).collect()
}
