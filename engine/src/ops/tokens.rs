//! Operations along the second dimension of `[batch, tokens, d]`: positions, a leading
//! token, pooling.

use crate::{
    kernels::{broadcast, elementwise},
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};

/// `[batch, tokens, d]` of a shape.
#[track_caller]
fn of_three(op: &str, x: Var<'_>) -> [usize; 3] {
    let shape = x.shape();
    match shape.dims().try_into() {
        Ok(dims) => dims,
        Err(_) => x.tape().fail(
            op,
            format_args!("x is {shape}, expected [batch, tokens, d]"),
        ),
    }
}

struct AddToEach;

impl Op for AddToEach {
    fn name(&self) -> &'static str {
        "add_to_each"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, table] = cx.inputs();
        let [y] = cx.outputs();
        let size = table.len();
        for (y, x) in y.chunks_exact_mut(size).zip(x.chunks_exact(size)) {
            elementwise::add(y, false, x, table);
        }
    }

    /// `dx = dy`, `dtable = sum over the batch of dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dy = cx.grad();
        if let Some(d) = cx.input_grad(1) {
            broadcast::bias_backward(d.values, d.accumulate, dy);
        }
        cx.pass_grad(0);
    }
}

/// `y_bt = x_bt + table_t`, the same table for every element of the batch: x `[batch,
/// tokens, d]`, table `[tokens, d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn add_to_each<'t>(x: Var<'t>, table: Var<'t>) -> Var<'t> {
    let [_, tokens, d] = of_three("add_to_each", x);
    if table.shape().dims() != [tokens, d] {
        x.tape().fail(
            "add_to_each",
            format_args!(
                "table is {}, expected [tokens {tokens}, d {d}]",
                table.shape()
            ),
        );
    }
    let [y] = x.tape().apply(AddToEach, &[x, table], [x.shape()]);
    y
}

struct PrependToken {
    tokens: usize,
    width: usize,
}

impl Op for PrependToken {
    fn name(&self) -> &'static str {
        "prepend_token"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, token] = cx.inputs();
        let [y] = cx.outputs();
        let size = self.tokens * self.width;
        let rows = y.chunks_exact_mut(size + self.width);
        for (y, x) in rows.zip(x.chunks_exact(size)) {
            let (first, rest) = y.split_at_mut(self.width);
            first.copy_from_slice(token);
            rest.copy_from_slice(x);
        }
    }

    /// `dx` is the rest of `dy`, `dtoken` the sum over the batch of its first tokens.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dy = cx.grad();
        let size = self.tokens * self.width;
        let (mut dx, mut dtoken) = (cx.input_grad(0), cx.input_grad(1));
        for (i, dy) in dy.chunks_exact(size + self.width).enumerate() {
            let (first, rest) = dy.split_at(self.width);
            if let Some(d) = &mut dx {
                elementwise::copy(&mut d.values[i * size..][..size], d.accumulate, rest);
            }
            if let Some(d) = &mut dtoken {
                elementwise::copy(d.values, d.accumulate || i > 0, first);
            }
        }
    }
}

/// `token` `[d]` before the tokens of every element of the batch: `[batch, tokens, d]`
/// to `[batch, 1 + tokens, d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn prepend_token<'t>(x: Var<'t>, token: Var<'t>) -> Var<'t> {
    let [batch, tokens, width] = of_three("prepend_token", x);
    if token.shape().dims() != [width] {
        x.tape().fail(
            "prepend_token",
            format_args!("token is {}, expected [d {width}]", token.shape()),
        );
    }
    let shape = Shape::from([batch, tokens + 1, width]);
    let op = PrependToken { tokens, width };
    let [y] = x.tape().apply(op, &[x, token], [shape]);
    y
}

struct FirstToken {
    tokens: usize,
    width: usize,
}

impl Op for FirstToken {
    fn name(&self) -> &'static str {
        "first_token"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        let rows = x.chunks_exact(self.tokens * self.width);
        for (y, x) in y.chunks_exact_mut(self.width).zip(rows) {
            y.copy_from_slice(&x[..self.width]);
        }
    }

    /// `dx_b0 = dy_b`, zero for the other tokens.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dy = cx.grad();
        if let Some(d) = cx.input_grad(0) {
            if !d.accumulate {
                d.values.fill(0.0);
            }
            let rows = d.values.chunks_exact_mut(self.tokens * self.width);
            for (dx, dy) in rows.zip(dy.chunks_exact(self.width)) {
                elementwise::copy(&mut dx[..self.width], d.accumulate, dy);
            }
        }
    }
}

/// `y_b = x_b0`: `[batch, tokens, d]` to `[batch, d]`.
///
/// # Panics
/// If x has not three dimensions.
#[track_caller]
pub fn first_token(x: Var<'_>) -> Var<'_> {
    let [batch, tokens, width] = of_three("first_token", x);
    let op = FirstToken { tokens, width };
    let [y] = x.tape().apply(op, &[x], [Shape::from([batch, width])]);
    y
}

struct MeanOfTokens {
    tokens: usize,
    width: usize,
}

impl Op for MeanOfTokens {
    fn name(&self) -> &'static str {
        "mean_of_tokens"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        let factor = 1.0 / self.tokens as f32;
        let rows = x.chunks_exact(self.tokens * self.width);
        for (y, x) in y.chunks_exact_mut(self.width).zip(rows) {
            broadcast::bias_backward(y, false, x);
            y.iter_mut().for_each(|y| *y *= factor);
        }
    }

    /// `dx_bt = dy_b / tokens`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dy = cx.grad();
        let factor = 1.0 / self.tokens as f32;
        if let Some(d) = cx.input_grad(0) {
            let rows = d.values.chunks_exact_mut(self.tokens * self.width);
            for (dx, dy) in rows.zip(dy.chunks_exact(self.width)) {
                for dx in dx.chunks_exact_mut(self.width) {
                    elementwise::scale(dx, d.accumulate, dy, factor);
                }
            }
        }
    }
}

/// `y_b = mean over t of x_bt`: `[batch, tokens, d]` to `[batch, d]`.
///
/// # Panics
/// If x has not three dimensions.
#[track_caller]
pub fn mean_of_tokens(x: Var<'_>) -> Var<'_> {
    let [batch, tokens, width] = of_three("mean_of_tokens", x);
    let op = MeanOfTokens { tokens, width };
    let [y] = x.tape().apply(op, &[x], [Shape::from([batch, width])]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};
    use crate::tape::Tape;

    const SIZES: [[usize; 3]; 4] = [[1, 1, 1], [2, 3, 5], [3, 17, 16], [4, 2, 33]];

    #[test]
    fn positions_and_a_leading_token_have_the_gradients_of_their_formula() {
        for [batch, tokens, d] in SIZES {
            Check::new(
                "add_to_each",
                vec![
                    CheckInput::normal([batch, tokens, d], 1.0, 1),
                    CheckInput::normal([tokens, d], 1.0, 2),
                ],
                |_, v| vec![add_to_each(v[0], v[1])],
                |x| {
                    let size = tokens * d;
                    vec![
                        (0..batch * size)
                            .map(|i| x[0][i] + x[1][i % size])
                            .collect(),
                    ]
                },
            )
            .run();
            Check::new(
                "prepend_token",
                vec![
                    CheckInput::normal([batch, tokens, d], 1.0, 1),
                    CheckInput::normal([d], 1.0, 2),
                ],
                |_, v| vec![prepend_token(v[0], v[1])],
                |x| {
                    let elements = x[0].chunks(tokens * d);
                    vec![elements.flat_map(|e| [&x[1], e].concat()).collect()]
                },
            )
            .run();
        }
    }

    #[test]
    fn pooling_has_the_gradients_of_its_formula() {
        for [batch, tokens, d] in SIZES {
            Check::new(
                "pooling",
                vec![CheckInput::normal([batch, tokens, d], 1.0, 1)],
                |_, v| vec![first_token(v[0]), mean_of_tokens(v[0])],
                |x| {
                    let at = |b: usize, t: usize, i: usize| x[0][(b * tokens + t) * d + i];
                    let mean = |b, i| (0..tokens).map(|t| at(b, t, i)).sum::<f64>();
                    let each = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                        (0..batch * d).map(|j| f(j / d, j % d)).collect()
                    };
                    vec![
                        each(&|b, i| at(b, 0, i)),
                        each(&|b, i| mean(b, i) / tokens as f64),
                    ]
                },
            )
            .run();
        }
    }

    #[test]
    #[should_panic(expected = "add_to_each: table is [2, 3], expected [tokens 4, d 3]")]
    fn a_table_of_the_wrong_length_is_refused() {
        let tape = Tape::new();
        add_to_each(
            tape.constant([1, 4, 3], &[0.0; 12]),
            tape.constant([2, 3], &[0.0; 6]),
        );
    }
}
