//! The bench of known bugs: a hyper-connection written out plainly, with a bug to switch on, and
//! Sinkhorn mixes with theirs. Lesson 8 and the tests of `docs/known_bugs.md` use it.

pub mod sinkhorn;

use engine::{
    op::{Backward, Forward, Op},
    ops::{layer_norm, replicate, scale, sum_streams},
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::{Tape, Var},
};
use nn::{
    connection::{
        Connection, Cost, PredictorNorm, Site, Spec, State, Sublayer,
        hyper::ops::coefficients,
        streams::{
            freeze::freeze_columns,
            ops::{depth_connection, width_connection},
            predictor::{Predictor, PredictorForm},
        },
    },
    hooks,
};

/// A mistake that published implementations have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The streams are carried without A_r.
    DeadMix,
    /// Every carried stream is the sum of all: a matrix of ones for A_r.
    AllOnesMix,
    /// A_r instead of its transpose.
    TransposedMix,
    /// A_m starts as 1/n.
    UniformRead,
    /// The mean of the streams is read, whatever A_m is.
    MeanRead,
    /// The gradient of a static A_m is lost in the backward.
    ReadWithoutGradient,
    /// k counts blocks.
    IndexPerBlock,
    /// Weight decay on B, A_m and A_r.
    DecayOnStatic,
    /// A static `[A_m | A_r]` is rounded to bfloat16.
    Bf16Coefficients,
    /// Every stream is normed, then they are added up.
    NormBeforeSum,
    /// Copied at the start and averaged at the end of every block.
    ExpandPerBlock,
    /// The streams are summed after every sublayer and replicated again.
    CollapsePerSublayer,
    /// One norm over all n d numbers before the predictors.
    NormOverStreams,
    /// `[A_m | A_r]` is not registered as a parameter.
    StaticNotTrained,
}

/// Configuration of a hyper-connection under suspicion.
#[derive(Clone, Copy, Debug)]
pub struct Suspect {
    /// Number of streams.
    pub rate: usize,
    /// True if coefficients depend on the state.
    pub dynamic: bool,
    /// The bug, if it has one.
    pub bug: Option<Bug>,
}

#[derive(Debug)]
struct SuspectConnection {
    suspect: Suspect,
    index: usize,
    eps: f32,
    start: Vec<f32>,
    static_alpha: Option<ParamId>,
    static_beta: ParamId,
    predictors: Option<Predictors>,
}

#[derive(Debug)]
struct Predictors {
    alpha_fn: ParamId,
    beta_fn: ParamId,
    alpha_scale: ParamId,
    beta_scale: ParamId,
}

impl Spec for Suspect {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (n, d) = (self.rate, site.dim);
        let index = match self.bug {
            Some(Bug::IndexPerBlock) => site.index / 2,
            _ => site.index,
        };
        let start: Vec<f32> = (0..n * (n + 1))
            .map(|at| match (at / (n + 1), at % (n + 1)) {
                (_, 0) if self.bug == Some(Bug::UniformRead) => 1.0 / n as f32,
                (i, 0) => f32::from(i == index % n),
                (i, column) => f32::from(i + 1 == column),
            })
            .collect();
        let decay = match self.bug {
            Some(Bug::DecayOnStatic) => Decay::Yes,
            _ => Decay::No,
        };
        let registered = self.bug != Some(Bug::StaticNotTrained);
        Box::new(SuspectConnection {
            suspect: *self,
            index: site.index,
            eps: site.eps,
            static_alpha: registered.then(|| {
                let init = Init::Values(start.clone());
                b.param("static_alpha", [n, n + 1], decay, init)
            }),
            start,
            static_beta: b.param("static_beta", [n], decay, Init::Ones),
            predictors: self.dynamic.then(|| {
                let scale = Init::Constant(0.01);
                Predictors {
                    alpha_fn: b.param("dynamic_alpha_fn", [d, n + 1], Decay::Yes, Init::Zeros),
                    beta_fn: b.param("dynamic_beta_fn", [d], Decay::Yes, Init::Zeros),
                    alpha_scale: b.param("dynamic_alpha_scale", [1], Decay::No, scale.clone()),
                    beta_scale: b.param("dynamic_beta_scale", [1], Decay::No, scale),
                }
            }),
        })
    }

    fn label(&self) -> String {
        format!("suspect x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "Zhu et al., Hyper-Connections, ICLR 2025, arXiv 2409.19606"
    }

    fn final_norm(&self) -> bool {
        self.bug != Some(Bug::NormBeforeSum)
    }
}

impl SuspectConnection {
    fn has(&self, bug: Bug) -> bool {
        self.suspect.bug == Some(bug)
    }

    /// `[A_m | A_r]` and B, the same for every token.
    fn static_part<'t>(&self, tape: &'t Tape) -> [Var<'t>; 2] {
        let shape = [self.suspect.rate, self.suspect.rate + 1];
        let alpha = match self.static_alpha {
            Some(id) => tape.param(id),
            None => tape.constant(shape, &self.start),
        };
        let alpha = match self.suspect.bug {
            Some(Bug::ReadWithoutGradient) => freeze_columns(alpha, 0..1),
            Some(Bug::Bf16Coefficients) => {
                let round = |x: &f32| f32::from_bits((x.to_bits() + 0x8000) & 0xffff_0000);
                let rounded: Vec<f32> = alpha.value().iter().map(round).collect();
                tape.constant(shape, &rounded)
            }
            _ => alpha,
        };
        [alpha, tape.param(self.static_beta)]
    }

    /// `[A_m | A_r]` and B.
    fn coefficients<'t>(&self, hidden: Var<'t>) -> [Var<'t>; 2] {
        let (tape, n, d) = (hidden.tape(), self.suspect.rate, hidden.shape().width());
        let [static_alpha, static_beta] = self.static_part(tape);
        let Some(predictors) = &self.predictors else {
            return [static_alpha, static_beta];
        };
        let over_all = self.has(Bug::NormOverStreams);
        let norm = |start: f32| (!over_all).then(|| tape.constant([d], &vec![start; d]));
        let predicted_from = match over_all {
            true => {
                let shape = [hidden.shape().len() / (n * d), n * d];
                let flat = rearranged(hidden, shape.into(), |at| at);
                let normed = layer_norm(flat, None, None, self.eps);
                rearranged(normed, hidden.shape(), |at| at)
            }
            false => hidden,
        };
        let params = Predictor {
            form: PredictorForm {
                norm: match over_all {
                    true => PredictorNorm::None,
                    false => PredictorNorm::LayerNorm,
                },
                eps: self.eps,
                tanh: true,
            },
            static_alpha,
            static_beta,
            alpha_fn: tape.param(predictors.alpha_fn),
            beta_fn: tape.param(predictors.beta_fn),
            alpha_scale: tape.param(predictors.alpha_scale),
            beta_scale: tape.param(predictors.beta_scale),
            norm_weight: norm(1.0),
            norm_bias: norm(0.0),
        };
        let coefficients = coefficients(predicted_from, &params);
        [coefficients.alpha, coefficients.beta]
    }
}

impl Connection for SuspectConnection {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(replicate(embedding, self.suspect.rate))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (tape, n) = (state.hidden.tape(), self.suspect.rate);
        let mut hidden = state.hidden;
        if self.has(Bug::ExpandPerBlock) && self.index.is_multiple_of(2) {
            hidden = replicate(scale(sum_streams(hidden), 1.0 / n as f32), n);
        }
        let [predicted, beta] = self.coefficients(hidden);
        let mut alpha = predicted;
        if self.has(Bug::TransposedMix) {
            let row = n + 1;
            alpha = rearranged(alpha, alpha.shape(), move |at| {
                let (token, i, column) = (at / (n * row), at / row % n, at % row);
                match column {
                    0 => at,
                    _ => token * n * row + (column - 1) * row + i + 1,
                }
            });
        }
        let (mut input, mut mixed) = width_connection(hidden, alpha);
        match self.suspect.bug {
            Some(Bug::DeadMix) => mixed = hidden,
            Some(Bug::AllOnesMix) => mixed = replicate(sum_streams(hidden), n),
            Some(Bug::MeanRead) => input = scale(sum_streams(hidden), 1.0 / n as f32),
            _ => {}
        }
        tape.probe(hooks::HIDDEN, hidden);
        tape.probe(hooks::ALPHA, predicted);
        let output = sublayer.pre_normed(input);
        let next = depth_connection(mixed, beta, output);
        State::new(match self.suspect.bug {
            Some(Bug::CollapsePerSublayer) => replicate(sum_streams(next), n),
            _ => next,
        })
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        match self.has(Bug::NormBeforeSum) {
            true => sum_streams(layer_norm(state.hidden, None, None, self.eps)),
            false => sum_streams(state.hidden),
        }
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }
}

/// `y_at = x_{from(at)}` for a permutation of the elements.
struct Rearrange {
    from: Vec<usize>,
}

impl Op for Rearrange {
    fn name(&self) -> &'static str {
        "rearrange"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        for (y, &from) in y.iter_mut().zip(&self.from) {
            *y = x[from];
        }
    }

    /// `dx_{from(at)} = dy_at`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let dy = cx.grad();
        if let Some(dx) = cx.input_grad(0) {
            for (dy, &from) in dy.iter().zip(&self.from) {
                dx.values[from] = match dx.accumulate {
                    true => dx.values[from] + dy,
                    false => *dy,
                };
            }
        }
    }
}

fn rearranged<'t>(x: Var<'t>, shape: Shape, from: impl Fn(usize) -> usize) -> Var<'t> {
    let op = Rearrange {
        from: (0..shape.len()).map(from).collect(),
    };
    let [y] = x.tape().apply(op, &[x], [shape]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn rearranging_has_the_gradient_of_its_formula() {
        Check::new(
            "rearrange",
            vec![CheckInput::normal([3, 5], 1.0, 1)],
            |_, v| vec![rearranged(v[0], [5, 3].into(), |at| 14 - at)],
            |x| vec![x[0].iter().rev().copied().collect()],
        )
        .run();
    }
}
