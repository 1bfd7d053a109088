//! A branch with one learned factor per channel.

use crate::shapes::expect;
use engine::{
    op::{Backward, Forward, Op},
    simd::map,
    tape::Var,
};

struct AddScaledChannels {
    width: usize,
}

impl Op for AddScaledChannels {
    fn name(&self) -> &'static str {
        "add_scaled_channels"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [base, scale, x] = cx.inputs();
        let [y] = cx.outputs();
        let rows = base
            .chunks_exact(self.width)
            .zip(x.chunks_exact(self.width));
        for (y, (base, x)) in y.chunks_exact_mut(self.width).zip(rows) {
            map(y, false, [base, scale, x], |[base, scale, x]| {
                base + scale * x
            });
        }
    }

    /// `dscale = sum over rows of dy x`, `dx = scale dy`, `dbase = dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, scale, x] = cx.inputs();
        let dy = cx.grad();
        if let Some(dscale) = cx.input_grad(1) {
            if !dscale.accumulate {
                dscale.values.fill(0.0);
            }
            for (dy, x) in dy.chunks_exact(self.width).zip(x.chunks_exact(self.width)) {
                map(dscale.values, true, [dy, x], |[dy, x]| dy * x);
            }
        }
        if let Some(dx) = cx.input_grad(2) {
            let rows = dx.values.chunks_exact_mut(self.width);
            for (row, dy) in rows.zip(dy.chunks_exact(self.width)) {
                map(row, dx.accumulate, [dy, scale], |[dy, scale]| dy * scale);
            }
        }
        cx.pass_grad(0);
    }
}

/// `y = base + diag(scale) x`: base and x `[.., d]`, scale `[d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn add_scaled_channels<'t>(base: Var<'t>, scale: Var<'t>, x: Var<'t>) -> Var<'t> {
    let shape = base.shape();
    let channels = [shape.width()].into();
    let expected = [("scale", scale, channels), ("x", x, shape)];
    expect("add_scaled_channels", expected);
    let op = AddScaledChannels {
        width: shape.width(),
    };
    let [y] = base.tape().apply(op, &[base, scale, x], [shape]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn scaled_channels_have_the_gradients_of_their_formula() {
        for width in [1, 5, 16, 33] {
            Check::new(
                "add_scaled_channels",
                vec![
                    CheckInput::normal([3, width], 1.0, 1),
                    CheckInput::normal([width], 1.0, 2),
                    CheckInput::normal([3, width], 1.0, 3),
                ],
                |_, v| vec![add_scaled_channels(v[0], v[1], v[2])],
                |x| {
                    let at = |i: usize| x[0][i] + x[1][i % width] * x[2][i];
                    vec![(0..3 * width).map(at).collect()]
                },
            )
            .run();
        }
    }
}
