//! A sum of vectors with learned scalar weights.

use crate::shapes::expect;
use engine::{
    kernels::elementwise,
    op::{Backward, Forward, MAX_INPUTS, Op},
    simd::dot,
    tape::Var,
};

/// Summands that one record holds beside the weights and the sum so far.
const GROUP: usize = MAX_INPUTS - 2;

/// Elements that are summed before the next ones: they stay in the innermost cache.
const BLOCK: usize = 1024;

struct WeightedSum {
    /// The weight of the first summand here.
    first: usize,
    count: usize,
    /// True where the last input is a sum to be added to.
    onto: bool,
}

impl Op for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [weights, inputs @ ..] = cx.inputs::<MAX_INPUTS>();
        let [y] = cx.outputs();
        let weights = &weights[self.first..][..self.count];
        for (block, y) in y.chunks_mut(BLOCK).enumerate() {
            let here = block * BLOCK..block * BLOCK + y.len();
            if self.onto {
                elementwise::copy(y, false, &inputs[self.count][here.clone()]);
            }
            for (k, (&weight, x)) in weights.iter().zip(inputs).enumerate() {
                elementwise::scale(y, self.onto || k > 0, &x[here.clone()], weight);
            }
        }
    }

    /// `dx_k = w_k dy`, `dw_k = <x_k, dy>`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [weights, inputs @ ..] = cx.inputs::<MAX_INPUTS>();
        let dy = cx.grad();
        if let Some(dw) = cx.input_grad(0) {
            if !dw.accumulate {
                dw.values.fill(0.0);
            }
            for (dw, x) in dw.values[self.first..][..self.count].iter_mut().zip(inputs) {
                let blocks = x.chunks(BLOCK).zip(dy.chunks(BLOCK));
                *dw += blocks.map(|(x, dy)| f64::from(dot(x, dy))).sum::<f64>() as f32;
            }
        }
        for k in 0..self.count {
            if let Some(dx) = cx.input_grad(1 + k) {
                elementwise::scale(dx.values, dx.accumulate, dy, weights[self.first + k]);
            }
        }
        if self.onto {
            cx.pass_grad(1 + self.count);
        }
    }
}

/// `y = onto + sum over k of w_k x_k`: weights `[K]`, all else of one shape.
///
/// # Panics
/// If there is not one weight for each summand, or a shape differs.
#[track_caller]
pub fn weighted_sum<'t>(onto: Option<Var<'t>>, weights: Var<'t>, xs: &[Var<'t>]) -> Var<'t> {
    const OP: &str = "weighted_sum";
    let tape = weights.tape();
    expect(OP, [("the vector of weights", weights, [xs.len()].into())]);
    let Some(shape) = xs.first().map(|x| x.shape()) else {
        tape.fail(OP, "there is no summand");
    };
    let summands = xs.iter().chain(&onto);
    expect(OP, summands.map(|&x| ("a summand", x, shape)));
    let mut sum = onto;
    for (group, xs) in xs.chunks(GROUP).enumerate() {
        let op = WeightedSum {
            first: group * GROUP,
            count: xs.len(),
            onto: sum.is_some(),
        };
        let mut inputs = [weights; MAX_INPUTS];
        inputs[1..=xs.len()].copy_from_slice(xs);
        let mut used = 1 + xs.len();
        if let Some(sum) = sum {
            inputs[used] = sum;
            used += 1;
        }
        let [y] = tape.apply(op, &inputs[..used], [shape]);
        sum = Some(y);
    }
    sum.expect("a summand")
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{
        check::{Check, CheckInput},
        tape::Tape,
    };

    #[test]
    fn a_weighted_sum_has_the_gradients_of_its_formula() {
        // 14 summands fill one record, 31 take three.
        for (count, width, onto) in [(1, 3, true), (3, 17, false), (14, 5, true), (31, 3, false)] {
            let mut inputs = vec![CheckInput::normal([count], 1.0, 1)];
            for k in 0..count + usize::from(onto) {
                inputs.push(CheckInput::normal([2, width], 1.0, 2 + k as u64));
            }
            Check::new(
                "weighted_sum",
                inputs,
                |_, v| {
                    let onto = onto.then(|| v[1 + count]);
                    vec![weighted_sum(onto, v[0], &v[1..=count])]
                },
                |x| {
                    let sums = (0..2 * width).map(|i| {
                        let start = if onto { x[1 + count][i] } else { 0.0 };
                        start + (0..count).map(|k| x[0][k] * x[1 + k][i]).sum::<f64>()
                    });
                    vec![sums.collect()]
                },
            )
            .run();
        }
    }

    #[test]
    fn one_value_may_be_several_summands() {
        Check::new(
            "weighted_sum of x twice",
            vec![
                CheckInput::normal([2], 1.0, 1),
                CheckInput::normal([5], 1.0, 2),
            ],
            |_, v| vec![weighted_sum(Some(v[1]), v[0], &[v[1], v[1]])],
            |x| vec![x[1].iter().map(|v| v * (1.0 + x[0][0] + x[0][1])).collect()],
        )
        .run();
    }

    #[test]
    #[should_panic(expected = "weighted_sum: the vector of weights is [2], expected [1]")]
    fn every_summand_has_a_weight() {
        let tape = Tape::new();
        let weights = tape.constant([2], &[1.0; 2]);
        weighted_sum(None, weights, &[tape.constant([3], &[0.0; 3])]);
    }
}
