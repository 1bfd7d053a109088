//! An RMS norm of every stream with a gain of its own around 1.

use crate::shapes::expect;
use engine::{
    buffer::{Buffer, Pool},
    kernels::norm::{Part, rms_norm, rms_norm_backward},
    op::{Backward, Forward, Grad, Op},
    shape::Shape,
    tape::Var,
};

struct StreamNorm {
    rows: usize,
    rate: usize,
    width: usize,
    eps: f32,
}

const OP: &str = "stream_norm";

impl StreamNorm {
    /// Stream s as columns of rows of all streams, its columns alone, and its part of the
    /// statistics.
    fn parts(
        &self,
    ) -> impl Iterator<Item = (Part, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let &Self {
            rows, rate, width, ..
        } = self;
        (0..rate).map(move |s| {
            let part = Part {
                stride: rate * width,
                offset: s * width,
                width,
            };
            let range = |len: usize| s * len..(s + 1) * len;
            (part, range(width), range(rows))
        })
    }

    /// `1 + w`.
    fn gains(&self, pool: &mut Pool, weight: &[f32]) -> Buffer {
        let mut gains = pool.take(weight.len());
        for (gain, weight) in gains.iter_mut().zip(weight) {
            *gain = 1.0 + weight;
        }
        gains
    }
}

impl Op for StreamNorm {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, weight] = cx.inputs();
        let [y, rstd] = cx.outputs();
        let gains = self.gains(cx.pool, weight);
        for (part, columns, of_stream) in self.parts() {
            let (rstd, gains) = (&mut rstd[of_stream], &gains[columns]);
            rms_norm(y, rstd, x, part, Some(gains), self.eps);
        }
        cx.pool.give(gains);
    }

    /// As of the RMS norm; `dw` is the gradient of the gain.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x, weight] = cx.inputs();
        let [_, rstd] = cx.outputs();
        let (mut dx, mut dweight, dy) = (cx.input_grad(0), cx.input_grad(1), cx.grad());
        let gains = self.gains(cx.pool, weight);
        for (part, columns, of_stream) in self.parts() {
            let dx = dx.as_mut().map(|dx| Grad {
                values: &mut *dx.values,
                accumulate: dx.accumulate,
            });
            let dweight = dweight.as_mut().map(|dweight| Grad {
                values: &mut dweight.values[columns.clone()],
                accumulate: dweight.accumulate,
            });
            let gains = Some(&gains[columns]);
            rms_norm_backward(dx, dweight, dy, x, part, gains, &rstd[of_stream]);
        }
        cx.pool.give(gains);
    }

    fn carries_gradient(&self, i: usize) -> bool {
        i == 0
    }
}

/// `U_s = H_s / rms(H_s) ∘ (1 + w_s)` for every stream s, one after the other: H `[.., n, d]`, w `[n
/// d]`, U `[.., n d]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn stream_norm<'t>(state: Var<'t>, weight: Var<'t>, eps: f32) -> Var<'t> {
    let shape = state.shape();
    let &[ref outer @ .., rate, width] = shape.dims() else {
        let message = format_args!("the state is {shape}, expected [.., n, d]");
        state.tape().fail(OP, message);
    };
    expect(OP, [("the weight", weight, [rate * width].into())]);
    let rows: usize = outer.iter().product();
    let op = StreamNorm {
        rows,
        rate,
        width,
        eps,
    };
    let flat = Shape::new(&shape.dims()[..=outer.len()]).with_width(rate * width);
    let shapes = [flat, Shape::from([rows * rate])];
    let [normed, _] = state.tape().apply(op, &[state, weight], shapes);
    normed
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    const EPS: f64 = 0.1;

    #[test]
    fn every_stream_has_a_norm_and_a_gain_of_its_own() {
        for (rate, width) in [(1, 5), (2, 16), (3, 7), (4, 19)] {
            Check::new(
                OP,
                vec![
                    CheckInput::normal([3, rate, width], 1.0, 1),
                    CheckInput::normal([rate * width], 1.0, 2),
                ],
                |_, v| vec![stream_norm(v[0], v[1], EPS as f32)],
                |x| {
                    let streams = x[0].chunks(width).enumerate().flat_map(|(at, stream)| {
                        let square: f64 = stream.iter().map(|x| x * x).sum();
                        let root = (square / width as f64 + EPS).sqrt();
                        let gains = &x[1][at % rate * width..][..width];
                        let pairs = stream.iter().zip(gains);
                        pairs.map(|(x, w)| x / root * (1.0 + w)).collect::<Vec<_>>()
                    });
                    vec![streams.collect()]
                },
            )
            .run();
        }
    }
}
