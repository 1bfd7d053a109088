//! Coefficients of a projection.

use super::super::kernels::{
    Affine, AffineGrads, CoefficientDims, Gates, Rule, coefficients as kernel,
    coefficients_backward,
};
use crate::connection::slots::Slots;
use engine::{
    op::{Backward, Forward, Op},
    simd::LANES,
    tape::Var,
};
use wide::bytemuck::cast_slice_mut;

struct Coefficients {
    dims: CoefficientDims,
}

/// The projection, and scale and bias of read, write and mix.
const INPUTS: usize = 7;

fn affine<'a>(inputs: &[&'a [f32]; INPUTS], dims: CoefficientDims) -> Affine<'a> {
    let has_mix = dims.rule.logits(dims.rate) > 0;
    Affine {
        scale: [
            inputs[1][0],
            inputs[3][0],
            if has_mix { inputs[5][0] } else { 0.0 },
        ],
        bias: [inputs[2], inputs[4], inputs[6]],
    }
}

impl Op for Coefficients {
    fn name(&self) -> &'static str {
        "constrained_coefficients"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs();
        let [alpha, beta] = cx.outputs();
        let affine = affine(&inputs, self.dims);
        let mut scratch = cx.pool.take(self.dims.scratch() * LANES);
        let vectors = cast_slice_mut(&mut scratch);
        kernel(self.dims, &affine, inputs[0], alpha, beta, vectors);
        cx.pool.give(scratch);
    }

    /// Through the rule of the mix and the two sigmoids to the logits, and from there to
    /// projection, scale and bias.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs();
        let affine = affine(&inputs, self.dims);
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
) -> (Var<'t>, Var<'t>) {
    const OP: &str = "constrained_coefficients";
    let n = slots.dims().slots;
    let dims = CoefficientDims {
        rows: slots.dims().rows,
        rate: n,
        gates,
        rule,
    };
    let logits = rule.logits(n);
    let families = [
        ("pre", Some(read), gates.logits(n)),
        ("post", Some(write), gates.logits(n)),
        ("res", mix, logits),
    ];
    for (name, family, expected) in families {
        let lens = family.map_or((1, 0), |(scale, bias)| {
            (scale.shape().len(), bias.shape().len())
        });
        if lens != (1, expected) {
            projected.tape().fail(
                OP,
                format_args!(
                    "alpha_{name} has {} elements, bias_{name} {}, expected 1 and {expected}",
                    lens.0, lens.1
                ),
            );
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
    let mut inputs = [projected; INPUTS];
    inputs[1..5].copy_from_slice(&[read.0, read.1, write.0, write.1]);
    let mut count = 5;
    if let Some((scale, bias)) = mix {
        inputs[5..].copy_from_slice(&[scale, bias]);
        count = INPUTS;
    }
    let shapes = [slots.per_token([n, n + 1]), slots.per_token([n])];
    let [alpha, beta] = projected
        .tape()
        .apply(Coefficients { dims }, &inputs[..count], shapes);
    (alpha, beta)
}
