//! Several weighted sums over the same vectors, with weights for every token.

use crate::{connection::streams::summed, shapes::expect};
use engine::{
    kernels::elementwise,
    op::{Backward, Forward, MAX_INPUTS, Op},
    simd::dot,
    tape::Var,
};

/// The sums of some of the sources, added to those of the sources before.
struct DepthMix<const C: usize> {
    width: usize,
    /// Number of all sources, the first one here, and how many follow.
    sources: usize,
    first: usize,
    count: usize,
    /// True where the last `C` inputs are sums to be added to.
    onto: bool,
}

const OP: &str = "depth_mix";

impl<const C: usize> DepthMix<C> {
    /// Where the weight of source k here lies in sum c.
    fn at(&self, c: usize, k: usize) -> usize {
        c * self.sources + self.first + k
    }

    fn row<'a>(&self, x: &'a [f32], row: usize) -> &'a [f32] {
        &x[row * self.width..][..self.width]
    }
}

impl<const C: usize> Op for DepthMix<C> {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [dynamic, statics, inputs @ ..] = cx.inputs::<MAX_INPUTS>();
        let outputs: [&mut [f32]; C] = cx.outputs();
        let all = C * self.sources;
        for (c, y) in outputs.into_iter().enumerate() {
            if self.onto {
                elementwise::copy(y, false, inputs[self.count + c]);
            }
            for (row, y) in y.chunks_exact_mut(self.width).enumerate() {
                for (k, x) in inputs[..self.count].iter().enumerate() {
                    let at = self.at(c, k);
                    let weight = dynamic[row * all + at] + statics[at];
                    elementwise::scale(y, self.onto || k > 0, self.row(x, row), weight);
                }
            }
        }
    }

    /// `dx_k = sum_c a_ck dy_c`, `da_ck = <x_k, dy_c>`, summed over the tokens for the static ones.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [dynamic, statics, inputs @ ..] = cx.inputs::<MAX_INPUTS>();
        let all = C * self.sources;
        let grads: [Option<&[f32]>; C] = std::array::from_fn(|c| cx.output_grad(c));
        let (mut to_dynamic, mut to_statics) = (summed(cx.input_grad(0)), summed(cx.input_grad(1)));
        for (k, x) in inputs[..self.count].iter().enumerate() {
            let mut to_x = cx.input_grad(2 + k);
            for row in 0..x.len() / self.width {
                let mut add = to_x.as_ref().is_some_and(|to| to.accumulate);
                for (c, grad) in grads.iter().enumerate() {
                    let at = self.at(c, k);
                    let Some(grad) = grad else { continue };
                    let dy = self.row(grad, row);
                    if let Some(to) = &mut to_x {
                        let out = &mut to.values[row * self.width..][..self.width];
                        let weight = dynamic[row * all + at] + statics[at];
                        elementwise::scale(out, add, dy, weight);
                        add = true;
                    }
                    let slope = dot(self.row(x, row), dy);
                    if let Some(to) = &mut to_dynamic {
                        to[row * all + at] += slope;
                    }
                    if let Some(to) = &mut to_statics {
                        to[at] += slope;
                    }
                }
            }
        }
        for (c, grad) in grads.into_iter().enumerate().filter(|_| self.onto) {
            if let (Some(to), Some(grad)) = (cx.input_grad(2 + self.count + c), grad) {
                elementwise::copy(to.values, to.accumulate, grad);
            }
        }
    }
}

/// `y_c = sum over k of (w_ck + a_ck) x_k` for C sums: x `[.., d]`, w `[.., C sources]` of every token, a
/// `[C, sources]` of all.
///
/// # Panics
/// If there is no source or the shapes do not fit.
#[track_caller]
pub fn depth_mix<'t, const C: usize>(
    dynamic: Var<'t>,
    statics: Var<'t>,
    xs: &[Var<'t>],
) -> [Var<'t>; C] {
    let (tape, sources) = (dynamic.tape(), xs.len());
    let Some(shape) = xs.first().map(|x| x.shape()) else {
        tape.fail(OP, "there is no source");
    };
    expect(OP, xs.iter().map(|&x| ("a source", x, shape)));
    let of_weights = [
        (
            "the weights of tokens",
            dynamic,
            shape.with_width(C * sources),
        ),
        ("the weights of all", statics, [C, sources].into()),
    ];
    expect(OP, of_weights);
    let mut sums: Option<[Var<'t>; C]> = None;
    // Both weights and the sums so far are inputs too.
    let most = MAX_INPUTS - 2 - C;
    for (group, xs) in xs.chunks(most).enumerate() {
        let op = DepthMix::<C> {
            width: shape.width(),
            sources,
            first: group * most,
            count: xs.len(),
            onto: sums.is_some(),
        };
        let mut inputs = [dynamic; MAX_INPUTS];
        inputs[1] = statics;
        inputs[2..2 + xs.len()].copy_from_slice(xs);
        let mut used = 2 + xs.len();
        if let Some(sums) = sums {
            inputs[used..used + C].copy_from_slice(&sums);
            used += C;
        }
        sums = Some(tape.apply(op, &inputs[..used], [shape; C]));
    }
    sums.expect("a source")
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    fn check<const C: usize>(sources: usize, width: usize) {
        let mut inputs = vec![
            CheckInput::normal([3, C * sources], 1.0, 1),
            CheckInput::normal([C, sources], 1.0, 2),
        ];
        for k in 0..sources {
            inputs.push(CheckInput::normal([3, width], 1.0, 3 + k as u64));
        }
        Check::new(
            OP,
            inputs,
            |_, v| depth_mix::<C>(v[0], v[1], &v[2..]).to_vec(),
            |x| {
                let sum = |c: usize| {
                    let element = move |at: usize| {
                        let (row, weight) = (at / width, |k: usize| c * sources + k);
                        let terms = (0..sources).map(|k| {
                            (x[0][row * C * sources + weight(k)] + x[1][weight(k)]) * x[2 + k][at]
                        });
                        terms.sum::<f64>()
                    };
                    (0..3 * width).map(element).collect()
                };
                (0..C).map(sum).collect()
            },
        )
        .run();
    }

    #[test]
    fn sums_over_depth_have_the_gradients_of_their_formula() {
        // 10 sources fill one record of four sums, 13 one of a single sum.
        for (sources, width) in [(1, 5), (2, 16), (10, 3), (11, 4), (25, 3)] {
            check::<4>(sources, width);
            check::<1>(sources, width);
        }
    }
}
