//! A linear layer whose parts have inputs of their own.

use crate::{
    backend::{Job, Layout, Product},
    op::{Backward, Forward, MAX_INPUTS, Op},
    tape::Var,
};

struct LinearParts {
    rows: usize,
    inputs: usize,
    /// Outputs of one part.
    outputs: usize,
    parts: usize,
}

const OP: &str = "linear_parts";

impl LinearParts {
    /// The rows of a part of the weight.
    fn weight<'a>(&self, weight: &'a [f32], part: usize) -> &'a [f32] {
        let len = self.outputs * self.inputs;
        &weight[part * len..][..len]
    }

    /// The columns of a part of every row of y.
    fn columns<'a>(&self, y: &'a [f32], part: usize) -> impl Iterator<Item = &'a [f32]> {
        let (from, to) = (part * self.outputs, (part + 1) * self.outputs);
        let rows = y.chunks_exact(self.parts * self.outputs);
        rows.map(move |row| &row[from..to])
    }
}

impl Op for LinearParts {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [weight, xs @ ..] = cx.inputs::<MAX_INPUTS>();
        let [y] = cx.outputs();
        let mut of_part = cx.pool.take(self.rows * self.outputs);
        let product = Product::new(Layout::Nt, self.rows, self.inputs, self.outputs);
        for (part, x) in xs[..self.parts].iter().enumerate() {
            let weight = self.weight(weight, part);
            let job = Job::new(product, *x, weight, &mut of_part[..]);
            cx.backend.compute(&mut [Some(job)], cx.parallel);
            let rows = y.chunks_exact_mut(self.parts * self.outputs);
            for (y, from) in rows.zip(of_part.chunks_exact(self.outputs)) {
                y[part * self.outputs..][..self.outputs].copy_from_slice(from);
            }
        }
        cx.pool.give(of_part);
    }

    /// Of every part `dx = dy W`, `dW = dyᵀ x`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [weight, xs @ ..] = cx.inputs::<MAX_INPUTS>();
        let (dy, mut dweight) = (cx.grad(), cx.input_grad(0));
        let mut of_part = cx.pool.take(self.rows * self.outputs);
        for (part, x) in xs[..self.parts].iter().enumerate() {
            let rows = of_part.chunks_exact_mut(self.outputs);
            for (to, dy) in rows.zip(self.columns(dy, part)) {
                to.copy_from_slice(dy);
            }
            if let Some(dx) = cx.input_grad(1 + part) {
                let product = Product {
                    accumulate: dx.accumulate,
                    ..Product::new(Layout::Nn, self.rows, self.outputs, self.inputs)
                };
                let weight = self.weight(weight, part);
                let job = Job::new(product, &of_part[..], weight, dx.values);
                cx.backend.compute(&mut [Some(job)], cx.parallel);
            }
            if let Some(dweight) = &mut dweight {
                let product = Product {
                    accumulate: dweight.accumulate,
                    ..Product::new(Layout::Tn, self.outputs, self.rows, self.inputs)
                };
                let len = self.outputs * self.inputs;
                let to = &mut dweight.values[part * len..][..len];
                let job = Job::new(product, &of_part[..], *x, to);
                cx.backend.compute(&mut [Some(job)], cx.parallel);
            }
        }
        cx.pool.give(of_part);
    }
}

/// `y = [x_1 W_1ᵀ | x_2 W_2ᵀ | ..]`: each x `[.., inputs]`, W `[outputs, inputs]` with as many outputs
/// for each of its parts, y `[.., outputs]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn linear_parts<'t>(xs: &[Var<'t>], weight: Var<'t>) -> Var<'t> {
    let (parts, w_shape) = (xs.len(), weight.shape());
    let fits = (1..MAX_INPUTS).contains(&parts)
        && w_shape.rank() == 2
        && w_shape.dims()[0].is_multiple_of(parts)
        && xs
            .iter()
            .all(|x| x.shape() == xs[0].shape() && x.shape().width() == w_shape.width());
    if !fits {
        let first = xs.first().map(|x| x.shape());
        weight.tape().fail(
            OP,
            format_args!(
                "{parts} inputs, the first {first:?}, and a weight {w_shape}, expected inputs of \
                 one shape [.., inputs] and a weight [parts * outputs, inputs]"
            ),
        );
    }
    let shape = xs[0].shape();
    let op = LinearParts {
        rows: shape.rows(),
        inputs: w_shape.width(),
        outputs: w_shape.dims()[0] / parts,
        parts,
    };
    let mut inputs = [weight; MAX_INPUTS];
    inputs[1..=parts].copy_from_slice(xs);
    let output = [shape.with_width(w_shape.dims()[0])];
    let [y] = weight.tape().apply(op, &inputs[..=parts], output);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};

    #[test]
    fn every_part_has_the_product_and_gradients_of_its_own_input() {
        for (parts, inputs, outputs) in [(1, 3, 2), (3, 5, 4), (3, 16, 16)] {
            let mut all = vec![CheckInput::normal([parts * outputs, inputs], 1.0, 1)];
            for part in 0..parts {
                all.push(CheckInput::normal([2, 3, inputs], 1.0, 2 + part as u64));
            }
            Check::new(
                OP,
                all,
                |_, v| vec![linear_parts(&v[1..], v[0])],
                |x| {
                    let element = |at: usize| {
                        let (row, output) = (at / (parts * outputs), at % (parts * outputs));
                        let input = &x[1 + output / outputs][row * inputs..][..inputs];
                        let weight = &x[0][output * inputs..][..inputs];
                        input.iter().zip(weight).map(|(x, w)| x * w).sum::<f64>()
                    };
                    vec![(0..6 * parts * outputs).map(element).collect()]
                },
            )
            .run();
        }
    }
}
