//! Coefficients of a projection.

use super::kernels::{
    Affine, AffineGrads, CoefficientDims, Gates, Rule, coefficients as kernel,
    coefficients_backward,
};
use crate::connection::streams::ops::{Coefficients, Slots};
use engine::{
    op::{Backward, Forward, Op},
    simd::LANES,
    tape::Var,
};
use wide::bytemuck::cast_slice_mut;

struct OfLogits {
    dims: CoefficientDims,
}

/// The projection, and scale and bias of read, write and mix.
const INPUTS: usize = 7;

fn affine<'a>(inputs: &[&'a [f32]; INPUTS]) -> Affine<'a> {
    Affine {
        // A rule without logits has no scale.
        scale: [1, 3, 5].map(|i| inputs[i].first().copied().unwrap_or(0.0)),
        bias: [2, 4, 6].map(|i| inputs[i]),
    }
}

impl Op for OfLogits {
    fn name(&self) -> &'static str {
        "constrained_coefficients"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs();
        let [alpha, beta] = cx.outputs();
        let affine = affine(&inputs);
        let mut scratch = cx.pool.take(self.dims.scratch() * LANES);
        let vectors = cast_slice_mut(&mut scratch);
        kernel(self.dims, &affine, inputs[0], alpha, beta, vectors);
        cx.pool.give(scratch);
    }

    /// Through the rule of the mix and the two sigmoids to the logits, and from there to
    /// projection, scale and bias.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs();
        let affine = affine(&inputs);
        let (alpha_grad, beta_grad) = (cx.output_grad(0), cx.output_grad(1));
        let projected_grad = cx.input_grad(0);
        let grads = AffineGrads {
            scale: [1, 3, 5].map(|i| cx.input_grad(i)),
            bias: [2, 4, 6].map(|i| cx.input_grad(i)),
        };
        let mut scratch = cx.pool.take(self.dims.scratch() * LANES);
        coefficients_backward(
            self.dims,
            &affine,
            inputs[0],
            alpha_grad,
            beta_grad,
            projected_grad,
            grads,
            cast_slice_mut(&mut scratch),
        );
        cx.pool.give(scratch);
    }
}

/// Scale `[1]` and bias of one family of logits.
pub type ScaleAndBias<'t> = (Var<'t>, Var<'t>);

/// `alpha` `[.., n, n + 1]` and `beta` `[.., n]` of the projection `[.., columns]`: with
/// the logits `scale * projection + bias`, read and write are what the gates make of them, and
/// the mix what the rule does. `mix` is `None` where the rule has no
/// logits.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn coefficients<'t>(
    slots: Slots,
    (gates, rule): (Gates, Rule),
    projected: Var<'t>,
    read: ScaleAndBias<'t>,
    write: ScaleAndBias<'t>,
    mix: Option<ScaleAndBias<'t>>,
) -> Coefficients<'t> {
    const OP: &str = "constrained_coefficients";
    let n = slots.dims().slots;
    let dims = CoefficientDims {
        rows: slots.dims().rows,
        rate: n,
        gates,
        rule,
    };
    let mut inputs = [projected; INPUTS];
    let mut count = 1;
    for (name, family, expected) in [
        ("pre", Some(read), gates.logits(n)),
        ("post", Some(write), gates.logits(n)),
        ("res", mix, rule.logits(n)),
    ] {
        let lens = family.map_or([1, 0], |(scale, bias)| {
            [scale, bias].map(|var| var.shape().len())
        });
        if lens != [1, expected] {
            let [scale, bias] = lens;
            projected.tape().fail(
                OP,
                format_args!(
                    "alpha_{name} has {scale} elements, bias_{name} {bias}, expected 1 and {expected}"
                ),
            );
        }
        if let Some((scale, bias)) = family {
            inputs[count..count + 2].copy_from_slice(&[scale, bias]);
            count += 2;
        }
    }
    if projected.shape().len() != dims.rows * dims.columns() {
        projected.tape().fail(
            OP,
            format_args!(
                "the projection is {}, expected [rows {}, columns {}]",
                projected.shape(),
                dims.rows,
                dims.columns()
            ),
        );
    }
    let shapes = [slots.per_token([n, n + 1]), slots.per_token([n])];
    let [alpha, beta] = projected
        .tape()
        .apply(OfLogits { dims }, &inputs[..count], shapes);
    Coefficients { alpha, beta }
}
