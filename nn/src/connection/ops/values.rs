//! The values of attention, taken out of its projections and mixed into others.

use crate::shapes::expect;
use engine::{
    kernels::elementwise,
    op::{Backward, Forward, Op},
    simd::{F32, dot, map},
    tape::Var,
};

struct ValuesOf {
    width: usize,
}

impl Op for ValuesOf {
    fn name(&self) -> &'static str {
        "values_of"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [qkv] = cx.inputs();
        let [v] = cx.outputs();
        let rows = qkv.chunks_exact(3 * self.width);
        for (v, qkv) in v.chunks_exact_mut(self.width).zip(rows) {
            v.copy_from_slice(&qkv[2 * self.width..]);
        }
    }

    /// `dqkv = 0 | 0 | dv`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dv = cx.grad().chunks_exact(self.width);
        if let Some(dqkv) = cx.input_grad(0) {
            for (row, dv) in dqkv.values.chunks_exact_mut(3 * self.width).zip(dv) {
                let (qk, v) = row.split_at_mut(2 * self.width);
                if !dqkv.accumulate {
                    qk.fill(0.0);
                }
                elementwise::copy(v, dqkv.accumulate, dv);
            }
        }
    }
}

/// The last third of rows `q | k | v`: `[.., 3 d]` to `[.., d]`.
///
/// # Panics
/// If the width is no multiple of three.
#[track_caller]
pub fn values_of(qkv: Var<'_>) -> Var<'_> {
    let shape = qkv.shape();
    if !shape.width().is_multiple_of(3) {
        qkv.tape().fail(
            "values_of",
            format_args!("qkv is {shape}, expected a width of three parts"),
        );
    }
    let width = shape.width() / 3;
    let [v] = qkv
        .tape()
        .apply(ValuesOf { width }, &[qkv], [shape.with_width(width)]);
    v
}

struct MixValues {
    width: usize,
}

impl Op for MixValues {
    fn name(&self) -> &'static str {
        "mix_values"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [qkv, first, weights] = cx.inputs();
        let [y] = cx.outputs();
        let (of_first, own) = (F32::splat(weights[0]), F32::splat(weights[1]));
        let rows = qkv
            .chunks_exact(3 * self.width)
            .zip(first.chunks_exact(self.width));
        for (y, (qkv, first)) in y.chunks_exact_mut(3 * self.width).zip(rows) {
            let (qk, v) = qkv.split_at(2 * self.width);
            let (y_qk, y_v) = y.split_at_mut(2 * self.width);
            y_qk.copy_from_slice(qk);
            map(y_v, false, [first, v], |[first, v]| {
                of_first * first + own * v
            });
        }
    }

    /// `dqkv = dy_q | dy_k | w_1 dy_v`, `dfirst = w_0 dy_v`, `dw = (<first, dy_v>, <v,
    /// dy_v>)`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [qkv, first, weights] = cx.inputs();
        let whole = 3 * self.width;
        let dy = cx.grad();
        let dv = || dy.chunks_exact(whole).map(|dy| &dy[2 * self.width..]);
        if let Some(dw) = cx.input_grad(2) {
            let (mut of_first, mut own) = (0.0, 0.0);
            let rows = qkv.chunks_exact(whole).zip(first.chunks_exact(self.width));
            for ((qkv, first), dv) in rows.zip(dv()) {
                of_first += f64::from(dot(first, dv));
                own += f64::from(dot(&qkv[2 * self.width..], dv));
            }
            for (slot, sum) in dw.values.iter_mut().zip([of_first, own]) {
                *slot = if dw.accumulate { *slot } else { 0.0 } + sum as f32;
            }
        }
        if let Some(dfirst) = cx.input_grad(1) {
            for (row, dv) in dfirst.values.chunks_exact_mut(self.width).zip(dv()) {
                elementwise::scale(row, dfirst.accumulate, dv, weights[0]);
            }
        }
        if let Some(dqkv) = cx.input_grad(0) {
            let rows = dqkv
                .values
                .chunks_exact_mut(whole)
                .zip(dy.chunks_exact(whole));
            for (row, dy) in rows {
                let (qk, v) = row.split_at_mut(2 * self.width);
                let (dqk, dv) = dy.split_at(2 * self.width);
                elementwise::copy(qk, dqkv.accumulate, dqk);
                elementwise::scale(v, dqkv.accumulate, dv, weights[1]);
            }
        }
    }
}

/// `q | k | w_0 first + w_1 v` for rows `q | k | v`: qkv `[.., 3 d]`, first `[.., d]`,
/// weights `[2]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn mix_values<'t>(qkv: Var<'t>, first: Var<'t>, weights: Var<'t>) -> Var<'t> {
    let (shape, width) = (qkv.shape(), first.shape().width());
    let parts = first.shape().with_width(3 * width);
    let expected = [("qkv", qkv, parts), ("weights", weights, [2].into())];
    expect("mix_values", expected);
    let op = MixValues { width };
    let [y] = qkv.tape().apply(op, &[qkv, first, weights], [shape]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn values_have_the_gradients_of_their_formula() {
        for width in [1, 6, 16, 19] {
            let qkv = CheckInput::normal([2, 2, 3 * width], 1.0, 1);
            Check::new(
                "values_of",
                vec![qkv.clone()],
                |_, v| vec![values_of(v[0])],
                |x| {
                    let rows = x[0].chunks(3 * width);
                    vec![rows.flat_map(|row| row[2 * width..].to_vec()).collect()]
                },
            )
            .run();
            Check::new(
                "mix_values",
                vec![
                    qkv,
                    CheckInput::normal([2, 2, width], 1.0, 2),
                    CheckInput::normal([2], 1.0, 3),
                ],
                |_, v| vec![mix_values(v[0], v[1], v[2])],
                |x| {
                    let rows = x[0].chunks(3 * width).zip(x[1].chunks(width));
                    let mixed = rows.flat_map(|(row, first)| {
                        let mut y = row.to_vec();
                        for (i, first) in first.iter().enumerate() {
                            let own = row[2 * width + i];
                            y[2 * width + i] = x[2][0] * first + x[2][1] * own;
                        }
                        y
                    });
                    vec![mixed.collect()]
                },
            )
            .run();
        }
    }
}
