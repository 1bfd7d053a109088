//! Coefficients of which each slot predicts its own row.
//!
//! Frac-connections and generalised hyper-connections predict them as hyper-connections
//! do, from the normalised slot itself, but for any number of columns:
//!
//! ```text
//! H̄_i        = norm(H_i)
//! alpha[i, c] = s_alpha tanh(H̄_i · W_alpha[:, c] / tau) + static_alpha[i, c]
//! beta[i, c]  = s_beta  tanh(H̄_i · W_beta[:, c] / tau)  + static_beta[i, c]
//! ```
//! A scale `s` is one number, or one for each coefficient.

use super::{
    hyper::{kernels::slots::SlotDims, ops::PredictorNormParams},
    slots::Slots,
};
use engine::{
    backend::{Layout, Product},
    buffer::Buffer,
    buffer::Pool,
    kernels::{Grad, norm},
    op::{Backward, Forward, Op},
    shape::Shape,
    simd,
    tape::Var,
};

/// The parameters of a predictor on a tape.
#[derive(Clone, Copy, Debug)]
pub struct SlotPredictor<'t> {
    /// `W_alpha`, `[width, columns of alpha]`.
    pub alpha_fn: Var<'t>,
    /// `W_beta`, `[width, columns of beta]`, or `[width]` for one.
    pub beta_fn: Var<'t>,
    /// `[slots, columns of alpha]`.
    pub static_alpha: Var<'t>,
    /// `[slots, columns of beta]`, or `[slots]` for one.
    pub static_beta: Var<'t>,
    /// One number, or one for each of `static_alpha`.
    pub alpha_scale: Var<'t>,
    /// One number, or one for each of `static_beta`.
    pub beta_scale: Var<'t>,
    /// The norm over the width of a slot.
    pub norm: PredictorNormParams<'t>,
    /// The constant under its root.
    pub eps: f32,
    /// Whether the prediction goes through tanh.
    pub tanh: bool,
    /// What the projection is divided by.
    pub tau: f32,
}

const INPUTS: usize = 9;

#[derive(Clone, Copy)]
enum NormKind {
    Layer,
    Rms,
    None,
}

struct Predict {
    dims: SlotDims,
    /// Columns of alpha and of beta.
    columns: [usize; 2],
    norm: NormKind,
    eps: f32,
    tanh: bool,
    tau: f32,
}

/// One family of coefficients of a predictor: alpha or beta.
struct Family<'a> {
    /// The first column of the projection that is its.
    first: usize,
    columns: usize,
    weight: &'a [f32],
    statics: &'a [f32],
    scale: &'a [f32],
}

impl Predict {
    fn families<'a>(&self, inputs: &[&'a [f32]; INPUTS]) -> [Family<'a>; 2] {
        let [
            _,
            alpha_fn,
            beta_fn,
            static_alpha,
            static_beta,
            alpha_scale,
            beta_scale,
            ..,
        ] = *inputs;
        [
            Family {
                first: 0,
                columns: self.columns[0],
                weight: alpha_fn,
                statics: static_alpha,
                scale: alpha_scale,
            },
            Family {
                first: self.columns[0],
                columns: self.columns[1],
                weight: beta_fn,
                statics: static_beta,
                scale: beta_scale,
            },
        ]
    }

    /// Rows of the projection: one per token and slot.
    fn rows(&self) -> usize {
        self.dims.rows * self.dims.slots
    }

    fn all_columns(&self) -> usize {
        self.columns[0] + self.columns[1]
    }

    /// The slots, normalised; `None` if there is no norm.
    fn normalised(&self, pool: &mut Pool, inputs: &[&[f32]; INPUTS]) -> Option<(Buffer, Buffer)> {
        let [state, .., weight, bias] = *inputs;
        let width = self.dims.width;
        let (mut out, mut stats) = match self.norm {
            NormKind::Layer => (pool.take(state.len()), pool.take(2 * self.rows())),
            NormKind::Rms => (pool.take(state.len()), pool.take(self.rows())),
            NormKind::None => return None,
        };
        match self.norm {
            NormKind::Layer => {
                let (weight, bias) = (Some(weight), Some(bias));
                norm::layer_norm(&mut out, &mut stats, state, width, weight, bias, self.eps);
            }
            _ => {
                let whole = norm::Part::whole(width);
                norm::rms_norm(&mut out, &mut stats, state, whole, Some(weight), self.eps);
            }
        }
        Some((out, stats))
    }

    /// `[W_alpha | W_beta]`, column by column of one matrix.
    fn packed(&self, pool: &mut Pool, families: &[Family<'_>; 2]) -> Buffer {
        let all = self.all_columns();
        let mut packed = pool.take(self.dims.width * all);
        for family in families {
            let rows = packed.chunks_exact_mut(all);
            for (row, weight) in rows.zip(family.weight.chunks_exact(family.columns)) {
                row[family.first..][..family.columns].copy_from_slice(weight);
            }
        }
        packed
    }
}

impl Op for Predict {
    fn name(&self) -> &'static str {
        "slot_predictor"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs::<INPUTS>();
        let [alpha, beta, predicted] = cx.outputs();
        let families = self.families(&inputs);
        let (all, tau) = (self.all_columns(), self.tau);
        let normalised = self.normalised(cx.pool, &inputs);
        let packed = self.packed(cx.pool, &families);
        let x = normalised.as_ref().map_or(inputs[0], |(x, _)| &x[..]);
        let product = Product::new(Layout::Nn, self.rows(), self.dims.width, all);
        cx.backend
            .matmul(product, x, &packed, predicted, cx.parallel);
        let inverse = simd::F32::splat(1.0 / tau);
        in_place(predicted, |u| {
            if self.tanh {
                simd::tanh(u * inverse)
            } else {
                u * inverse
            }
        });
        for (family, out) in families.iter().zip([alpha, beta]) {
            let per_token = family.statics.len();
            let rows = predicted
                .chunks_exact(all)
                .zip(out.chunks_exact_mut(family.columns));
            for (row, (predicted, out)) in rows.enumerate() {
                let start = row * family.columns % per_token;
                let statics = &family.statics[start..];
                let predicted = &predicted[family.first..];
                for (c, out) in out.iter_mut().enumerate() {
                    *out = scale_of(family.scale, start + c) * predicted[c] + statics[c];
                }
            }
        }
        cx.pool.give(packed);
        give(cx.pool, normalised);
    }

    /// With t the prediction: `dstatic = sum over tokens of dalpha`, `ds = sum dalpha t`,
    /// `du = s dalpha (1 - t²) / tau`; then through the projection and the norm.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs::<INPUTS>();
        let [_, _, predicted] = cx.outputs();
        let families = self.families(&inputs);
        let all = self.all_columns();
        let mut projected_grad = cx.pool.take(self.rows() * all);
        for (which, family) in families.iter().enumerate() {
            let out_grad = cx.output_grad(which);
            let mut statics = Sum::new(cx.input_grad(3 + which));
            let mut scale = Sum::new(cx.input_grad(5 + which));
            let per_token = family.statics.len();
            for row in 0..self.rows() {
                let start = row * family.columns % per_token;
                for c in 0..family.columns {
                    let at = row * all + family.first + c;
                    let out_grad = out_grad.map_or(0.0, |grad| grad[row * family.columns + c]);
                    let t = predicted[at];
                    let slope = if self.tanh { 1.0 - t * t } else { 1.0 };
                    let factor = scale_of(family.scale, start + c);
                    projected_grad[at] = out_grad * factor * slope / self.tau;
                    statics.add(start + c, out_grad);
                    scale.add(
                        if family.scale.len() == 1 {
                            0
                        } else {
                            start + c
                        },
                        out_grad * t,
                    );
                }
            }
        }
        let normalised = self.normalised(cx.pool, &inputs);
        let x = normalised.as_ref().map_or(inputs[0], |(x, _)| &x[..]);
        if cx.needs(1) || cx.needs(2) {
            let mut packed_grad = cx.pool.take(self.dims.width * all);
            let product = Product::new(Layout::Tn, self.dims.width, self.rows(), all);
            cx.backend
                .matmul(product, x, &projected_grad, &mut packed_grad, cx.parallel);
            for (which, family) in families.iter().enumerate() {
                if let Some(grad) = cx.input_grad(1 + which) {
                    let rows = packed_grad.chunks_exact(all);
                    for (to, from) in grad.values.chunks_exact_mut(family.columns).zip(rows) {
                        for (to, from) in to.iter_mut().zip(&from[family.first..]) {
                            *to = if grad.accumulate { *to + from } else { *from };
                        }
                    }
                }
            }
            cx.pool.give(packed_grad);
        }
        self.backward_to_state(cx, &inputs, &families, &projected_grad, &normalised);
        cx.pool.give(projected_grad);
        give(cx.pool, normalised);
    }
}

impl Predict {
    /// Through the projection and the norm to the state and the norm's parameters.
    fn backward_to_state(
        &self,
        cx: &mut Backward<'_>,
        inputs: &[&[f32]; INPUTS],
        families: &[Family<'_>; 2],
        projected_grad: &[f32],
        normalised: &Option<(Buffer, Buffer)>,
    ) {
        let [state, .., weight, _] = *inputs;
        let grads = [0, INPUTS - 2, INPUTS - 1].map(|i| cx.input_grad(i));
        if grads.iter().all(Option::is_none) {
            return;
        }
        let [state_grad, weight_grad, bias_grad] = grads;
        let (width, all) = (self.dims.width, self.all_columns());
        let packed = self.packed(cx.pool, families);
        let product = Product::new(Layout::Nt, self.rows(), all, width);
        match (normalised, state_grad) {
            (None, None) => {}
            (None, Some(grad)) => {
                let product = Product {
                    accumulate: grad.accumulate,
                    ..product
                };
                cx.backend
                    .matmul(product, projected_grad, &packed, grad.values, cx.parallel);
            }
            (Some((_, stats)), state_grad) => {
                let mut x_grad = cx.pool.take(state.len());
                cx.backend
                    .matmul(product, projected_grad, &packed, &mut x_grad, cx.parallel);
                if let NormKind::Layer = self.norm {
                    norm::layer_norm_backward(
                        state_grad,
                        weight_grad,
                        bias_grad,
                        &x_grad,
                        state,
                        width,
                        Some(weight),
                        stats,
                    );
                } else {
                    let whole = norm::Part::whole(width);
                    norm::rms_norm_backward(
                        state_grad,
                        weight_grad,
                        &x_grad,
                        state,
                        whole,
                        Some(weight),
                        stats,
                    );
                }
                cx.pool.give(x_grad);
            }
        }
        cx.pool.give(packed);
    }
}

/// The scale of coefficient `index`.
fn scale_of(scale: &[f32], index: usize) -> f32 {
    if scale.len() == 1 {
        scale[0]
    } else {
        scale[index]
    }
}

fn give(pool: &mut Pool, buffers: Option<(Buffer, Buffer)>) {
    if let Some((values, stats)) = buffers {
        pool.give(values);
        pool.give(stats);
    }
}

/// `x = f(x)`.
fn in_place(x: &mut [f32], f: impl Fn(simd::F32) -> simd::F32) {
    for x in x.chunks_mut(simd::LANES) {
        let value = f(simd::load_partial(x));
        simd::store_partial(x, value);
    }
}

/// A gradient that is a sum over tokens.
struct Sum<'a>(Option<&'a mut [f32]>);

impl<'a> Sum<'a> {
    fn new(grad: Option<Grad<'a>>) -> Self {
        Self(grad.map(|grad| {
            if !grad.accumulate {
                grad.values.fill(0.0);
            }
            grad.values
        }))
    }

    fn add(&mut self, index: usize, value: f32) {
        if let Some(values) = &mut self.0 {
            values[index] += value;
        }
    }
}

/// The predicted `alpha` `[.., slots, columns]` and `beta` `[.., slots, columns]` (or
/// `[.., slots]`) of a state.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn predict<'t>(slots: Slots, state: Var<'t>, params: &SlotPredictor<'t>) -> (Var<'t>, Var<'t>) {
    const OP: &str = "slot_predictor";
    let dims = slots.dims();
    let (n, width) = (dims.slots, dims.width);
    let columns = [params.static_alpha, params.static_beta].map(|var| var.shape().len() / n);
    let [alpha_columns, beta_columns] = columns;
    for (name, var, expected) in [
        ("alpha_fn", params.alpha_fn, width * alpha_columns),
        ("beta_fn", params.beta_fn, width * beta_columns),
        ("static_alpha", params.static_alpha, n * alpha_columns),
        ("static_beta", params.static_beta, n * beta_columns),
    ] {
        if var.shape().len() != expected {
            var.tape().fail(
                OP,
                format_args!("{name} is {}, expected {expected} elements", var.shape()),
            );
        }
    }
    let scales = [
        ("alpha_scale", params.alpha_scale, n * alpha_columns),
        ("beta_scale", params.beta_scale, n * beta_columns),
    ];
    for (name, var, full) in scales {
        let len = var.shape().len();
        if len != 1 && len != full {
            var.tape().fail(
                OP,
                format_args!("{name} is {}, expected [1] or {full} elements", var.shape()),
            );
        }
    }
    let mut inputs = [state; INPUTS];
    inputs[1..7].copy_from_slice(&[
        params.alpha_fn,
        params.beta_fn,
        params.static_alpha,
        params.static_beta,
        params.alpha_scale,
        params.beta_scale,
    ]);
    let (norm, count) = match params.norm {
        PredictorNormParams::LayerNorm(weight, bias) => {
            inputs[7..].copy_from_slice(&[weight, bias]);
            (NormKind::Layer, 9)
        }
        PredictorNormParams::RmsNorm(weight) => {
            inputs[7] = weight;
            (NormKind::Rms, 8)
        }
        PredictorNormParams::None => (NormKind::None, 7),
    };
    let op = Predict {
        dims,
        columns,
        norm,
        eps: params.eps,
        tanh: params.tanh,
        tau: params.tau,
    };
    let beta_shape = match params.static_beta.shape().rank() {
        1 => slots.per_token([n]),
        _ => slots.per_token([n, beta_columns]),
    };
    let shapes = [
        slots.per_token([n, alpha_columns]),
        beta_shape,
        Shape::from([dims.rows * n, alpha_columns + beta_columns]),
    ];
    let [alpha, beta, _] = state.tape().apply(op, &inputs[..count], shapes);
    (alpha, beta)
}
