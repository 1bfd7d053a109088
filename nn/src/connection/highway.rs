//! Highway networks: a learned gate between the branch and the carried state.

use super::{Connection, Cost, Site, Spec, State, Sublayer, expect_number};
use crate::hooks;
use engine::{
    ops::sigmoid,
    params::{Builder, Decay, Init, ParamId},
};

settings! {
    /// `t f(norm x) + (1 - t) x` with the gate `t = sigmoid(W_t x + b_t)` of every channel.
    ///
    /// A hyper-connection of one stream becomes this if its read is fixed and its
    /// write and carry are tied to sum to one. W_t starts at zero, so that the gate starts at
    /// `sigmoid(b_t)` for every token.
    ///
    /// Source: Srivastava et al., Highway Networks, 2015, arXiv 1505.00387.
    pub struct HighwayConfig {
        /// Initial b_t: negative, so that the state is carried at first. The paper uses -1
        /// to -4 and more with depth.
        pub bias_init: f32 = -2.0,
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
        expect_number("bias_init", self.bias_init)
    }
}

#[derive(Debug)]
struct Highway {
    weight: ParamId,
    bias: ParamId,
    dim: usize,
}

impl Connection for Highway {
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (x, tape) = (state.hidden, state.hidden.tape());
        let gate = sigmoid(engine::ops::linear(
            x,
            tape.param(self.weight),
            Some(tape.param(self.bias)),
        ));
        tape.probe(hooks::GATE, gate);
        State::new(x + gate * (sublayer.pre_normed(x) - x))
    }

    fn cost(&self) -> Cost {
        let d = self.dim;
        Cost::new(2 * d * d + 8 * d, 5 * d)
    }
}
