//! The loops over blocks of rows behind the coefficients and their backward.
//!
//! The weight and bias of the norm are folded into the columns once per call:
//! `x W = ((H - mean) rstd) (diag(weight) W) + bias W`. For the layer norm the folded
//! columns are also centred over d. That changes no product with centred streams, and
//! it makes the backward of the norm free of sums over d: with `p` the products that the
//! forward saved and `u` the gradient of them,
//! `dH = rstd (sum_c u_c column_c - (H - mean) rstd (sum_c u_c p_c) / d)`.

use super::memory::{BlockGrad, Gradients, Outputs, Saved, Sums, block_len};
use super::rows::{Predicted, outer, project};
use super::{Dims, block_rows, fixed, padded, take};
use crate::connection::streams::{
    expect_len,
    predictor::{Predictor, PredictorForm, PredictorNorm},
    put,
    rows::{FEW_REGISTERS, stream_sums},
};
use engine::simd::{F32, LANES as WIDE, load_partial, register::LANES, store_partial, tanh};

/// Panics unless every part of a predictor that is there has its length.
#[track_caller]
pub(super) fn expect_parts<T>(
    op: &str,
    dims: Dims,
    what: &str,
    parts: &Predictor<T>,
    len: impl Fn(&T) -> Option<usize>,
) {
    let (d, [source, column]) = (("d", dims.d), dims.alpha());
    let shapes: [(&str, &[_]); 8] = [
        ("static_alpha", &[source, column]),
        ("static_beta", &[source]),
        ("dynamic_alpha_fn", &[d, column]),
        ("dynamic_beta_fn", &[d]),
        ("dynamic_alpha_scale", &[("one", 1)]),
        ("dynamic_beta_scale", &[("one", 1)]),
        ("norm.weight", &[d]),
        ("norm.bias", &[d]),
    ];
    for (part, (name, shape)) in parts.parts().zip(shapes) {
        expect_len(op, format_args!("{what}{name}"), len(part), shape);
    }
}

/// The parameters in the form that the loops want.
pub(super) struct Folded<'s, const C: usize> {
    dims: Dims,
    form: PredictorForm,
    /// Folded columns, `[column group, chunk, C, LANES]`, 0 beyond d.
    columns: &'s [f32],
    /// For every coefficient of a block: `bias W`, the scale and the static part.
    offset: &'s [f32],
    scale: &'s [f32],
    fixed: &'s [f32],
}

impl<'s, const C: usize> Folded<'s, C> {
    pub fn new(dims: Dims, dynamic: &Predictor<&[f32]>, scratch: &mut &'s mut [f32]) -> Self {
        let Dims { d, .. } = dims;
        let n = fixed::<C>(dims.rate);
        let columns = take(scratch, (n + 2) * padded(d));
        let block = block_len(n);
        let offset = take(scratch, block);
        let scale = take(scratch, block);
        let statics = take(scratch, block);
        columns.fill(0.0);
        for k in 0..d {
            let weight = dynamic.norm_weight.map_or(1.0, |weight| weight[k]);
            for c in 0..n + 2 {
                columns[column_index::<C>(d, c, k)] = weight * column(dynamic, n, c, k);
            }
        }
        if dynamic.form.norm == PredictorNorm::LayerNorm {
            for c in 0..n + 2 {
                let mut sum = 0.0;
                for k in 0..d {
                    sum += columns[column_index::<C>(d, c, k)];
                }
                let mean = sum / d as f32;
                for k in 0..d {
                    columns[column_index::<C>(d, c, k)] -= mean;
                }
            }
        }
        for c in 0..n + 2 {
            let mut sum = 0.0;
            for (k, bias) in dynamic.norm_bias.into_iter().flatten().enumerate() {
                sum += bias * column(dynamic, n, c, k);
            }
            for stream in 0..block_rows(n) * n {
                let at = stream * (n + 2) + c;
                offset[at] = sum;
                let source = stream % n;
                if c <= n {
                    scale[at] = dynamic.alpha_scale[0];
                    statics[at] = dynamic.static_alpha[source * (n + 1) + c];
                } else {
                    scale[at] = dynamic.beta_scale[0];
                    statics[at] = dynamic.static_beta[source];
                }
            }
        }
        Self {
            dims,
            form: dynamic.form,
            columns,
            offset,
            scale,
            fixed: statics,
        }
    }

    /// The activations of some projections, without their offsets.
    #[inline(always)]
    fn activations(&self, products: &[f32], at: usize) -> F32 {
        let projection = load_partial(&products[at..]) + load_partial(&self.offset[at..]);
        if self.form.tanh {
            tanh(projection)
        } else {
            projection
        }
    }

    /// The coefficients of the block of rows that begins at `first`. `values` is memory
    /// for the coefficients of a block.
    #[inline(always)]
    pub fn predict(&self, state: &[f32], out: &mut Outputs, first: usize, values: &mut [f32]) {
        let n = fixed::<C>(self.dims.rate);
        let d = self.dims.d;
        let last = self.dims.rows.min(first + block_rows(n));
        let (mut stream, last_stream) = (first * n, last * n);
        // Two sums of each column, where there are registers for them.
        if !(FEW_REGISTERS && C > 6) {
            while stream + 1 < last_stream {
                self.project_streams::<2>(n, d, state, stream, out);
                stream += 2;
            }
        }
        for stream in stream..last_stream {
            self.project_streams::<1>(n, d, state, stream, out);
        }
        let range = first * n * (n + 2)..last * n * (n + 2);
        let values = &mut values[..range.len()];
        let products = &out.products[range];
        for at in (0..products.len()).step_by(WIDE) {
            let activation = self.activations(products, at);
            let scale = load_partial(&self.scale[at..]);
            let value = scale.mul_add(activation, load_partial(&self.fixed[at..]));
            store_partial(&mut values[at..], value);
        }
        let alpha = &mut out.alpha[first * n * (n + 1)..last * n * (n + 1)];
        let beta = &mut out.beta[first * n..last * n];
        let streams = alpha.chunks_exact_mut(n + 1).zip(beta);
        for (values, (alpha, beta)) in values.chunks_exact(n + 2).zip(streams) {
            alpha.copy_from_slice(&values[..n + 1]);
            *beta = values[n + 1];
        }
    }

    /// The statistics of `S` streams and their products with the columns.
    #[inline(always)]
    fn project_streams<const S: usize>(
        &self,
        n: usize,
        d: usize,
        state: &[f32],
        first: usize,
        out: &mut Outputs,
    ) {
        let streams = &state[first * d..][..S * d];
        let inverse = 1.0 / d as f32;
        let mean = if self.form.norm == PredictorNorm::LayerNorm {
            stream_sums::<S>(d, streams).map(|sum| sum * inverse)
        } else {
            [0.0; S]
        };
        let mut rstd = [1.0; S];
        for (group, columns) in self.columns.chunks_exact(C * padded(d)).enumerate() {
            let (squares, products) = project::<C, S>(d, streams, mean, columns);
            if group == 0 && self.form.norm != PredictorNorm::None {
                let eps = self.form.eps;
                rstd = squares.map(|square| 1.0 / (square * inverse + eps).sqrt());
            }
            for s in 0..S {
                let slot = &mut out.products[(first + s) * (n + 2) + group * C..][..C];
                for c in 0..C {
                    slot[c] = products[s][c] * rstd[s];
                }
            }
        }
        out.mean[first..first + S].copy_from_slice(&mean);
        out.rstd[first..first + S].copy_from_slice(&rstd);
    }

    /// From the gradient of the coefficients of a block to what `collect` and the
    /// parameters need. `read_grad` is what the read adds to the gradient of column 0
    /// of `alpha`, one number per stream of the block.
    #[inline(always)]
    pub fn backward(
        &self,
        saved: &Saved,
        first: usize,
        read_grad: Option<&[f32]>,
        sums: &mut Sums,
        block: &mut BlockGrad,
    ) {
        let n = fixed::<C>(self.dims.rate);
        let d = self.dims.d;
        let last = self.dims.rows.min(first + block_rows(n));
        let streams = first * n..last * n;
        let weights = &mut block.weights[..streams.len() * (n + 2)];
        for (index, weights) in weights.chunks_exact_mut(n + 2).enumerate() {
            let stream = streams.start + index;
            match saved.alpha_grad {
                Some(grad) => {
                    weights[..n + 1].copy_from_slice(&grad[stream * (n + 1)..][..n + 1]);
                }
                None => weights[..n + 1].fill(0.0),
            }
            if let Some(read_grad) = read_grad {
                weights[0] += read_grad[index];
            }
            weights[n + 1] = saved.beta_grad.map_or(0.0, |grad| grad[stream]);
        }
        let products = &saved.products[streams.start * (n + 2)..streams.end * (n + 2)];
        for at in (0..products.len()).step_by(WIDE) {
            let grad = load_partial(&weights[at..]);
            let activation = self.activations(products, at);
            let mut slope = load_partial(&self.scale[at..]);
            if self.form.tanh {
                slope *= activation.mul_neg_add(activation, F32::ONE);
            }
            let projected = grad * slope;
            for (sum, value) in [
                (&mut *sums.coefficients, grad),
                (&mut *sums.scales, grad * activation),
                (&mut *sums.projections, projected),
            ] {
                let sum = &mut sum[at..];
                store_partial(sum, load_partial(sum) + value);
            }
            store_partial(&mut weights[at..], projected);
        }
        let inverse = 1.0 / d as f32;
        let normalised = self.form.norm != PredictorNorm::None;
        let rstd = &saved.rstd[streams.clone()];
        let rows = weights
            .chunks_exact_mut(n + 2)
            .zip(products.chunks_exact(n + 2));
        for (((weights, products), rstd), slope) in rows.zip(rstd).zip(&mut *block.slope) {
            let mut along = 0.0;
            for (weight, product) in weights.iter_mut().zip(products) {
                along += *weight * product;
                *weight *= rstd;
            }
            *slope = if normalised {
                rstd * rstd * along * inverse
            } else {
                0.0
            };
        }
        if let Some(columns) = &mut sums.columns {
            let state = &saved.state[streams.start * d..streams.end * d];
            outer::<C>(d, state, &saved.mean[streams], weights, columns);
        }
    }

    /// The gradient of the streams of row `row` of the block that begins at `first`.
    #[inline(always)]
    pub fn predicted<'p>(
        &'p self,
        saved: &Saved<'p>,
        block: &'p BlockGrad,
        first: usize,
        row: usize,
    ) -> Predicted<'p> {
        let n = fixed::<C>(self.dims.rate);
        let d = self.dims.d;
        Predicted {
            streams: &saved.state[row * n * d..][..n * d],
            mean: &saved.mean[row * n..][..n],
            columns: self.columns,
            weights: &block.weights[(row - first) * n * (n + 2)..][..n * (n + 2)],
            slope: &block.slope[(row - first) * n..][..n],
        }
    }

    /// Writes the gradients of the parameters.
    pub fn finish(&self, dynamic: &Predictor<&[f32]>, sums: &mut Sums, grads: Gradients) {
        let n = fixed::<C>(self.dims.rate);
        let d = self.dims.d;
        let stream = n + 2;
        let coefficients = fold(sums.coefficients, n * stream);
        if let Some(mut grad) = grads.static_alpha {
            put(&mut grad, of_alpha(coefficients, n));
        }
        if let Some(mut grad) = grads.static_beta {
            put(&mut grad, of_beta(coefficients, n));
        }
        // Sums of both signs over all tokens and streams: what is left of them is small.
        if let Some(mut grad) = grads.alpha_scale {
            let sum: f64 = of_alpha(sums.scales, n).map(f64::from).sum();
            put(&mut grad, [sum as f32]);
        }
        if let Some(mut grad) = grads.beta_scale {
            let sum: f64 = of_beta(sums.scales, n).map(f64::from).sum();
            put(&mut grad, [sum as f32]);
        }
        let shifts = fold(sums.projections, stream);
        if let Some(mut grad) = grads.norm_bias.flatten() {
            let biases = (0..d).map(|k| over_columns(dynamic, n, k, |c| shifts[c]));
            put(&mut grad, biases);
        }
        let Some(columns) = &sums.columns else {
            return;
        };
        let column_of = |c: usize, k: usize| columns[column_index::<C>(d, c, k)];
        if let Some(mut grad) = grads.norm_weight.flatten() {
            let weights = (0..d).map(|k| over_columns(dynamic, n, k, |c| column_of(c, k)));
            put(&mut grad, weights);
        }
        let column_grad = |c: usize, k: usize| {
            let weight = dynamic.norm_weight.map_or(1.0, |weight| weight[k]);
            let bias = dynamic.norm_bias.map_or(0.0, |bias| bias[k]);
            weight * column_of(c, k) + bias * shifts[c]
        };
        if let Some(mut grad) = grads.alpha_fn {
            let elements = 0..d * (n + 1);
            put(
                &mut grad,
                elements.map(|at| column_grad(at % (n + 1), at / (n + 1))),
            );
        }
        if let Some(mut grad) = grads.beta_fn {
            put(&mut grad, (0..d).map(|k| column_grad(n + 1, k)));
        }
    }
}

/// Of sums of all coefficients, those of alpha.
fn of_alpha(sums: &[f32], n: usize) -> impl Iterator<Item = f32> {
    let streams = sums.chunks_exact(n + 2);
    streams.flat_map(move |sums| sums[..n + 1].iter().copied())
}

/// Of sums of all coefficients, those of beta.
fn of_beta(sums: &[f32], n: usize) -> impl Iterator<Item = f32> {
    sums.chunks_exact(n + 2).map(move |sums| sums[n + 1])
}

/// Element k of projection `c`: the columns of `W_alpha`, then `w_beta`.
#[inline(always)]
fn column(dynamic: &Predictor<&[f32]>, rate: usize, c: usize, k: usize) -> f32 {
    if c <= rate {
        dynamic.alpha_fn[k * (rate + 1) + c]
    } else {
        dynamic.beta_fn[k]
    }
}

/// The sum over all projections of element k times a factor.
#[inline(always)]
fn over_columns(
    dynamic: &Predictor<&[f32]>,
    rate: usize,
    k: usize,
    factor: impl Fn(usize) -> f32,
) -> f32 {
    (0..rate + 2)
        .map(|c| column(dynamic, rate, c, k) * factor(c))
        .sum()
}

/// The place of element `k` of column `c` in `[column group, chunk, C, LANES]`.
#[inline(always)]
fn column_index<const C: usize>(d: usize, c: usize, k: usize) -> usize {
    (c / C) * C * padded(d) + ((k / LANES) * C + c % C) * LANES + k % LANES
}

/// Adds all further runs of `len` elements to the first, which it returns.
fn fold(sums: &mut [f32], len: usize) -> &[f32] {
    let (total, rest) = sums.split_at_mut(len);
    for run in rest.chunks_exact(len) {
        for (total, value) in total.iter_mut().zip(run) {
            *total += value;
        }
    }
    total
}
