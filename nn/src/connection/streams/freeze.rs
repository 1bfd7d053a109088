//! Columns of a parameter that are not trained.

use super::put;
use engine::{
    op::{Backward, Forward, Op},
    tape::Var,
};
use std::ops::Range;

struct FreezeColumns {
    width: usize,
    frozen: Range<usize>,
}

impl Op for FreezeColumns {
    fn name(&self) -> &'static str {
        "freeze_columns"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        y.copy_from_slice(x);
    }

    /// `dx = dy`, zero in the frozen columns.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dy = cx.grad().iter().enumerate();
        if let Some(mut dx) = cx.input_grad(0) {
            let frozen = |at: usize| self.frozen.contains(&(at % self.width));
            put(
                &mut dx,
                dy.map(|(at, &dy)| if frozen(at) { 0.0 } else { dy }),
            );
        }
    }
}

/// `x` itself, whose gradient does not reach the columns `frozen` of its last
/// dimension: A_m is column 0 of `[A_m | A_r]`, A_r the others.
pub fn freeze_columns(x: Var<'_>, frozen: Range<usize>) -> Var<'_> {
    let shape = x.shape();
    let op = FreezeColumns {
        width: shape.width(),
        frozen,
    };
    let [y] = x.tape().apply(op, &[x], [shape]);
    y
}
