//! LAuReL: learned augmentations of the residual connection.

use super::{Account, Connection, Site, Spec, State, Sublayer, ops::weighted_sum};
use engine::{
    ops::linear,
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// `x_{i+1} = alpha f(norm x_i) + beta x_i + B A (x_i + sum over j of gamma_j x_{i-j})`,
/// each of the three parts a switch:
/// - residual weights (RW): learned scalars alpha and beta, which start at one;
/// - low rank (LR): A `[rank, d]` and B `[d, rank]`, B starting at zero;
/// - previous activations (PA): the k states before x_i pass through the same low-rank
///   map, with learned scalars gamma that start at 1/k.
///
/// So every variant starts as pre-norm.
///
/// Source: Menghani et al., LAuReL: Learned Augmented Residual Layer, ICML 2025, arXiv
/// 2411.07501.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LaurelConfig {
    /// RW: whether branch and state have learned weights.
    pub residual_weights: bool,
    /// LR: the rank of the linear map; 0 is none.
    pub rank: usize,
    /// PA: how many previous states are used; needs a rank.
    pub previous: usize,
}

impl Default for LaurelConfig {
    fn default() -> Self {
        Self {
            residual_weights: true,
            rank: 4,
            previous: 0,
        }
    }
}

impl Spec for LaurelConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (dim, rank) = (site.dim, self.rank);
        // The first sublayers have fewer states before them.
        let previous = self.previous.min(site.index);
        let std = 1.0 / (dim as f32).sqrt();
        Box::new(Laurel {
            weights: self
                .residual_weights
                .then(|| b.param("residual_weights", [2], Decay::No, Init::Ones)),
            low_rank: (rank > 0).then(|| {
                (
                    b.param("low_rank_a", [rank, dim], Decay::Yes, Init::Normal { std }),
                    b.param("low_rank_b", [dim, rank], Decay::Yes, Init::Zeros),
                )
            }),
            gamma: (previous > 0).then(|| {
                let start = Init::Constant(1.0 / previous as f32);
                b.param("previous_weights", [previous], Decay::No, start)
            }),
            kept: self.previous,
            account: account(self, dim, previous),
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
                "previous is {} with rank 0: previous states pass through the low-rank map, \
                 set a rank",
                self.previous
            ));
        }
        Ok(())
    }
}

fn account(config: &LaurelConfig, dim: usize, previous: usize) -> Account {
    let weights = if config.residual_weights {
        3 * dim
    } else {
        dim
    };
    let low_rank = if config.rank > 0 {
        4 * dim * config.rank + dim
    } else {
        0
    };
    let saved = dim
        + usize::from(config.rank > 0) * (2 * dim + config.rank)
        + usize::from(previous > 0) * dim;
    Account {
        flops: weights + low_rank + 2 * previous * dim,
        saved,
    }
}

/// `memory` holds the states before `hidden`, the newest last.
#[derive(Debug)]
struct Laurel {
    weights: Option<ParamId>,
    low_rank: Option<(ParamId, ParamId)>,
    gamma: Option<ParamId>,
    /// How many states are kept for the next sublayer.
    kept: usize,
    account: Account,
}

impl Connection for Laurel {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(embedding)
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (x, tape) = (state.hidden, state.hidden.tape());
        let output = sublayer.pre_normed(x);
        let mut next = match self.weights {
            Some(weights) => {
                let weights = tape.param(weights);
                tape.probe("residual_weights", weights);
                weighted_sum(None, weights, &[output, x])
            }
            None => x + output,
        };
        if let Some((a, b)) = self.low_rank {
            let read = match self.gamma {
                Some(gamma) => weighted_sum(Some(x), tape.param(gamma), &state.memory),
                None => x,
            };
            let inner = linear(read, tape.param(a), None);
            next = next + linear(inner, tape.param(b), None);
        }
        if self.kept > 0 {
            if state.memory.len() == self.kept {
                state.memory.remove(0);
            }
            state.memory.push(x);
        }
        state.hidden = next;
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        state.hidden
    }

    fn account(&self) -> Account {
        self.account
    }
}
