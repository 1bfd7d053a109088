//! The mean of gated streams.

use crate::shapes::expect;
use engine::{
    op::{Backward, Forward, Op},
    simd::{F32, map, sigmoid},
    tape::Var,
};

struct GatedMean {
    rate: usize,
    width: usize,
}

const OP: &str = "gated_mean";

impl GatedMean {
    /// Every stream of every row: the row, and where the stream lies.
    fn streams(&self, len: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        let &Self { rate, width } = self;
        (0..len / width).map(move |s| (s / rate, s * width..(s + 1) * width))
    }
}

impl Op for GatedMean {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [logits, x] = cx.inputs();
        let [y] = cx.outputs();
        let share = F32::splat(1.0 / self.rate as f32);
        for (at, (row, here)) in self.streams(x.len()).enumerate() {
            let y = &mut y[row * self.width..][..self.width];
            let add = at % self.rate > 0;
            map(y, add, [&logits[here.clone()], &x[here]], |[z, x]| {
                sigmoid(z) * x * share
            });
        }
    }

    /// `dx_s = g_s dy / n`, `dz_s = g_s (1 - g_s) x_s dy / n`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [logits, x] = cx.inputs();
        let (dlogits, dx, dy) = (cx.input_grad(0), cx.input_grad(1), cx.grad());
        let share = F32::splat(1.0 / self.rate as f32);
        let of_row = |row: usize| &dy[row * self.width..][..self.width];
        if let Some(dx) = dx {
            for (row, here) in self.streams(x.len()) {
                let inputs = [&logits[here.clone()], of_row(row)];
                map(&mut dx.values[here], dx.accumulate, inputs, |[z, dy]| {
                    sigmoid(z) * dy * share
                });
            }
        }
        if let Some(dlogits) = dlogits {
            for (row, here) in self.streams(x.len()) {
                let inputs = [&logits[here.clone()], &x[here.clone()], of_row(row)];
                let to = &mut dlogits.values[here];
                map(to, dlogits.accumulate, inputs, |[z, x, dy]| {
                    let gate = sigmoid(z);
                    gate * (F32::ONE - gate) * x * dy * share
                });
            }
        }
    }
}

/// `y = mean over streams s of sigmoid(z_s) ∘ x_s`: z and x `[.., n d]`, y `[.., d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn gated_mean<'t>(logits: Var<'t>, x: Var<'t>, rate: usize) -> Var<'t> {
    let shape = x.shape();
    if rate == 0 || !shape.width().is_multiple_of(rate) {
        let message = format_args!("x is {shape}, expected [.., a multiple of {rate}]");
        x.tape().fail(OP, message);
    }
    expect(OP, [("the logits", logits, shape)]);
    let width = shape.width() / rate;
    let op = GatedMean { rate, width };
    let [y] = x.tape().apply(op, &[logits, x], [shape.with_width(width)]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn gated_streams_have_the_mean_and_gradients_of_the_formula() {
        for (rate, width) in [(1, 5), (2, 16), (3, 7), (4, 19)] {
            Check::new(
                OP,
                vec![
                    CheckInput::normal([3, rate * width], 1.0, 1),
                    CheckInput::normal([3, rate * width], 1.0, 2),
                ],
                |_, v| vec![gated_mean(v[0], v[1], rate)],
                |x| {
                    let element = |at: usize| {
                        let (row, column) = (at / width, at % width);
                        let places = (0..rate).map(|s| (row * rate + s) * width + column);
                        let gated = places.map(|i| x[1][i] / (1.0 + (-x[0][i]).exp()));
                        gated.sum::<f64>() / rate as f64
                    };
                    vec![(0..3 * width).map(element).collect()]
                },
            )
            .run();
        }
    }
}
