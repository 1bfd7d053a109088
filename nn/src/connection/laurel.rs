//! LAuReL: learned augmentations of the residual connection.

use super::{Connection, Cost, Site, Spec, State, Sublayer, ops::weighted_sum};
use crate::hooks;
use engine::{
    ops::{linear, sigmoid, softmax},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// The bound of the residual weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightBound {
    /// `(alpha, beta)` is the softmax of two logits, which start at 0: both weights are one
    /// half at first.
    Softmax,
    /// Each is the sigmoid of its own logit, which starts at 0.
    Sigmoid,
    /// The weights are parameters themselves and start at 1.
    None,
}

/// Which equations combine the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaurelForm {
    /// The paper's (5) and (6): beta scales the low-rank part too, and each of the k states,
    /// of which x_i is the first, has a map of its own.
    Paper,
    /// `alpha f + beta x_i + B A (x_i + sum over j = 1..k of gamma_j x_{i-j})`: one map, k
    /// states before x_i, and beta on x_i alone.
    OneMap,
}

words!(WeightBound, LaurelForm);

settings! {
    /// `x_{i+1} = alpha f(norm x_i) + beta (x_i + sum over j = 0..k-1 of gamma_j B_j A_j x_{i-j})`,
    /// each of the three parts a switch:
    /// - residual weights (RW): learned scalars alpha and beta, kept bounded;
    /// - low rank (LR): A `[rank, d]`, Xavier at first, and B `[d, rank]`, zero at first. Without PA
    ///   the sum is `B A x_i` alone: Eq. (5);
    /// - previous activations (PA): k states, x_i the first of them, each with its own low-rank map
    ///   and a learned scalar gamma that starts at 1/k: Eq. (6).
    ///
    /// Without RW, or with `bound = "none"`, every variant starts as pre-norm.
    ///
    /// Source: Menghani et al., LAuReL: Learned Augmented Residual Layer, ICML 2025, arXiv
    /// 2411.07501.
    pub struct LaurelConfig {
        /// RW: whether branch and state have learned weights.
        pub residual_weights: bool = true,
        /// LR: the rank of the linear maps; 0 is none.
        pub rank: usize = 4,
        /// PA: how many states are used; needs a rank.
        pub previous: usize = 0,
        /// The bound of alpha and beta.
        pub bound: WeightBound [absent: WeightBound::None] = WeightBound::Softmax,
        /// Which equations.
        pub form: LaurelForm [absent: LaurelForm::OneMap] = LaurelForm::Paper,
    }
}

impl LaurelConfig {
    /// Number of states that sublayer `index` reads through low-rank maps, and number of maps.
    fn states_and_maps(&self, index: usize) -> (usize, usize) {
        let maps = usize::from(self.rank > 0);
        match self.form {
            // The first sublayers have fewer states before them.
            LaurelForm::Paper => {
                let states = self.previous.min(index + 1);
                (states, states.max(maps))
            }
            LaurelForm::OneMap => (self.previous.min(index), maps),
        }
    }
}

impl Spec for LaurelConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (dim, rank) = (site.dim, self.rank);
        let (states, maps) = self.states_and_maps(site.index);
        let fan = match self.form {
            LaurelForm::Paper => (dim + rank) as f32 / 2.0,
            LaurelForm::OneMap => dim as f32,
        };
        let std = 1.0 / fan.sqrt();
        let start = match self.bound {
            WeightBound::None => Init::Ones,
            WeightBound::Softmax | WeightBound::Sigmoid => Init::Zeros,
        };
        Box::new(Laurel {
            weights: self
                .residual_weights
                .then(|| b.param("residual_weights", [2], Decay::No, start)),
            maps: (0..maps)
                .map(|j| {
                    let name = |part: &str| match j {
                        0 => format!("low_rank_{part}"),
                        _ => format!("low_rank_{part}_{j}"),
                    };
                    let init = Init::Normal { std };
                    (
                        b.param(&name("a"), [rank, dim], Decay::Yes, init),
                        b.param(&name("b"), [dim, rank], Decay::Yes, Init::Zeros),
                    )
                })
                .collect(),
            gamma: (states > 0).then(|| {
                let start = Init::Constant(1.0 / states as f32);
                b.param("previous_weights", [states], Decay::No, start)
            }),
            config: self.clone(),
            cost: cost(self, dim, states, maps),
        })
    }

    fn label(&self) -> String {
        let mut label = String::from("LAuReL");
        if self.residual_weights {
            label.push_str("-RW");
        }
        if self.rank > 0 {
            label.push_str(&format!("-LR{}", self.rank));
        }
        if self.previous > 0 {
            label.push_str(&format!("-PA{}", self.previous));
        }
        label
    }

    fn citation(&self) -> &'static str {
        "Menghani et al., LAuReL: Learned Augmented Residual Layer, ICML 2025, \
         arXiv 2411.07501"
    }

    fn validate(&self, dim: usize) -> Result<(), String> {
        if self.rank > dim {
            return Err(format!(
                "rank is {}, expected at most the width {dim}",
                self.rank
            ));
        }
        if self.previous > 0 && self.rank == 0 {
            return Err(format!(
                "previous is {} with rank 0: previous states pass through low-rank maps, set a \
                 rank",
                self.previous
            ));
        }
        Ok(())
    }
}

fn cost(config: &LaurelConfig, dim: usize, states: usize, maps: usize) -> Cost {
    let weights = if config.residual_weights {
        3 * dim
    } else {
        dim
    };
    let low_rank = maps * (4 * dim * config.rank + dim);
    let saved = dim + maps * (2 * dim + config.rank) + usize::from(states > 0) * dim;
    Cost {
        flops: weights + low_rank + 2 * states * dim,
        saved,
    }
}

/// `memory` holds the states before `hidden`, the newest last.
#[derive(Debug)]
struct Laurel {
    config: LaurelConfig,
    weights: Option<ParamId>,
    /// A and B of every map, that of the newest state first.
    maps: Vec<(ParamId, ParamId)>,
    gamma: Option<ParamId>,
    cost: Cost,
}

impl Laurel {
    /// `(alpha, beta)`.
    fn weights<'t>(&self, logits: Var<'t>) -> Var<'t> {
        match self.config.bound {
            WeightBound::Softmax => softmax(logits),
            WeightBound::Sigmoid => sigmoid(logits),
            WeightBound::None => logits,
        }
    }

    /// `B_j A_j x`.
    fn mapped<'t>(&self, j: usize, x: Var<'t>) -> Var<'t> {
        let (a, b) = self.maps[j];
        let tape = x.tape();
        linear(linear(x, tape.param(a), None), tape.param(b), None)
    }

    /// The sum that beta scales in the paper: `x + sum over j of gamma_j B_j A_j x_{i-j}`.
    fn augmented<'t>(&self, x: Var<'t>, before: &[Var<'t>]) -> Var<'t> {
        let mut states = std::iter::once(x).chain(before.iter().rev().copied());
        match self.gamma {
            Some(gamma) => {
                let states = states.take(self.maps.len()).enumerate();
                let mapped: Vec<Var<'t>> = states.map(|(j, x)| self.mapped(j, x)).collect();
                weighted_sum(Some(x), x.tape().param(gamma), &mapped)
            }
            None if self.maps.is_empty() => x,
            None => x + self.mapped(0, states.next().expect("x itself")),
        }
    }

    /// The term that the form with one map adds: `B A (x + sum over j of gamma_j x_{i-j})`.
    fn added<'t>(&self, x: Var<'t>, before: &[Var<'t>]) -> Option<Var<'t>> {
        let read = match self.gamma {
            Some(gamma) => weighted_sum(Some(x), x.tape().param(gamma), before),
            None => x,
        };
        (!self.maps.is_empty()).then(|| self.mapped(0, read))
    }

    /// Number of states kept for the next sublayer.
    fn kept(&self) -> usize {
        match self.config.form {
            LaurelForm::Paper => self.config.previous.saturating_sub(1),
            LaurelForm::OneMap => self.config.previous,
        }
    }
}

impl Connection for Laurel {
    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (x, tape) = (state.hidden, state.hidden.tape());
        let output = sublayer.pre_normed(x);
        let (carried, added) = match self.config.form {
            LaurelForm::Paper => (self.augmented(x, &state.memory), None),
            LaurelForm::OneMap => (x, self.added(x, &state.memory)),
        };
        let mut next = match self.weights {
            Some(weights) => {
                let weights = self.weights(tape.param(weights));
                tape.probe(hooks::RESIDUAL_WEIGHTS, weights);
                weighted_sum(None, weights, &[output, carried])
            }
            None => carried + output,
        };
        if let Some(added) = added {
            next = next + added;
        }
        let kept = self.kept();
        if kept > 0 {
            if state.memory.len() == kept {
                state.memory.remove(0);
            }
            state.memory.push(x);
        }
        state.hidden = next;
        state
    }

    fn cost(&self) -> Cost {
        self.cost
    }
}
