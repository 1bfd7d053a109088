//! The file of `docs/adding_a_connection.md`.

use engine::params::{Builder, Decay, Init, ParamId};
use nn::connection::{Cost, Connection, Site, Spec, State, Sublayer, ops::weighted_sum};
use nn::settings;

settings! {
    /// `v' = gamma v + (1 - gamma) f(norm x)`, `x' = x + v'`, gamma learned.
    pub struct MomentumConfig {
        /// Start of gamma; at 0 the network starts as pre-norm.
        pub init: f32 = 0.0,
    }
}

impl Spec for MomentumConfig {
    // Called once for each sublayer. Names are paths: this parameter becomes
    // `blocks.3.attn_connection.gamma`. What depends on the place of the sublayer is
    // decided here, with `site`.
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(Momentum {
            gamma: b.param("gamma", [1], Decay::No, Init::Constant(self.init)),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        "momentum".into()
    }

    fn citation(&self) -> &'static str {
        "Sander et al., Momentum Residual Neural Networks, ICML 2021, arXiv 2102.07870"
    }

    // The world's mistakes are messages, with the key first.
    fn validate(&self, _: usize) -> Result<(), String> {
        if !(0.0..1.0).contains(&self.init) {
            return Err(format!(
                "init is {}, expected 0 or more and below 1",
                self.init
            ));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Momentum {
    gamma: ParamId,
    dim: usize,
}

impl Connection for Momentum {
    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let x = state.hidden;
        let gamma = x.tape().param(self.gamma);
        // Seen by inspection under the scope of the sublayer.
        x.tape().probe("gamma", gamma);
        let output = sublayer.pre_normed(x);
        // v' = f + gamma (v - f); without a velocity yet, f - gamma f.
        let pull = match state.memory.pop() {
            Some(velocity) => velocity - output,
            None => engine::ops::scale(output, -1.0),
        };
        let velocity = weighted_sum(Some(output), gamma, &[pull]);
        state.hidden = x + velocity;
        state.memory.push(velocity);
        state
    }

    // Beyond the sublayer itself, per token.
    fn cost(&self) -> Cost {
        Cost::new(4 * self.dim, 3 * self.dim)
    }
}
