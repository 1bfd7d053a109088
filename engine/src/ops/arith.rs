//! Arithmetic: `a + b`, `a - b`, `a * b` and `c x` element by element; sum and mean.

use crate::{
    kernels::{elementwise, reduce},
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};
use std::ops;

struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [a, b] = cx.inputs();
        let [y] = cx.outputs();
        elementwise::add(y, false, a, b);
    }

    /// `da = dy`, `db = dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        cx.pass_grad(0);
        cx.pass_grad(1);
    }
}

struct Sub;

impl Op for Sub {
    fn name(&self) -> &'static str {
        "sub"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [a, b] = cx.inputs();
        let [y] = cx.outputs();
        elementwise::sub(y, false, a, b);
    }

    /// `da = dy`, `db = -dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        if let Some(db) = cx.input_grad(1) {
            elementwise::scale(db.values, db.accumulate, cx.grad(), -1.0);
        }
        cx.pass_grad(0);
    }
}

struct Mul;

impl Op for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [a, b] = cx.inputs();
        let [y] = cx.outputs();
        elementwise::mul(y, false, a, b);
    }

    /// `da = dy b`, `db = dy a`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [a, b] = cx.inputs();
        if let Some(da) = cx.input_grad(0) {
            elementwise::mul(da.values, da.accumulate, cx.grad(), b);
        }
        if let Some(db) = cx.input_grad(1) {
            elementwise::mul(db.values, db.accumulate, cx.grad(), a);
        }
    }
}

struct Scale(f32);

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        elementwise::scale(y, false, x, self.0);
    }

    /// `dx = c dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        if let Some(dx) = cx.input_grad(0) {
            elementwise::scale(dx.values, dx.accumulate, cx.grad(), self.0);
        }
    }
}

#[track_caller]
fn same_shapes<'t, O: Op>(op: O, a: Var<'t>, b: Var<'t>) -> Var<'t> {
    let (left, right) = (a.shape(), b.shape());
    if left != right {
        a.tape().fail(
            op.name(),
            format_args!("the left side is {left}, the right side {right}"),
        );
    }
    let [y] = a.tape().apply(op, &[a, b], [left]);
    y
}

/// `y = a + b`, element by element.
impl<'t> ops::Add for Var<'t> {
    type Output = Var<'t>;

    #[track_caller]
    fn add(self, other: Var<'t>) -> Var<'t> {
        same_shapes(Add, self, other)
    }
}

/// `y = a - b`, element by element.
impl<'t> ops::Sub for Var<'t> {
    type Output = Var<'t>;

    #[track_caller]
    fn sub(self, other: Var<'t>) -> Var<'t> {
        same_shapes(Sub, self, other)
    }
}

/// `y = a b`, element by element.
impl<'t> ops::Mul for Var<'t> {
    type Output = Var<'t>;

    #[track_caller]
    fn mul(self, other: Var<'t>) -> Var<'t> {
        same_shapes(Mul, self, other)
    }
}

/// `y = c x` for a constant `c`.
pub fn scale(x: Var<'_>, factor: f32) -> Var<'_> {
    let [y] = x.tape().apply(Scale(factor), &[x], [x.shape()]);
    y
}

struct Sum {
    factor: f32,
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        y[0] = (reduce::sum(x) * f64::from(self.factor)) as f32;
    }

    /// `dx_i = factor dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let slope = cx.grad()[0] * self.factor;
        if let Some(dx) = cx.input_grad(0) {
            match dx.accumulate {
                true => dx.values.iter_mut().for_each(|x| *x += slope),
                false => dx.values.fill(slope),
            }
        }
    }
}

/// The sum of all elements, as a scalar.
pub fn sum(x: Var<'_>) -> Var<'_> {
    let [y] = x.tape().apply(Sum { factor: 1.0 }, &[x], [Shape::from([])]);
    y
}

/// The mean of all elements, as a scalar.
pub fn mean(x: Var<'_>) -> Var<'_> {
    let factor = 1.0 / x.shape().len() as f32;
    let [y] = x.tape().apply(Sum { factor }, &[x], [Shape::from([])]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};
    use crate::tape::Tape;

    fn pair(n: usize) -> Vec<CheckInput> {
        vec![
            CheckInput::normal([3, n], 1.0, 1),
            CheckInput::normal([3, n], 1.0, 2),
        ]
    }

    fn zip(x: &[Vec<f64>], f: impl Fn(f64, f64) -> f64) -> Vec<Vec<f64>> {
        vec![x[0].iter().zip(&x[1]).map(|(&a, &b)| f(a, b)).collect()]
    }

    #[test]
    fn arithmetic_has_the_gradients_of_its_formula() {
        for n in [1, 16, 33] {
            Check::new(
                "add",
                pair(n),
                |_, v| vec![v[0] + v[1]],
                |x| zip(x, |a, b| a + b),
            )
            .run();
            Check::new(
                "sub",
                pair(n),
                |_, v| vec![v[0] - v[1]],
                |x| zip(x, |a, b| a - b),
            )
            .run();
            Check::new(
                "mul",
                pair(n),
                |_, v| vec![v[0] * v[1]],
                |x| zip(x, |a, b| a * b),
            )
            .run();
            Check::new(
                "scale",
                vec![CheckInput::normal([n], 1.0, 3)],
                |_, v| vec![scale(v[0], -2.5)],
                |x| vec![x[0].iter().map(|x| -2.5 * x).collect()],
            )
            .run();
        }
    }

    #[test]
    fn a_value_used_several_times_collects_every_gradient() {
        Check::new(
            "x x x + x - x x",
            vec![CheckInput::normal([17], 1.0, 4)],
            |_, v| vec![v[0] * v[0] * v[0] + v[0] - v[0] * v[0], v[0] + v[0]],
            |x| {
                vec![
                    x[0].iter().map(|x| x * x * x + x - x * x).collect(),
                    x[0].iter().map(|x| 2.0 * x).collect(),
                ]
            },
        )
        .run();
    }

    #[test]
    #[should_panic(expected = "add: the left side is [2, 3], the right side [3, 2]")]
    fn unequal_shapes_are_refused() {
        let tape = Tape::new();
        let _ = tape.constant([2, 3], &[0.0; 6]) + tape.constant([3, 2], &[0.0; 6]);
    }

    #[test]
    fn sum_and_mean_have_the_gradients_of_their_formula() {
        for n in [1, 16, 45] {
            Check::new(
                "sum and mean",
                vec![CheckInput::normal([n], 1.0, 1)],
                |_, v| vec![sum(v[0]), mean(v[0])],
                |x| {
                    let sum = x[0].iter().sum::<f64>();
                    vec![vec![sum], vec![sum / n as f64]]
                },
            )
            .run();
        }
    }
}
