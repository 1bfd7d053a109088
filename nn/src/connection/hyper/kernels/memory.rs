//! The memory of the passes: outputs, saved values, and sums.

use super::{Dims, Grad, block_rows, padded, stats_len, take};
use crate::connection::streams::{expect_len, predictor::Predictor};

/// Where the gradients of a predictor go.
pub(super) type Gradients<'a> = Predictor<Option<Grad<'a>>>;

/// Elements of the coefficients of a block of rows, `[rows, rate, rate + 2]`.
pub(super) fn block_len(rate: usize) -> usize {
    block_rows(rate) * rate * (rate + 2)
}

/// Where the forward writes.
pub(super) struct Outputs<'a> {
    pub alpha: &'a mut [f32],
    pub beta: &'a mut [f32],
    pub products: &'a mut [f32],
    pub mean: &'a mut [f32],
    pub rstd: &'a mut [f32],
}

impl<'a> Outputs<'a> {
    #[track_caller]
    pub fn new(
        op: &str,
        dims: Dims,
        alpha: &'a mut [f32],
        beta: &'a mut [f32],
        stats: &'a mut [f32],
    ) -> Self {
        let Dims { rows, rate, .. } = dims;
        dims.expect_alpha(op, "alpha", alpha.len());
        dims.expect_beta(op, "beta", beta.len());
        expect_len(
            op,
            "stats",
            stats.len(),
            &[("stats_len =", stats_len(dims))],
        );
        let (products, rest) = stats.split_at_mut(rows * rate * (rate + 2));
        let (mean, rstd) = rest.split_at_mut(rows * rate);
        Self {
            alpha,
            beta,
            products,
            mean,
            rstd,
        }
    }
}

/// The values that the backward reads.
pub(super) struct Saved<'a> {
    pub state: &'a [f32],
    pub products: &'a [f32],
    pub mean: &'a [f32],
    pub rstd: &'a [f32],
    pub alpha_grad: Option<&'a [f32]>,
    pub beta_grad: Option<&'a [f32]>,
}

impl<'a> Saved<'a> {
    #[track_caller]
    pub fn new(
        op: &str,
        dims: Dims,
        state: &'a [f32],
        stats: &'a [f32],
        alpha_grad: Option<&'a [f32]>,
        beta_grad: Option<&'a [f32]>,
    ) -> Self {
        let Dims { rows, rate, .. } = dims;
        dims.expect_state(op, "state", state.len());
        expect_len(
            op,
            "stats",
            stats.len(),
            &[("stats_len =", stats_len(dims))],
        );
        dims.expect_alpha(op, "the gradient of alpha", alpha_grad.map(<[f32]>::len));
        dims.expect_beta(op, "the gradient of beta", beta_grad.map(<[f32]>::len));
        let (products, rest) = stats.split_at(rows * rate * (rate + 2));
        let (mean, rstd) = rest.split_at(rows * rate);
        Self {
            state,
            products,
            mean,
            rstd,
            alpha_grad,
            beta_grad,
        }
    }
}

/// The sums over the rows from which the gradients of the parameters are made.
pub(super) struct Sums<'s> {
    /// `sum x_hat u_c`, `[column group, chunk, C, LANES]`; `None` if not needed.
    pub columns: Option<&'s mut [f32]>,
    /// Of a block, `[rows, rate, rate + 2]`: the gradient of the coefficients,
    pub coefficients: &'s mut [f32],
    /// that of the coefficients times tanh,
    pub scales: &'s mut [f32],
    /// and that of the projections.
    pub projections: &'s mut [f32],
}

impl<'s> Sums<'s> {
    pub fn new(dims: Dims, grads: &Gradients, scratch: &mut &'s mut [f32]) -> Self {
        let len = block_len(dims.rate);
        // Sums over the streams, and not only over the coefficients.
        let needs_columns = grads.alpha_fn.is_some()
            || grads.beta_fn.is_some()
            || matches!(grads.norm_weight, Some(Some(_)));
        let columns = needs_columns.then(|| {
            let columns = take(scratch, (dims.rate + 2) * padded(dims.d));
            columns.fill(0.0);
            columns
        });
        let coefficients = take(scratch, len);
        let scales = take(scratch, len);
        let projections = take(scratch, len);
        coefficients.fill(0.0);
        scales.fill(0.0);
        projections.fill(0.0);
        Self {
            columns,
            coefficients,
            scales,
            projections,
        }
    }
}

/// The gradients of one block of rows.
pub(super) struct BlockGrad<'s> {
    /// Of the coefficients, then of the products before `rstd`, `[rows, rate, rate + 2]`.
    pub weights: &'s mut [f32],
    /// The coefficient of `H - mean` in the gradient of each stream.
    pub slope: &'s mut [f32],
}

impl<'s> BlockGrad<'s> {
    pub fn new(dims: Dims, scratch: &mut &'s mut [f32]) -> Self {
        Self {
            weights: take(scratch, block_len(dims.rate)),
            slope: take(scratch, block_rows(dims.rate) * dims.rate),
        }
    }
}
