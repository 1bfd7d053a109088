//! Highway networks: a learned gate between the branch and the carried state.

use super::{Account, Connection, Site, Spec, State, Sublayer};
use engine::{
    ops::sigmoid,
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// `t f(norm x) + (1 - t) x` with the gate `t = sigmoid(W_t x + b_t)` of every channel.
///
/// It is what a hyper-connection of one stream becomes whose read is fixed and whose
/// write and carry are tied to sum to one. W_t starts at zero, so that the gate starts at
/// `sigmoid(b_t)` for every token.
///
/// Source: Srivastava et al., Highway Networks, 2015, arXiv 1505.00387.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HighwayConfig {
    /// How b_t starts: negative, so that the state is carried at first. The paper uses -1
    /// to -4 and more with depth.
    pub bias_init: f32,
}

impl Default for HighwayConfig {
    fn default() -> Self {
        Self { bias_init: -2.0 }
    }
}

impl Spec for HighwayConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let dim = site.dim;
        b.scope("gate", |b| {
            Box::new(Highway {
                weight: b.param("weight", [dim, dim], Decay::Yes, Init::Zeros),
                bias: b.param("bias", [dim], Decay::No, Init::Constant(self.bias_init)),
                dim,
            })
        })
    }

    fn label(&self) -> String {
        "highway".into()
    }

    fn citation(&self) -> &'static str {
        "Srivastava et al., Highway Networks, 2015, arXiv 1505.00387"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        if !self.bias_init.is_finite() {
            return Err(format!(
                "bias_init is {}, expected a number",
                self.bias_init
            ));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Highway {
    weight: ParamId,
    bias: ParamId,
    dim: usize,
}

impl Connection for Highway {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(embedding)
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (x, tape) = (state.hidden, state.hidden.tape());
        let gate = sigmoid(engine::ops::linear(
            x,
            tape.param(self.weight),
            Some(tape.param(self.bias)),
        ));
        tape.probe("gate", gate);
        State::new(x + gate * (sublayer.pre_normed(x) - x))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        state.hidden
    }

    fn account(&self) -> Account {
        let d = self.dim;
        Account {
            flops: 2 * d * d + 8 * d,
            saved: 5 * d,
        }
    }
}
