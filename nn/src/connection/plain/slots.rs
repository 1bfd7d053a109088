//! Reads, writes and predicted coefficients of states of slots: of streams and of fractions.

use super::{norm, project};
use crate::connection::streams::{predictor::Predictor, slots::WriteForm};
use engine::scalar::Real;

/// The first `reads` mixtures of n slots, `x_j = sum_i alpha[i, j] H_i`, concatenated: of
/// `alpha` `[n, columns]`.
pub fn read<T: Real>(n: usize, reads: usize, state: &[T], alpha: &[T]) -> Vec<T> {
    let (width, columns) = (state.len() / n, alpha.len() / n);
    let element = |j: usize, c: usize| {
        let terms = (0..n).map(|i| alpha[i * columns + j] * state[i * width + c]);
        terms.sum()
    };
    (0..reads)
        .flat_map(|j| (0..width).map(move |c| (j, c)))
        .map(|(j, c)| element(j, c))
        .collect()
}

/// The slots after a sublayer, `H'_j = sum_i alpha[i, reads + j] H_i` and what `beta` gives slot j
/// of the pieces of the output: `sum_i beta[j, i] y_i`, or `beta[j] y_j`.
pub fn write<T: Real>(
    [n, reads]: [usize; 2],
    form: WriteForm,
    state: &[T],
    alpha: &[T],
    beta: &[T],
    output: &[T],
) -> Vec<T> {
    let width = state.len() / n;
    let mixes = alpha.chunks(reads + n).flat_map(|row| &row[reads..]);
    let mixes: Vec<T> = mixes.copied().collect();
    let mut next = read(n, n, state, &mixes);
    for (at, next) in next.iter_mut().enumerate() {
        let (j, c) = (at / width, at % width);
        let written: T = match form {
            WriteForm::Full => (0..reads)
                .map(|i| beta[j * reads + i] * output[i * width + c])
                .sum(),
            WriteForm::Diagonal => beta[j] * output[j * width + c],
        };
        *next = *next + written;
    }
    next
}

/// `[alpha, beta]` as each of n slots predicts its row of them, `scale act(norm(H_i) W / tau) +
/// static` (Eq. 10 to 13 of hyper-connections): a scale for all or one for each coefficient.
pub fn predict<T: Real>(n: usize, state: &[T], with: &Predictor<&[T]>, tau: f32) -> [Vec<T>; 2] {
    let form = with.form;
    let families = [
        (with.alpha_fn, with.static_alpha, with.alpha_scale),
        (with.beta_fn, with.static_beta, with.beta_scale),
    ];
    families.map(|(projection, statics, scale)| {
        let columns = statics.len() / n;
        let logits = state.chunks(state.len() / n).flat_map(|slot| {
            let (weight, bias) = (with.norm_weight, with.norm_bias);
            project(
                &norm(form.norm, slot, weight, bias, form.eps),
                projection,
                columns,
            )
        });
        let tau = T::from(f64::from(tau));
        let coefficients = logits.zip(statics).enumerate().map(|(at, (z, &fixed))| {
            let z = z / tau;
            let z = if form.tanh { z.tanh() } else { z };
            scale[if scale.len() == 1 { 0 } else { at }] * z + fixed
        });
        coefficients.collect()
    })
}
