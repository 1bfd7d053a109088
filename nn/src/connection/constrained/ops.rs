//! Coefficients of a projection.

use super::kernels::{
    Affine, AffineGrads, CoefficientDims, Gates, Rule, coefficients as kernel,
    coefficients_backward,
};
use crate::{
    connection::streams::ops::{Coefficients, Slots},
    shapes::expect,
};
use engine::{
    op::{Backward, Forward, Grad, Op},
    simd::LANES,
    tape::Var,
};
use wide::bytemuck::cast_slice_mut;

struct OfLogits {
    dims: CoefficientDims,
    /// True where read, write and mix share a tensor of scales and one of biases.
    joint: bool,
}

/// The projection, and scale and bias of read, write and mix.
const INPUTS: usize = 7;

impl OfLogits {
    fn affine<'a>(&self, inputs: &[&'a [f32]; INPUTS]) -> Affine<'a> {
        if self.joint {
            let (scale, bias) = (inputs[1], inputs[2]);
            let (read, rest) = bias.split_at(self.dims.logits()[0]);
            let (write, mix) = rest.split_at(self.dims.logits()[1]);
            return Affine {
                scale: [scale[0], scale[1], scale[2]],
                bias: [read, write, mix],
            };
        }
        Affine {
            // A rule without logits has no scale.
            scale: [1, 3, 5].map(|i| inputs[i].first().copied().unwrap_or(0.0)),
            bias: [2, 4, 6].map(|i| inputs[i]),
        }
    }

    fn grads<'a>(&self, cx: &mut Backward<'a>) -> AffineGrads<'a> {
        if self.joint {
            let (scale, bias) = (cx.input_grad(1), cx.input_grad(2));
            return AffineGrads {
                scale: split(scale, [1; 3]),
                bias: split(bias, self.dims.logits()),
            };
        }
        AffineGrads {
            scale: [1, 3, 5].map(|i| cx.input_grad(i)),
            bias: [2, 4, 6].map(|i| cx.input_grad(i)),
        }
    }
}

/// Consecutive parts of a gradient.
fn split(grad: Option<Grad<'_>>, lens: [usize; 3]) -> [Option<Grad<'_>>; 3] {
    let Some(Grad {
        mut values,
        accumulate,
    }) = grad
    else {
        return [None, None, None];
    };
    lens.map(|len| {
        let (part, rest) = std::mem::take(&mut values).split_at_mut(len);
        values = rest;
        Some(Grad {
            values: part,
            accumulate,
        })
    })
}

impl Op for OfLogits {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs();
        let [alpha, beta] = cx.outputs();
        let affine = self.affine(&inputs);
        let mut scratch = cx.pool.take(self.dims.scratch() * LANES);
        let vectors = cast_slice_mut(&mut scratch);
        kernel(self.dims, &affine, inputs[0], alpha, beta, vectors);
        cx.pool.give(scratch);
    }

    /// Through the rule of the mix and the two sigmoids to the logits, and from there to
    /// projection, scale and bias.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs();
        let affine = self.affine(&inputs);
        let (alpha_grad, beta_grad) = (cx.output_grad(0), cx.output_grad(1));
        let projected_grad = cx.input_grad(0);
        let grads = self.grads(cx);
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

const OP: &str = "constrained_coefficients";

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
    let op = OfLogits { dims, joint: false };
    record(op, slots, &inputs[..count])
}

/// As [`coefficients`], of a scale `[3]` and a bias `[columns]` that hold those of read, write and
/// mix one after the other.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn joint_coefficients<'t>(
    slots: Slots,
    (gates, rule): (Gates, Rule),
    projected: Var<'t>,
    scale: Var<'t>,
    bias: Var<'t>,
) -> Coefficients<'t> {
    let dims = CoefficientDims {
        rows: slots.dims().rows,
        rate: slots.dims().slots,
        gates,
        rule,
    };
    let expected = [
        ("scale", scale, [3].into()),
        ("base", bias, [dims.columns()].into()),
    ];
    expect(OP, expected);
    record(
        OfLogits { dims, joint: true },
        slots,
        &[projected, scale, bias],
    )
}

#[track_caller]
fn record<'t>(op: OfLogits, slots: Slots, inputs: &[Var<'t>]) -> Coefficients<'t> {
    let (projected, dims, n) = (inputs[0], op.dims, op.dims.rate);
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
    let [alpha, beta] = projected.tape().apply(op, inputs, shapes);
    Coefficients { alpha, beta }
}
