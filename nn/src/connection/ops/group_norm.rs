//! Group norm.

use engine::{
    kernels::norm,
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};

struct GroupNorm {
    width: usize,
    eps: f32,
}

impl Op for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y, stats] = cx.outputs();
        norm::layer_norm(y, stats, x, self.width, None, None, self.eps);
    }

    /// The backward of a layer norm of every group.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x] = cx.inputs();
        let [_, stats] = cx.outputs();
        let dx = cx.input_grad(0);
        norm::layer_norm_backward(dx, None, None, cx.grad(), x, self.width, None, stats);
    }
}

/// A group norm without parameters: every group of `width` numbers of the state `[.., groups *
/// width]` less its mean, over its standard deviation.
///
/// # Panics
/// If the groups do not divide the state.
#[track_caller]
pub fn group_norm(x: Var<'_>, width: usize, eps: f32) -> Var<'_> {
    let shape = x.shape();
    let stats = Shape::from([2 * shape.len() / width]);
    let op = GroupNorm { width, eps };
    let [y, _] = x.tape().apply(op, &[x], [shape, stats]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn a_group_norm_has_the_gradient_of_its_formula() {
        let width = 5;
        Check::new(
            "group_norm",
            vec![CheckInput::normal([2, 15], 1.0, 1)],
            |_, v: &[Var<'_>]| vec![group_norm(v[0], width, 1e-2)],
            |x| {
                let groups = x[0].chunks(width).flat_map(|group| {
                    let mean = group.iter().sum::<f64>() / width as f64;
                    let square = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
                    let root = (square / width as f64 + f64::from(1e-2_f32)).sqrt();
                    group.iter().map(move |x| (x - mean) / root)
                });
                vec![groups.collect()]
            },
        )
        .run();
    }
}
