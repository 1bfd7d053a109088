//! Matrix products: a linear layer, and the plain product.

use crate::{
    backend::{Job, Layout, Product},
    kernels::broadcast,
    op::{Backward, Forward, Op},
    tape::Var,
};

struct Linear {
    rows: usize,
    inputs: usize,
    outputs: usize,
    bias: bool,
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let product = Product::new(Layout::Nt, self.rows, self.inputs, self.outputs);
        let (x, weight, y) = (cx.operand(0), cx.operand(1), cx.target(0));
        if !self.bias {
            let job = Job::new(product, x, weight, y);
            return cx.backend.compute(&mut [Some(job)], cx.parallel);
        }
        let y = y.into_values();
        let job = Job::new(product, x, weight, &mut *y);
        cx.backend.compute(&mut [Some(job)], cx.parallel);
        broadcast::add_bias(y, cx.input(2));
    }

    /// `dx = dy W`, `dW = dyᵀ x`, `db = sum over rows of dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let (x, weight, dy) = (cx.operand(0), cx.operand(1), cx.grad_operand());
        let for_x = Product::new(Layout::Nn, self.rows, self.outputs, self.inputs);
        let for_weight = Product::new(Layout::Tn, self.outputs, self.rows, self.inputs);
        let dx = cx.grad_target(0).map(|dx| Job::new(for_x, dy, weight, dx));
        let dw = cx.grad_target(1).map(|dw| Job::new(for_weight, dy, x, dw));
        cx.backend.compute(&mut [dx, dw], cx.parallel);
        if let Some(db) = cx.input_grad(2) {
            broadcast::bias_backward(db.values, db.accumulate, cx.grad());
        }
    }
}

/// `y = x Wᵀ + b`: x `[.., inputs]`, W `[outputs, inputs]`, b `[outputs]`, y
/// `[.., outputs]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn linear<'t>(x: Var<'t>, weight: Var<'t>, bias: Option<Var<'t>>) -> Var<'t> {
    let (x_shape, w_shape) = (x.shape(), weight.shape());
    let (&[outputs, inputs], true) = (
        &<[usize; 2]>::try_from(w_shape.dims()).unwrap_or_default(),
        w_shape.rank() == 2,
    ) else {
        x.tape().fail(
            "linear",
            format_args!("weight is {w_shape}, expected [outputs, inputs]"),
        );
    };
    if x_shape.width() != inputs {
        x.tape().fail(
            "linear",
            format_args!("x is {x_shape}, expected [.., inputs {inputs}]"),
        );
    }
    let op = Linear {
        rows: x_shape.rows(),
        inputs,
        outputs,
        bias: bias.is_some(),
    };
    let shape = [x_shape.with_width(outputs)];
    let [y] = match bias {
        Some(bias) => {
            if bias.shape().dims() != [outputs] {
                x.tape().fail(
                    "linear",
                    format_args!("bias is {}, expected [outputs {outputs}]", bias.shape()),
                );
            }
            x.tape().apply(op, &[x, weight, bias], shape)
        }
        None => x.tape().apply(op, &[x, weight], shape),
    };
    y
}

struct Matmul {
    m: usize,
    k: usize,
    n: usize,
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let product = Product::new(Layout::Nn, self.m, self.k, self.n);
        let job = Job::new(product, cx.operand(0), cx.operand(1), cx.target(0));
        cx.backend.compute(&mut [Some(job)], cx.parallel);
    }

    /// `dA = dC Bᵀ`, `dB = Aᵀ dC`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let (a, b, dc) = (cx.operand(0), cx.operand(1), cx.grad_operand());
        let for_a = Product::new(Layout::Nt, self.m, self.n, self.k);
        let for_b = Product::new(Layout::Tn, self.k, self.m, self.n);
        let da = cx.grad_target(0).map(|da| Job::new(for_a, dc, b, da));
        let db = cx.grad_target(1).map(|db| Job::new(for_b, a, dc, db));
        cx.backend.compute(&mut [da, db], cx.parallel);
    }
}

/// `C = A B`: A `[.., k]`, B `[k, n]`, C `[.., n]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn matmul<'t>(a: Var<'t>, b: Var<'t>) -> Var<'t> {
    let (a_shape, b_shape) = (a.shape(), b.shape());
    if b_shape.rank() != 2 || a_shape.width() != b_shape.dims()[0] {
        a.tape().fail(
            "matmul",
            format_args!("b is {b_shape}, expected [k {}, n]", a_shape.width()),
        );
    }
    let (k, n) = (a_shape.width(), b_shape.width());
    let op = Matmul {
        m: a_shape.rows(),
        k,
        n,
    };
    let [c] = a.tape().apply(op, &[a, b], [a_shape.with_width(n)]);
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};
    use crate::tape::Tape;

    #[test]
    fn linear_has_the_gradients_of_its_formula() {
        for (rows, inputs, outputs) in [(1, 1, 1), (5, 3, 2), (7, 17, 33), (33, 16, 18)] {
            let naive = |x: &[Vec<f64>]| {
                let mut y = vec![0.0; rows * outputs];
                for r in 0..rows {
                    for o in 0..outputs {
                        y[r * outputs + o] = x.get(2).map_or(0.0, |bias| bias[o])
                            + (0..inputs)
                                .map(|i| x[0][r * inputs + i] * x[1][o * inputs + i])
                                .sum::<f64>();
                    }
                }
                vec![y]
            };
            let mut inputs = vec![
                CheckInput::normal([rows, inputs], 1.0, 1),
                CheckInput::normal([outputs, inputs], 1.0, 2),
            ];
            Check::new(
                "linear",
                inputs.clone(),
                |_, v| vec![linear(v[0], v[1], None)],
                naive,
            )
            .run();
            inputs.push(CheckInput::normal([outputs], 1.0, 3));
            Check::new(
                "linear with bias",
                inputs,
                |_, v| vec![linear(v[0], v[1], Some(v[2]))],
                naive,
            )
            .run();
        }
    }

    #[test]
    fn matmul_has_the_gradients_of_its_formula() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (17, 7, 31)] {
            Check::new(
                "matmul",
                vec![
                    CheckInput::normal([m, k], 1.0, 1),
                    CheckInput::normal([k, n], 1.0, 2),
                ],
                |_, v| vec![matmul(v[0], v[1])],
                |x| {
                    let entry = |i: usize, j: usize| -> f64 {
                        (0..k).map(|p| x[0][i * k + p] * x[1][p * n + j]).sum()
                    };
                    vec![(0..m * n).map(|at| entry(at / n, at % n)).collect()]
                },
            )
            .run();
        }
    }

    #[test]
    #[should_panic(expected = "linear: x is [2, 3], expected [.., inputs 4]")]
    fn an_input_of_the_wrong_width_is_refused() {
        let tape = Tape::new();
        linear(
            tape.constant([2, 3], &[0.0; 6]),
            tape.constant([5, 4], &[0.0; 20]),
            None,
        );
    }
}
