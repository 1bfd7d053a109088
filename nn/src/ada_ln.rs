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

use crate::linear::Linear;
use engine::{
    kernels::broadcast,
    op::{Backward, Forward, Op},
    params::{Builder, Init},
    simd::{F32, map},
    tape::Var,
};

/// `[batch, tokens, d]` of `x`, if `condition` is `[batch, parts d]`.
#[track_caller]
fn sizes(op: &str, x: Var<'_>, name: &str, condition: Var<'_>, parts: usize) -> [usize; 3] {
    let (shape, other) = (x.shape(), condition.shape());
    match <[usize; 3]>::try_from(shape.dims()) {
        Ok(sizes) if other.dims() == [sizes[0], parts * sizes[2]] => sizes,
        _ => x.tape().fail(
            op,
            format_args!(
                "x is {shape}, {name} {other}, expected [batch, tokens, d] and [batch, {}d]",
                if parts == 1 { "" } else { "2 " }
            ),
        ),
    }
}

/// `y =` or `y +=` the sum over tokens of `a ∘ b`, both `[tokens, d]`.
fn sum_of_products(y: &mut [f32], accumulate: bool, a: &[f32], b: &[f32]) {
    let rows = a.chunks_exact(y.len()).zip(b.chunks_exact(y.len()));
    for (i, (a, b)) in rows.enumerate() {
        map(y, accumulate || i > 0, [a, b], |[a, b]| a * b);
    }
}

struct Modulate {
    tokens: usize,
    width: usize,
}

impl Op for Modulate {
    fn name(&self) -> &'static str {
        "modulate"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, condition] = cx.inputs();
        let [y] = cx.outputs();
        let d = self.width;
        for (i, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
            let (shift, scale) = condition[i / self.tokens * 2 * d..][..2 * d].split_at(d);
            map(y, false, [x, scale, shift], |[x, scale, shift]| {
                x.mul_add(scale + F32::ONE, shift)
            });
        }
    }

    /// `dx = dy ∘ (1 + scale)`, `dshift =` the sum over tokens of `dy`, `dscale =` that of
    /// `dy ∘ x`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x, condition] = cx.inputs();
        let dy = cx.grad();
        let d = self.width;
        if let Some(dx) = cx.input_grad(0) {
            let rows = dx.values.chunks_exact_mut(d).zip(dy.chunks_exact(d));
            for (i, (row, dy)) in rows.enumerate() {
                let scale = &condition[(i / self.tokens * 2 + 1) * d..][..d];
                map(row, dx.accumulate, [dy, scale], |[dy, scale]| {
                    dy * (scale + F32::ONE)
                });
            }
        }
        if let Some(dcondition) = cx.input_grad(1) {
            let size = self.tokens * d;
            let rows = dy.chunks_exact(size).zip(x.chunks_exact(size));
            for (row, (dy, x)) in dcondition.values.chunks_exact_mut(2 * d).zip(rows) {
                let (dshift, dscale) = row.split_at_mut(d);
                broadcast::bias_backward(dshift, dcondition.accumulate, dy);
                sum_of_products(dscale, dcondition.accumulate, dy, x);
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
    let [_, tokens, width] = sizes("modulate", x, "shift_scale", shift_scale, 2);
    let op = Modulate { tokens, width };
    let [y] = x.tape().apply(op, &[x, shift_scale], [x.shape()]);
    y
}

struct Gate {
    tokens: usize,
    width: usize,
}

impl Op for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, gate] = cx.inputs();
        let [y] = cx.outputs();
        let d = self.width;
        for (i, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
            let gate = &gate[i / self.tokens * d..][..d];
            map(y, false, [x, gate], |[x, gate]| x * gate);
        }
    }

    /// `dx = dy ∘ gate`, `dgate =` the sum over tokens of `dy ∘ x`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x, gate] = cx.inputs();
        let dy = cx.grad();
        let d = self.width;
        if let Some(dx) = cx.input_grad(0) {
            let rows = dx.values.chunks_exact_mut(d).zip(dy.chunks_exact(d));
            for (i, (row, dy)) in rows.enumerate() {
                let gate = &gate[i / self.tokens * d..][..d];
                map(row, dx.accumulate, [dy, gate], |[dy, gate]| dy * gate);
            }
        }
        if let Some(dgate) = cx.input_grad(1) {
            let size = self.tokens * d;
            let rows = dy.chunks_exact(size).zip(x.chunks_exact(size));
            for (row, (dy, x)) in dgate.values.chunks_exact_mut(d).zip(rows) {
                sum_of_products(row, dgate.accumulate, dy, x);
            }
        }
    }
}

/// `y_bt = x_bt ∘ gate_b`: x `[batch, tokens, d]`, gate `[batch, d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gate<'t>(x: Var<'t>, gate: Var<'t>) -> Var<'t> {
    let [_, tokens, width] = sizes("gate", x, "gate", gate, 1);
    let op = Gate { tokens, width };
    let [y] = x.tape().apply(op, &[x, gate], [x.shape()]);
    y
}

/// What makes shift and scale of a norm from a condition; zero at first.
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

    /// What the sublayer reads: its normed input, shifted and scaled.
    #[track_caller]
    pub fn modulate<'t>(&self, normed: Var<'t>, condition: Var<'t>) -> Var<'t> {
        self.shift_scale.forward(normed, condition)
    }

    /// What the sublayer writes: its output, gated.
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
    #[should_panic(
        expected = "modulate: x is [2, 4, 3], shift_scale [2, 3], expected [batch, tokens, d] and \
                    [batch, 2 d]"
    )]
    fn a_condition_of_the_wrong_width_is_refused() {
        let tape = Tape::new();
        modulate(
            tape.constant([2, 4, 3], &[0.0; 24]),
            tape.constant([2, 3], &[0.0; 6]),
        );
    }
}
