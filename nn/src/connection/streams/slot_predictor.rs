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
    ops::{Coefficients, Slots},
    predictor::{INPUTS, PARTS, Predictor, PredictorForm, PredictorNorm},
    put,
    slots::SlotDims,
    summed,
};
use engine::{
    backend::{Layout, Product},
    buffer::{Buffer, Pool},
    kernels::norm,
    op::{Backward, Forward, Op},
    shape::Shape,
    simd,
    tape::Var,
};

struct Predict {
    dims: SlotDims,
    /// Columns of alpha and of beta.
    columns: [usize; 2],
    form: PredictorForm,
    tau: f32,
}

/// One family of coefficients of a predictor: alpha or beta.
struct Family<'a> {
    /// The first column of the projection that belongs to it.
    first: usize,
    columns: usize,
    weight: &'a [f32],
    statics: &'a [f32],
    scale: &'a [f32],
}

impl Family<'_> {
    /// Where the coefficients of a row of the projection lie among the static ones.
    fn start(&self, row: usize) -> usize {
        row * self.columns % self.statics.len()
    }

    /// The place of the scale of a coefficient.
    fn scale_at(&self, coefficient: usize) -> usize {
        if self.scale.len() == 1 {
            0
        } else {
            coefficient
        }
    }
}

/// The slots, normalised, and the statistics of the norm; `None` without a norm.
type Normalised = Option<(Buffer, Buffer)>;

impl Predict {
    fn inputs<'a>(&self, all: [&'a [f32]; 1 + PARTS]) -> (&'a [f32], Predictor<&'a [f32]>) {
        (all[0], Predictor::from_fn(self.form, |i| all[1 + i]))
    }

    fn families<'a>(&self, parts: &Predictor<&'a [f32]>) -> [Family<'a>; 2] {
        [
            Family {
                first: 0,
                columns: self.columns[0],
                weight: parts.alpha_fn,
                statics: parts.static_alpha,
                scale: parts.alpha_scale,
            },
            Family {
                first: self.columns[0],
                columns: self.columns[1],
                weight: parts.beta_fn,
                statics: parts.static_beta,
                scale: parts.beta_scale,
            },
        ]
    }

    /// The product of the slots, one row per token and slot, with all columns.
    fn product(&self, layout: Layout) -> Product {
        let (rows, all) = (self.dims.rows * self.dims.slots, self.all_columns());
        let [m, k, n] = match layout {
            Layout::Nn => [rows, self.dims.width, all],
            Layout::Nt => [rows, all, self.dims.width],
            _ => [self.dims.width, rows, all],
        };
        Product::new(layout, m, k, n)
    }

    fn all_columns(&self) -> usize {
        self.columns[0] + self.columns[1]
    }

    fn normalised(&self, pool: &mut Pool, state: &[f32], parts: &Predictor<&[f32]>) -> Normalised {
        let (width, eps) = (self.dims.width, self.form.eps);
        let (weight, bias) = (parts.norm_weight, parts.norm_bias);
        let rows = self.dims.rows * self.dims.slots;
        let mut out = |statistics| (pool.take(state.len()), pool.take(statistics));
        match self.form.norm {
            PredictorNorm::None => None,
            PredictorNorm::LayerNorm => {
                let (mut x, mut stats) = out(2 * rows);
                norm::layer_norm(&mut x, &mut stats, state, width, weight, bias, eps);
                Some((x, stats))
            }
            PredictorNorm::RmsNorm => {
                let (mut x, mut stats) = out(rows);
                norm::rms_norm(
                    &mut x,
                    &mut stats,
                    state,
                    norm::Part::whole(width),
                    weight,
                    eps,
                );
                Some((x, stats))
            }
        }
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
        let (state, parts) = self.inputs(cx.inputs());
        let [alpha, beta, predicted] = cx.outputs();
        let families = self.families(&parts);
        let all = self.all_columns();
        let normalised = self.normalised(cx.pool, state, &parts);
        let packed = self.packed(cx.pool, &families);
        let x = normalised.as_ref().map_or(state, |(x, _)| &x[..]);
        cx.backend
            .matmul(self.product(Layout::Nn), x, &packed, predicted, cx.parallel);
        let inverse = simd::F32::splat(1.0 / self.tau);
        for u in predicted.chunks_mut(simd::LANES) {
            let scaled = simd::load_partial(u) * inverse;
            let t = if self.form.tanh {
                simd::tanh(scaled)
            } else {
                scaled
            };
            simd::store_partial(u, t);
        }
        for (family, out) in families.iter().zip([alpha, beta]) {
            let rows = out.chunks_exact_mut(family.columns);
            for (row, (predicted, out)) in predicted.chunks_exact(all).zip(rows).enumerate() {
                let start = family.start(row);
                for (c, out) in out.iter_mut().enumerate() {
                    let scale = family.scale[family.scale_at(start + c)];
                    *out = scale * predicted[family.first + c] + family.statics[start + c];
                }
            }
        }
        cx.pool.give(packed);
        give(cx.pool, normalised);
    }

    /// With t the prediction: `dstatic = sum over tokens of dalpha`, `ds = sum dalpha t`,
    /// `du = s dalpha (1 - t²) / tau`; then through the projection and the norm.
    fn backward(&self, cx: &mut Backward<'_>) {
        let (state, parts) = self.inputs(cx.inputs());
        let [_, _, predicted] = cx.outputs();
        let families = self.families(&parts);
        let all = self.all_columns();
        let state_grad = cx.input_grad(0);
        let grads = Predictor::from_fn(self.form, |i| cx.input_grad(1 + i));
        let mut projected_grad = cx.pool.take(predicted.len());
        let sums = [
            (grads.static_alpha, grads.alpha_scale),
            (grads.static_beta, grads.beta_scale),
        ];
        for (which, (family, (statics, scale))) in families.iter().zip(sums).enumerate() {
            let out_grad = cx.output_grad(which);
            let (mut statics, mut scale) = (summed(statics), summed(scale));
            for row in 0..self.dims.rows * self.dims.slots {
                let start = family.start(row);
                for c in 0..family.columns {
                    let at = row * all + family.first + c;
                    let out_grad = out_grad.map_or(0.0, |grad| grad[row * family.columns + c]);
                    let t = predicted[at];
                    let slope = if self.form.tanh { 1.0 - t * t } else { 1.0 };
                    let scale_at = family.scale_at(start + c);
                    let factor = family.scale[scale_at];
                    projected_grad[at] = out_grad * factor * slope / self.tau;
                    if let Some(statics) = &mut statics {
                        statics[start + c] += out_grad;
                    }
                    if let Some(scale) = &mut scale {
                        scale[scale_at] += out_grad * t;
                    }
                }
            }
        }
        let normalised = self.normalised(cx.pool, state, &parts);
        let x = normalised.as_ref().map_or(state, |(x, _)| &x[..]);
        if grads.alpha_fn.is_some() || grads.beta_fn.is_some() {
            let mut packed_grad = cx.pool.take(self.dims.width * all);
            let product = self.product(Layout::Tn);
            cx.backend
                .matmul(product, x, &projected_grad, &mut packed_grad, cx.parallel);
            for (family, grad) in families.iter().zip([grads.alpha_fn, grads.beta_fn]) {
                if let Some(mut grad) = grad {
                    let rows = packed_grad.chunks_exact(all);
                    put(
                        &mut grad,
                        rows.flat_map(|row| &row[family.first..][..family.columns])
                            .copied(),
                    );
                }
            }
            cx.pool.give(packed_grad);
        }
        let (weight_grad, bias_grad) = (grads.norm_weight.flatten(), grads.norm_bias.flatten());
        if state_grad.is_some() || weight_grad.is_some() || bias_grad.is_some() {
            let packed = self.packed(cx.pool, &families);
            let mut product = self.product(Layout::Nt);
            if let Some((_, stats)) = &normalised {
                let mut x_grad = cx.pool.take(state.len());
                cx.backend
                    .matmul(product, &projected_grad, &packed, &mut x_grad, cx.parallel);
                let (width, weight) = (self.dims.width, parts.norm_weight);
                if self.form.norm == PredictorNorm::LayerNorm {
                    norm::layer_norm_backward(
                        state_grad,
                        weight_grad,
                        bias_grad,
                        &x_grad,
                        state,
                        width,
                        weight,
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
                        weight,
                        stats,
                    );
                }
                cx.pool.give(x_grad);
            } else if let Some(grad) = state_grad {
                product.accumulate = grad.accumulate;
                cx.backend
                    .matmul(product, &projected_grad, &packed, grad.values, cx.parallel);
            }
            cx.pool.give(packed);
        }
        cx.pool.give(projected_grad);
        give(cx.pool, normalised);
    }
}

fn give(pool: &mut Pool, buffers: Normalised) {
    if let Some((values, stats)) = buffers {
        pool.give(values);
        pool.give(stats);
    }
}

/// The predicted `alpha` `[.., slots, columns]` and `beta` `[.., slots, columns]` (or
/// `[.., slots]`) of a state; see the [module](self) for the formula. `alpha_fn` is `[width,
/// columns of alpha]`, `beta_fn` `[width, columns of beta]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn predict<'t>(
    slots: Slots,
    state: Var<'t>,
    params: &Predictor<Var<'t>>,
    tau: f32,
) -> Coefficients<'t> {
    const OP: &str = "slot_predictor";
    let dims = slots.dims();
    let (n, width) = (dims.slots, dims.width);
    let columns = [params.static_alpha, params.static_beta].map(|var| var.shape().len() / n);
    let [of_alpha, of_beta] = columns;
    for (name, var, expected, or_one) in [
        ("alpha_fn", params.alpha_fn, width * of_alpha, false),
        ("beta_fn", params.beta_fn, width * of_beta, false),
        ("static_alpha", params.static_alpha, n * of_alpha, false),
        ("static_beta", params.static_beta, n * of_beta, false),
        ("alpha_scale", params.alpha_scale, n * of_alpha, true),
        ("beta_scale", params.beta_scale, n * of_beta, true),
    ] {
        let len = var.shape().len();
        if len != expected && !(or_one && len == 1) {
            let one = if or_one { "[1] or " } else { "" };
            var.tape().fail(
                OP,
                format_args!(
                    "{name} is {}, expected {one}{expected} elements",
                    var.shape()
                ),
            );
        }
    }
    let beta_shape = match params.static_beta.shape().rank() {
        1 => slots.per_token([n]),
        _ => slots.per_token([n, of_beta]),
    };
    let shapes = [
        slots.per_token([n, of_alpha]),
        beta_shape,
        Shape::from([dims.rows * n, of_alpha + of_beta]),
    ];
    let op = Predict {
        dims,
        columns,
        form: params.form,
        tau,
    };
    let (inputs, count): ([Var<'t>; INPUTS], usize) = params.inputs(&[state]);
    let [alpha, beta, _] = state.tape().apply(op, &inputs[..count], shapes);
    Coefficients { alpha, beta }
}
