//! The norm of every slot.

use engine::{
    kernels::norm,
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};

struct SlotNorm {
    width: usize,
    eps: f32,
}

impl Op for SlotNorm {
    fn name(&self) -> &'static str {
        "slot_norm"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y, stats] = cx.outputs();
        norm::layer_norm(y, stats, x, self.width, None, None, self.eps);
    }

    /// That of a layer norm of every slot.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x] = cx.inputs();
        let [_, stats] = cx.outputs();
        let dx = cx.input_grad(0);
        norm::layer_norm_backward(dx, None, None, cx.grad(), x, self.width, None, stats);
    }
}

/// A group norm without parameters: every slot of `width` numbers of the state `[.., n *
/// width]` less its mean, over its standard deviation.
///
/// # Panics
/// If the slots do not divide the state.
#[track_caller]
pub(super) fn slot_norm(x: Var<'_>, width: usize, eps: f32) -> Var<'_> {
    let shape = x.shape();
    let stats = Shape::from([2 * shape.len() / width]);
    let op = SlotNorm { width, eps };
    let [y, _] = x.tape().apply(op, &[x], [shape, stats]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn the_norm_of_slots_has_the_gradient_of_its_formula() {
        let width = 5;
        Check::new(
            "slot_norm",
            vec![CheckInput::normal([2, 15], 1.0, 1)],
            |_, v: &[Var<'_>]| vec![slot_norm(v[0], width, 1e-2)],
            |x| {
                let slots = x[0].chunks(width).flat_map(|slot| {
                    let mean = slot.iter().sum::<f64>() / width as f64;
                    let square = slot.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
                    let root = (square / width as f64 + f64::from(1e-2_f32)).sqrt();
                    slot.iter().map(move |x| (x - mean) / root)
                });
                vec![slots.collect()]
            },
        )
        .run();
    }
}
