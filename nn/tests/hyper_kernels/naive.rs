//! The equations of the paper for rows of tokens, in f64.

use nn::connection::{
    plain::slots::{predict, read},
    streams::predictor::Predictor,
};

pub type Tensor = Vec<f64>;

pub const EPS: f32 = 1e-5;

/// Eq. (10) to (13): `alpha` and `beta`.
pub fn coefficients(
    n: usize,
    d: usize,
    state: &[f64],
    with: &Predictor<&[f64]>,
) -> (Tensor, Tensor) {
    let (mut alpha, mut beta) = (vec![], vec![]);
    for row in state.chunks(n * d) {
        let [of_alpha, of_beta] = predict(n, row, with, 1.0);
        alpha.extend(of_alpha);
        beta.extend(of_beta);
    }
    (alpha, beta)
}

/// One row of coefficients, per row or shared.
fn row_of(x: &[f64], row: usize, len: usize) -> &[f64] {
    if x.len() == len {
        x
    } else {
        &x[row * len..][..len]
    }
}

/// Eq. (3) and (4), `(h0 | H')^T = WC^T H` with `WC = (A_m | A_r)`.
pub fn width(n: usize, d: usize, state: &[f64], alpha: &[f64]) -> (Tensor, Tensor) {
    let (mut hidden, mut mixed) = (vec![], vec![]);
    for (r, row) in state.chunks(n * d).enumerate() {
        let both = read(n, n + 1, row, row_of(alpha, r, n * (n + 1)));
        hidden.extend(&both[..d]);
        mixed.extend(&both[d..]);
    }
    (hidden, mixed)
}

/// Eq. (5): `B^T o^T + H'`.
pub fn depth(n: usize, d: usize, mixed: &[f64], beta: &[f64], output: &[f64]) -> Tensor {
    let mut next = mixed.to_vec();
    for (r, row) in next.chunks_mut(n * d).enumerate() {
        for (j, stream) in row.chunks_mut(d).enumerate() {
            for (k, value) in stream.iter_mut().enumerate() {
                *value += row_of(beta, r, n)[j] * output[r * d + k];
            }
        }
    }
    next
}

/// The sum over the streams.
pub fn reduce(n: usize, d: usize, state: &[f64]) -> Tensor {
    let rows = state.chunks(n * d);
    rows.flat_map(|row| (0..d).map(|k| (0..n).map(|j| row[j * d + k]).sum()))
        .collect()
}
