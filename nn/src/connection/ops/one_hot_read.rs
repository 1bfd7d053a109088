//! Coefficients that read one fixed stream and scale every stream by itself.

use engine::{
    op::{Backward, Forward, Op},
    tape::Var,
};

struct OneHotRead {
    rate: usize,
    stream: usize,
}

const OP: &str = "one_hot_read";

impl Op for OneHotRead {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [gains] = cx.inputs();
        let [alpha] = cx.outputs();
        alpha.fill(0.0);
        let rows = alpha.chunks_exact_mut(self.rate + 1).zip(gains);
        for (i, (row, gain)) in rows.enumerate() {
            row[0] = f32::from(i == self.stream);
            row[1 + i] = *gain;
        }
    }

    /// `dg_i = dA_r,ii`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dalpha = cx.grad().chunks_exact(self.rate + 1);
        if let Some(dgains) = cx.input_grad(0) {
            for (i, (slot, row)) in dgains.values.iter_mut().zip(dalpha).enumerate() {
                *slot = if dgains.accumulate { *slot } else { 0.0 } + row[1 + i];
            }
        }
    }
}

/// `[A_m | A_r]` with `A_m = e_stream`, a constant, and `A_r = diag(gains)`: `[n]` to `[n, n + 1]`.
///
/// # Panics
/// If there is no such stream.
#[track_caller]
pub fn one_hot_read(gains: Var<'_>, stream: usize) -> Var<'_> {
    let shape = gains.shape();
    let rate = shape.len();
    if shape.rank() != 1 || stream >= rate {
        let message = format_args!("gains is {shape}, expected [n] with n > stream {stream}");
        gains.tape().fail(OP, message);
    }
    let op = OneHotRead { rate, stream };
    let [alpha] = gains.tape().apply(op, &[gains], [[rate, rate + 1].into()]);
    alpha
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn the_read_is_constant_and_the_gains_are_the_diagonal() {
        for rate in [1, 2, 5] {
            let stream = rate - 1;
            Check::new(
                OP,
                vec![CheckInput::normal([rate], 1.0, 1)],
                |_, v| vec![one_hot_read(v[0], stream)],
                |x| {
                    let element = |at: usize| match (at / (rate + 1), at % (rate + 1)) {
                        (i, 0) => f64::from(u8::from(i == stream)),
                        (i, j) if j == i + 1 => x[0][i],
                        _ => 0.0,
                    };
                    vec![(0..rate * (rate + 1)).map(element).collect()]
                },
            )
            .run();
        }
    }
}
