//! The end of a network of streams: n of them become one vector per token.

use super::{
    Cost, Site,
    streams::{
        flat_projection::flat_projection,
        ops::{Slots, read},
        predictor::PredictorNorm,
        put, summed,
    },
};
use crate::hooks;
use engine::{
    op::{Backward, Forward, Op},
    ops::{scale, sum_streams},
    params::{Builder, Decay, Init, ParamId},
    simd::{map, sigmoid},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// The reduction of the streams to one vector before the final norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their sum (Zhu et al. 2025, section 2.1).
    #[default]
    Sum,
    /// Their mean: the same up to what the final norm's constant makes of it.
    Mean,
    /// A learned head, as DeepSeek-V4 ends: `sum_i w_i H_i` with `w = sigmoid(s (x⃗ phi) +
    /// b) + 1e-6`, x⃗ the flattened state over its root mean square. It starts with phi and
    /// b at 0, all weights one half.
    SigmoidHead,
}

words!(Reduction);

impl Reduction {
    /// Returns whether all streams weigh the same.
    pub(super) fn is_uniform(self) -> bool {
        matches!(self, Self::Sum | Self::Mean)
    }
}

/// Added to the weights of the head.
const FLOOR: f32 = 1e-6;

/// The reduction of one network; its parameters belong to the last sublayer.
#[derive(Debug)]
pub(super) struct Reducer {
    reduction: Reduction,
    rate: usize,
    dim: usize,
    eps: f32,
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    phi: ParamId,
    scale: ParamId,
    bias: ParamId,
}

impl Reducer {
    /// Registers the head below `head` if there is one and this is the last sublayer.
    pub(super) fn new(reduction: Reduction, rate: usize, site: Site, b: &mut Builder) -> Self {
        let is_last = site.index + 1 == site.count;
        let has_head = is_last && reduction == Reduction::SigmoidHead;
        let head = has_head.then(|| {
            b.scope("head", |b| Head {
                phi: b.param("phi", [rate * site.dim, rate], Decay::Yes, Init::Zeros),
                scale: b.param("scale", [1], Decay::No, Init::Constant(0.01)),
                bias: b.param("bias", [rate], Decay::No, Init::Zeros),
            })
        });
        Self {
            reduction,
            rate,
            dim: site.dim,
            eps: site.eps,
            head,
        }
    }

    /// The cost of a learned head; a sum and a mean count nothing.
    pub(super) fn cost(&self) -> Cost {
        match self.head {
            Some(_) => head_cost(self.rate, self.dim),
            None => Cost::default(),
        }
    }

    /// Returns whether it is the plain sum.
    pub(super) fn is_sum(&self) -> bool {
        self.reduction == Reduction::Sum
    }

    /// The state `[.., n, d]` as `[.., d]`. Weights other than 1 are shown as `head`.
    #[track_caller]
    pub(super) fn reduce<'t>(&self, state: Var<'t>) -> Var<'t> {
        match self.reduction {
            Reduction::Sum => sum_streams(state),
            Reduction::Mean => {
                let (tape, weight) = (state.tape(), 1.0 / self.rate as f32);
                if tape.is_probing() {
                    let weights = vec![weight; self.rate];
                    tape.probe(hooks::HEAD, tape.constant([self.rate], &weights));
                }
                scale(sum_streams(state), weight)
            }
            Reduction::SigmoidHead => {
                let head = self.head.as_ref().expect("the head of the last sublayer");
                let tape = state.tape();
                let slots = Slots::of_streams("sigmoid_head", state, 1);
                let phi = tape.param(head.phi);
                let projected =
                    flat_projection(PredictorNorm::RmsNorm, state, &[phi], None, self.eps);
                let (scale, bias) = (tape.param(head.scale), tape.param(head.bias));
                let weights = head_weights(slots, projected, scale, bias, FLOOR);
                tape.probe(hooks::HEAD, weights);
                read(slots, state, weights)
            }
        }
    }
}

struct HeadWeights {
    rate: usize,
    floor: f32,
}

impl Op for HeadWeights {
    fn name(&self) -> &'static str {
        "head_weights"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [projected, scale, bias] = cx.inputs();
        let [weights] = cx.outputs();
        let mut logits = cx.pool.take(projected.len());
        let rows = logits.chunks_exact_mut(self.rate);
        for (logits, projected) in rows.zip(projected.chunks_exact(self.rate)) {
            for ((logit, u), b) in logits.iter_mut().zip(projected).zip(bias) {
                *logit = scale[0] * u + b;
            }
        }
        map(weights, false, [&logits], |[x]| sigmoid(x));
        for weight in weights {
            *weight += self.floor;
        }
        cx.pool.give(logits);
    }

    /// `dz = dw σ (1 - σ)`, `du = s dz`, `ds = sum dz u`, `db = sum over tokens of dz`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [projected, scale, _] = cx.inputs();
        let [weights] = cx.outputs();
        let weights_grad = cx.grad();
        let slopes = weights.iter().zip(weights_grad).map(|(weight, grad)| {
            let sigmoid = weight - self.floor;
            grad * sigmoid * (1.0 - sigmoid)
        });
        if let Some(mut du) = cx.input_grad(0) {
            put(&mut du, slopes.clone().map(|dz| scale[0] * dz));
        }
        if let Some(ds) = summed(cx.input_grad(1)) {
            for (dz, u) in slopes.clone().zip(projected) {
                ds[0] += dz * u;
            }
        }
        if let Some(db) = summed(cx.input_grad(2)) {
            for (at, dz) in slopes.enumerate() {
                db[at % self.rate] += dz;
            }
        }
    }
}

/// Norm and read, `2 d n` each, `2 d n` for each of n logits, and 4 per logit.
pub(super) fn head_cost(n: usize, d: usize) -> Cost {
    Cost::new(4 * d * n + 2 * d * n * n + 4 * n, 2 * n + 1 + d)
}

/// `w = sigmoid(s u + b) + floor`: u `[.., n]`, s `[1]`, b `[n]`, w `[.., n, 1]`.
#[track_caller]
pub(super) fn head_weights<'t>(
    slots: Slots,
    projected: Var<'t>,
    scale: Var<'t>,
    bias: Var<'t>,
    floor: f32,
) -> Var<'t> {
    let rate = slots.dims().slots;
    let shape = [slots.per_token([rate, 1])];
    let inputs = [projected, scale, bias];
    let op = HeadWeights { rate, floor };
    let [weights] = projected.tape().apply(op, &inputs, shape);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::NormKind;
    use engine::{
        check::{Check, CheckInput},
        rng::Key,
        tape::Tape,
    };

    #[test]
    fn a_sum_is_of_all_streams_and_a_mean_a_share_of_it() {
        for (reduction, expected) in [(Reduction::Sum, [4.0, 6.0]), (Reduction::Mean, [2.0, 3.0])] {
            let site = Site {
                index: 1,
                count: 2,
                dim: 2,
                norm: NormKind::LayerNorm,
                eps: 1e-5,
            };
            let reducer = Reducer::new(reduction, 2, site, &mut Builder::new(Key::new(0)));
            let tape = Tape::new();
            let state = tape.constant([1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
            assert_eq!(reducer.reduce(state).value(), expected);
        }
    }

    #[test]
    fn the_weights_of_the_head_have_the_gradients_of_their_formula() {
        for rate in [1, 2, 3, 4, 8] {
            Check::new(
                "head_weights",
                vec![
                    CheckInput::normal([5, rate], 1.0, 1),
                    CheckInput::normal([1], 1.0, 2),
                    CheckInput::normal([rate], 1.0, 3),
                    CheckInput::normal([5, rate, 3], 1.0, 4),
                ],
                |_, v: &[Var<'_>]| {
                    let slots = Slots::of_streams("check", v[3], 1);
                    vec![read(
                        slots,
                        v[3],
                        head_weights(slots, v[0], v[1], v[2], FLOOR),
                    )]
                },
                |x| {
                    let weight = |row: usize, i: usize| {
                        let z = x[1][0] * x[0][row * rate + i] + x[2][i];
                        1.0 / (1.0 + (-z).exp()) + f64::from(FLOOR)
                    };
                    let element = |row: usize, c: usize| -> f64 {
                        (0..rate)
                            .map(|i| weight(row, i) * x[3][(row * rate + i) * 3 + c])
                            .sum()
                    };
                    vec![(0..15).map(|at| element(at / 3, at % 3)).collect()]
                },
            )
            .run();
        }
    }
}
