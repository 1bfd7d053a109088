//! The equations of the paper written down in f64, one loop for every sum.

use super::token::EPS;

/// Layer norm of every row of `d` numbers, without weight and bias.
pub fn layer_norm(d: usize, x: &[f64]) -> Vec<f64> {
    x.chunks(d)
        .flat_map(|row| {
            let mean = row.iter().sum::<f64>() / d as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
            let deviation = (variance + f64::from(EPS)).sqrt();
            row.iter().map(move |x| (x - mean) / deviation)
        })
        .collect()
}

/// `x w`: x `[rows, inner]`, w `[inner, columns]`.
pub fn product(inner: usize, columns: usize, x: &[f64], w: &[f64]) -> Vec<f64> {
    x.chunks(inner)
        .flat_map(|row| {
            (0..columns).map(move |c| (0..inner).map(|k| row[k] * w[k * columns + c]).sum())
        })
        .collect()
}

/// Eq. 11 to 13, `scale tanh(z) + static_part`.
pub fn coefficient(scale: f64, z: &[f64], static_part: &[f64]) -> Vec<f64> {
    let both = z.iter().zip(static_part);
    both.map(|(z, a)| scale * z.tanh() + a).collect()
}

/// Eq. 3 and 4, `(h0 | H') = WCᵀ H` of one token.
pub fn width(n: usize, d: usize, state: &[f64], alpha: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let column = |c: usize| {
        (0..d).map(move |k| {
            (0..n)
                .map(|i| alpha[i * (n + 1) + c] * state[i * d + k])
                .sum()
        })
    };
    (column(0).collect(), (1..=n).flat_map(column).collect())
}

/// Eq. 5, `Ĥ = Bᵀ oᵀ + H'` of one token.
pub fn depth(d: usize, mixed: &[f64], beta: &[f64], output: &[f64]) -> Vec<f64> {
    let at = |i: usize| beta[i / d] * output[i % d] + mixed[i];
    (0..mixed.len()).map(at).collect()
}
