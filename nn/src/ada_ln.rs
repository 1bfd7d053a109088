//! adaLN-Zero: a condition that shifts, scales and gates a sublayer (Peebles and Xie,
//! Scalable Diffusion Models with Transformers, ICCV 2023).
//!
//! With a condition `c`, the same for all tokens of an image, a sublayer `f` becomes
//!
//! ```text
//! T(x) = gate ∘ f(norm(x) ∘ (1 + scale) + shift),   [shift | scale | gate] = W c + b
//! ```
//!
//! W and b start at zero: at first `T(x) = 0` for every x, and a residual network is the
//! identity. The norm has no weight and bias of its own, `scale` and `shift` are them.

use crate::{linear::Linear, shapes::expect};
use engine::{
    kernels::broadcast,
    op::{Backward, Forward, Op},
    params::{Builder, Init},
    simd::{F32, map},
    tape::Var,
};

/// `y =` or `y +=` the sum over tokens of `a ∘ b`, both `[tokens, d]`.
fn sum_of_products(y: &mut [f32], accumulate: bool, a: &[f32], b: &[f32]) {
    let rows = a.chunks_exact(y.len()).zip(b.chunks_exact(y.len()));
    for (i, (a, b)) in rows.enumerate() {
        map(y, accumulate || i > 0, [a, b], |[a, b]| a * b);
    }
}

/// A map of the channels of every token of an image, by the condition of the image.
struct Conditioned {
    tokens: usize,
    width: usize,
    /// True where the condition is `shift | scale`, the factor being `1 + scale`; else it is the
    /// factor itself.
    shifts: bool,
}

impl Conditioned {
    /// The op for x `[batch, tokens, d]` and a condition `[batch, d]` or `[batch, 2 d]`.
    #[track_caller]
    fn apply<'t>(name: &str, x: Var<'t>, condition: Var<'t>, shifts: bool) -> Var<'t> {
        let shape = x.shape();
        let &[batch, tokens, width] = shape.dims() else {
            let expected = format_args!("x is {shape}, expected [batch, tokens, d]");
            x.tape().fail(name, expected);
        };
        let parts = if shifts { 2 } else { 1 };
        expect(
            name,
            [("the condition", condition, [batch, parts * width].into())],
        );
        let op = Self {
            tokens,
            width,
            shifts,
        };
        let [y] = x.tape().apply(op, &[x, condition], [shape]);
        y
    }

    /// Shift, if there is one, and scale or factor of token `token` of the batch.
    fn parts<'a>(&self, condition: &'a [f32], token: usize) -> (Option<&'a [f32]>, &'a [f32]) {
        let d = self.width;
        match self.shifts {
            true => {
                let (shift, scale) = condition[token / self.tokens * 2 * d..][..2 * d].split_at(d);
                (Some(shift), scale)
            }
            false => (None, &condition[token / self.tokens * d..][..d]),
        }
    }
}

impl Op for Conditioned {
    fn name(&self) -> &'static str {
        if self.shifts { "modulate" } else { "gate" }
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, condition] = cx.inputs();
        let [y] = cx.outputs();
        let d = self.width;
        for (i, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
            match self.parts(condition, i) {
                (Some(shift), scale) => map(y, false, [x, scale, shift], |[x, scale, shift]| {
                    x.mul_add(scale + F32::ONE, shift)
                }),
                (None, gate) => map(y, false, [x, gate], |[x, gate]| x * gate),
            }
        }
    }

    /// `dx = dy ∘ (1 + scale)` or `dy ∘ gate`, `dshift =` the sum over tokens of `dy`, `dscale`
    /// or `dgate =` that of `dy ∘ x`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x, condition] = cx.inputs();
        let dy = cx.grad();
        let d = self.width;
        if let Some(dx) = cx.input_grad(0) {
            let rows = dx.values.chunks_exact_mut(d).zip(dy.chunks_exact(d));
            for (i, (row, dy)) in rows.enumerate() {
                match self.parts(condition, i) {
                    (Some(_), scale) => map(row, dx.accumulate, [dy, scale], |[dy, scale]| {
                        dy * (scale + F32::ONE)
                    }),
                    (None, gate) => map(row, dx.accumulate, [dy, gate], |[dy, gate]| dy * gate),
                }
            }
        }
        if let Some(to) = cx.input_grad(1) {
            let size = self.tokens * d;
            let images = dy.chunks_exact(size).zip(x.chunks_exact(size));
            let width = condition.len() * size / x.len();
            for (row, (dy, x)) in to.values.chunks_exact_mut(width).zip(images) {
                let (dshift, dscale) = row.split_at_mut(width - d);
                if self.shifts {
                    broadcast::bias_backward(dshift, to.accumulate, dy);
                }
                sum_of_products(dscale, to.accumulate, dy, x);
            }
        }
    }
}

/// `y_bt = x_bt ∘ (1 + scale_b) + shift_b`: x `[batch, tokens, d]`, rows `shift | scale`
/// `[batch, 2 d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn modulate<'t>(x: Var<'t>, shift_scale: Var<'t>) -> Var<'t> {
    Conditioned::apply("modulate", x, shift_scale, true)
}

/// `y_bt = x_bt ∘ gate_b`: x `[batch, tokens, d]`, gate `[batch, d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gate<'t>(x: Var<'t>, gate: Var<'t>) -> Var<'t> {
    Conditioned::apply("gate", x, gate, false)
}

/// The map from a condition to shift and scale of a norm; zero at first.
#[derive(Debug)]
pub struct ShiftScale(Linear);

impl ShiftScale {
    /// Registers `NAME.{weight,bias}` for conditions as wide as the network.
    pub fn new(b: &mut Builder, name: &str, dim: usize) -> Self {
        Self(Linear::with_bias(b, name, dim, 2 * dim, Init::Zeros))
    }

    /// [`modulate`] of the normed `[batch, tokens, dim]` by the condition `[batch, dim]`.
    #[track_caller]
    pub fn forward<'t>(&self, normed: Var<'t>, condition: Var<'t>) -> Var<'t> {
        modulate(normed, self.0.forward(condition))
    }
}

/// adaLN-Zero of one sublayer.
#[derive(Debug)]
pub struct AdaLnZero {
    shift_scale: ShiftScale,
    gate: Linear,
}

impl AdaLnZero {
    /// Registers `NAME.{shift_scale,gate}.{weight,bias}`.
    pub fn new(b: &mut Builder, name: &str, dim: usize) -> Self {
        b.scope(name, |b| Self {
            shift_scale: ShiftScale::new(b, "shift_scale", dim),
            gate: Linear::with_bias(b, "gate", dim, dim, Init::Zeros),
        })
    }

    /// Returns what the sublayer reads: the normed input, shifted and scaled.
    #[track_caller]
    pub fn modulate<'t>(&self, normed: Var<'t>, condition: Var<'t>) -> Var<'t> {
        self.shift_scale.forward(normed, condition)
    }

    /// Returns what the sublayer writes: the output, gated.
    #[track_caller]
    pub fn gate<'t>(&self, output: Var<'t>, condition: Var<'t>) -> Var<'t> {
        gate(output, self.gate.forward(condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{
        check::{Check, CheckInput},
        tape::Tape,
    };

    const SIZES: [[usize; 3]; 4] = [[1, 1, 1], [2, 3, 5], [3, 17, 16], [4, 2, 33]];

    #[test]
    fn modulate_has_the_gradients_of_its_formula() {
        for [batch, tokens, d] in SIZES {
            Check::new(
                "modulate",
                vec![
                    CheckInput::normal([batch, tokens, d], 1.0, 1),
                    CheckInput::normal([batch, 2 * d], 1.0, 2),
                ],
                |_, v| vec![modulate(v[0], v[1])],
                |x| {
                    let at = |i: usize| {
                        let (b, c) = (i / (tokens * d), i % d);
                        let (shift, scale) = (x[1][b * 2 * d + c], x[1][b * 2 * d + d + c]);
                        x[0][i] * (1.0 + scale) + shift
                    };
                    vec![(0..batch * tokens * d).map(at).collect()]
                },
            )
            .run();
        }
    }

    #[test]
    fn a_gate_has_the_gradients_of_its_formula() {
        for [batch, tokens, d] in SIZES {
            Check::new(
                "gate",
                vec![
                    CheckInput::normal([batch, tokens, d], 1.0, 1),
                    CheckInput::normal([batch, d], 1.0, 2),
                ],
                |_, v| vec![gate(v[0], v[1])],
                |x| {
                    let at = |i: usize| x[0][i] * x[1][i / (tokens * d) * d + i % d];
                    vec![(0..batch * tokens * d).map(at).collect()]
                },
            )
            .run();
        }
    }

    #[test]
    #[should_panic(expected = "modulate: the condition is [2, 3], expected [2, 6]")]
    fn a_condition_of_the_wrong_width_is_refused() {
        let tape = Tape::new();
        modulate(
            tape.constant([2, 4, 3], &[0.0; 24]),
            tape.constant([2, 3], &[0.0; 6]),
        );
    }
}
