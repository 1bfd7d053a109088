//! Value residual learning: the values of the first attention in all later ones.

use super::{
    Connection, Cost, Site, Spec, State, Sublayer,
    ops::{mix_values, values_of},
    shown,
};
use crate::{attention::AttentionInput, hooks};
use engine::params::{Builder, Decay, Init, ParamId};

settings! {
    /// Pre-norm, with the values of every attention after the first replaced by `w_0 V_1 +
    /// w_1 V_n`, V_1 the values of the first.
    ///
    /// Source: Zhou et al., Value Residual Learning, ACL 2025, arXiv 2410.17897.
    pub struct ValueResidualConfig {
        /// Initial w: one half each in the paper; `[0, 1]` starts as pre-norm.
        pub init: [f32; 2] = [0.5; 2],
        /// True where w is learned.
        pub learned: bool = true,
    }
}

impl Spec for ValueResidualConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let mixes = site.index > 0 && site.index.is_multiple_of(2);
        Box::new(ValueResidual {
            is_first: site.index == 0,
            weights: mixes.then(|| {
                b.frozen_if(!self.learned, |b| {
                    let start = Init::Values(self.init.to_vec());
                    b.param("value_weights", [2], Decay::No, start)
                })
            }),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        match self.learned {
            true => "value residual".into(),
            false => "value residual, fixed".into(),
        }
    }

    fn citation(&self) -> &'static str {
        "Zhou et al., Value Residual Learning, ACL 2025, arXiv 2410.17897"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        if self.init.iter().any(|weight| !weight.is_finite()) {
            return Err(format!("init is {:?}, expected two numbers", self.init));
        }
        Ok(())
    }
}

/// The only `memory` is V_1.
#[derive(Debug)]
struct ValueResidual {
    is_first: bool,
    /// The weights, of attention layers after the first.
    weights: Option<ParamId>,
    dim: usize,
}

impl Connection for ValueResidual {
    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (x, tape) = (state.hidden, state.hidden.tape());
        let attention = || {
            sublayer
                .attention
                .expect("value residual: sublayers alternate between attention and feed-forward")
        };
        let output = if self.is_first {
            let first = std::cell::Cell::new(None);
            let output = shown(x, |x| {
                let x = AttentionInput::Shared((sublayer.norm)(x));
                attention()(x, &|qkv| {
                    first.set(Some(values_of(qkv)));
                    qkv
                })
            });
            state.memory.extend(first.get());
            output
        } else if let Some(weights) = self.weights {
            let weights = tape.param(weights);
            tape.probe(hooks::VALUE_WEIGHTS, weights);
            let first = state.memory[0];
            shown(x, |x| {
                let x = AttentionInput::Shared((sublayer.norm)(x));
                attention()(x, &|qkv| mix_values(qkv, first, weights))
            })
        } else {
            sublayer.pre_normed(x)
        };
        state.hidden = x + output;
        state
    }

    fn cost(&self) -> Cost {
        let d = self.dim;
        let (mixes, first) = (
            usize::from(self.weights.is_some()),
            usize::from(self.is_first),
        );
        Cost::new(d + 3 * d * mixes, d + 3 * d * mixes + d * first)
    }
}
