//! The equations of the paper written down in f64, one loop for every sum, and one token of n = 2
//! streams of d = 4 channels sent through them.

/// Number of streams of the token.
pub const RATE: usize = 2;
/// Width of a stream.
pub const DIM: usize = 4;
/// The constant under the roots of the norms.
pub const EPS: f32 = 1e-5;

/// The numbers in f64.
pub fn exact(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

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

/// A quantity between the leaves and the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `[A_m | A_r]` of this token.
    Alpha,
    /// B of this token.
    Beta,
    /// h0.
    Input,
    /// H'.
    Mixed,
    /// `T h0`.
    Output,
}

/// The way of the token, by hand.
pub struct ByHand {
    /// H̄ (Eq. 10).
    pub normed: Vec<f64>,
    /// `H̄ [W_m | W_r]`.
    pub alpha_z: Vec<f64>,
    /// `H̄ W_beta`.
    pub beta_z: Vec<f64>,
    /// `[A_m | A_r]` (Eq. 12, 13).
    pub alpha: Vec<f64>,
    /// B (Eq. 11).
    pub beta: Vec<f64>,
    /// h0 (Eq. 3).
    pub input: Vec<f64>,
    /// H' (Eq. 4).
    pub mixed: Vec<f64>,
    /// `T h0`.
    pub output: Vec<f64>,
    /// Ĥ (Eq. 5).
    pub next: Vec<f64>,
}

impl ByHand {
    /// Evaluates the equations; `edit` may change a quantity before it is used.
    pub fn new(parts: &[Vec<f64>; 8], mut edit: impl FnMut(Stage, &mut [f64])) -> Self {
        let [
            state,
            static_alpha,
            static_beta,
            alpha_fn,
            beta_fn,
            s_alpha,
            s_beta,
            weight,
        ] = parts;
        let normed = layer_norm(DIM, state);
        let alpha_z = product(DIM, RATE + 1, &normed, alpha_fn);
        let beta_z = product(DIM, 1, &normed, beta_fn);
        let mut alpha = coefficient(s_alpha[0], &alpha_z, static_alpha);
        edit(Stage::Alpha, &mut alpha);
        let mut beta = coefficient(s_beta[0], &beta_z, static_beta);
        edit(Stage::Beta, &mut beta);
        let (mut input, mut mixed) = width(RATE, DIM, state, &alpha);
        edit(Stage::Input, &mut input);
        edit(Stage::Mixed, &mut mixed);
        let in_layer = layer_norm(DIM, &input);
        let row = |r: usize| &weight[r * DIM..(r + 1) * DIM];
        let mut output: Vec<f64> = (0..DIM)
            .map(|r| {
                row(r)
                    .iter()
                    .zip(&in_layer)
                    .map(|(w, x)| w * x)
                    .sum::<f64>()
            })
            .map(f64::tanh)
            .collect();
        edit(Stage::Output, &mut output);
        let next = depth(DIM, &mixed, &beta, &output);
        Self {
            normed,
            alpha_z,
            beta_z,
            alpha,
            beta,
            input,
            mixed,
            output,
            next,
        }
    }
}
