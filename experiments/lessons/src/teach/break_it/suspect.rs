//! A dynamic hyper-connection, written out plainly, with a bug to switch on.

use crate::teach::token::EPS;
use engine::{
    op::{Backward, Forward, Op},
    ops::{layer_norm, replicate, scale, sum_streams},
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::Var,
};
use nn::connection::{
    Account, Connection, Site, Spec, State, Sublayer,
    hyper::ops::{
        DynamicParams, PredictorNormParams, coefficients, depth_connection, width_connection,
    },
};

/// Mistakes that real implementations have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The streams are carried without A_r.
    DeadMix,
    /// A_r instead of its transpose.
    TransposedMix,
    /// A_m = 1/n.
    UniformRead,
    /// k counts blocks.
    IndexPerBlock,
    /// Weight decay on B, A_m and A_r.
    DecayOnStatic,
    /// Every stream is normed, then they are added up.
    NormBeforeSum,
    /// Copied at the start and averaged at the end of every block.
    ExpandPerBlock,
    /// One norm over all n d numbers before the predictors.
    NormOverStreams,
    /// `[A_m | A_r]` is not registered as a parameter.
    StaticNotTrained,
}

/// The configuration of a suspect.
#[derive(Clone, Copy, Debug)]
pub struct Suspect {
    /// How many streams.
    pub rate: usize,
    /// What is wrong with it.
    pub bug: Option<Bug>,
}

#[derive(Debug)]
struct SuspectConnection {
    suspect: Suspect,
    index: usize,
    start: Vec<f32>,
    static_alpha: Option<ParamId>,
    static_beta: ParamId,
    dynamic_alpha_fn: ParamId,
    dynamic_beta_fn: ParamId,
    dynamic_alpha_scale: ParamId,
    dynamic_beta_scale: ParamId,
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
            static_alpha: registered.then(|| {
                let init = Init::Values(start.clone());
                b.param("static_alpha", [n, n + 1], decay, init)
            }),
            start,
            static_beta: b.param("static_beta", [n], decay, Init::Ones),
            dynamic_alpha_fn: b.param("dynamic_alpha_fn", [d, n + 1], Decay::Yes, Init::Zeros),
            dynamic_beta_fn: b.param("dynamic_beta_fn", [d], Decay::Yes, Init::Zeros),
            dynamic_alpha_scale: b.param(
                "dynamic_alpha_scale",
                [1],
                Decay::No,
                Init::Constant(0.01),
            ),
            dynamic_beta_scale: b.param("dynamic_beta_scale", [1], Decay::No, Init::Constant(0.01)),
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
        let &[tokens, _, d] = hidden.shape().dims() else {
            panic!("suspect: the state is {}", hidden.shape());
        };
        let over_all = self.has(Bug::NormOverStreams);
        let norm = match over_all {
            true => PredictorNormParams::None,
            false => PredictorNormParams::LayerNorm(
                tape.constant([d], &vec![1.0; d]),
                tape.constant([d], &vec![0.0; d]),
            ),
        };
        let predicted_from = match over_all {
            true => {
                let flat = rearranged(hidden, [tokens, n * d].into(), |at| at);
                rearranged(layer_norm(flat, None, None, EPS), hidden.shape(), |at| at)
            }
            false => hidden,
        };
        let params = DynamicParams {
            static_alpha: match self.static_alpha {
                Some(id) => tape.param(id),
                None => tape.constant([n, n + 1], &self.start),
            },
            static_beta: tape.param(self.static_beta),
            dynamic_alpha_fn: tape.param(self.dynamic_alpha_fn),
            dynamic_beta_fn: tape.param(self.dynamic_beta_fn),
            dynamic_alpha_scale: tape.param(self.dynamic_alpha_scale),
            dynamic_beta_scale: tape.param(self.dynamic_beta_scale),
            norm,
            eps: EPS,
            tanh: true,
        };
        let coefficients = coefficients(predicted_from, &params);
        let mut alpha = coefficients.alpha;
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
        let (input, mut mixed) = width_connection(hidden, alpha);
        if self.has(Bug::DeadMix) {
            mixed = hidden;
        }
        tape.probe("hidden", hidden);
        tape.probe("alpha", coefficients.alpha);
        let output = sublayer.pre_normed(input);
        State::new(depth_connection(mixed, coefficients.beta, output))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        match self.has(Bug::NormBeforeSum) {
            true => sum_streams(layer_norm(state.hidden, None, None, EPS)),
            false => sum_streams(state.hidden),
        }
    }

    fn account(&self) -> Account {
        Account::default()
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
