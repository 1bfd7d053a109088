//! ResiDual: a post-norm and a pre-norm residual side by side.

use super::{Connection, Cost, Site, Spec, State, Sublayer, shown};
use crate::norm::{Norm, NormConfig};
use engine::{params::Builder, tape::Var};

settings! {
    /// Two states: `x' = norm(x + f(x))` and `d' = d + f(x)`; the network's output is `x +
    /// norm(d)`, without another norm.
    ///
    /// The gradient reaches every layer through d, which is never normalised on the way, and
    /// x keeps the layers from becoming alike. Both start as the embedding.
    ///
    /// Source: Xie et al., ResiDual: Transformer with Dual Residual Connections, 2023, arXiv
    /// 2304.14802.
    pub struct ResidualDualConfig {}
}

impl Spec for ResidualDualConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let norm = NormConfig {
            kind: site.norm,
            eps: site.eps,
        };
        let is_last = site.index + 1 == site.count;
        Box::new(ResidualDual {
            dual_norm: is_last.then(|| Norm::new(b, "dual_norm", norm, site.dim)),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        "ResiDual".into()
    }

    fn citation(&self) -> &'static str {
        "Xie et al., ResiDual: Transformer with Dual Residual Connections, 2023, \
         arXiv 2304.14802"
    }

    fn final_norm(&self) -> bool {
        false
    }
}

/// `hidden` is x, the only `memory` is d.
#[derive(Debug)]
struct ResidualDual {
    /// The norm of the last d.
    dual_norm: Option<Norm>,
    dim: usize,
}

impl Connection for ResidualDual {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State {
            memory: vec![embedding],
            ..State::new(embedding)
        }
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let output = shown(state.hidden, sublayer.layer);
        state.memory[0] = state.memory[0] + output;
        state.hidden = (sublayer.norm)(state.hidden + output);
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let norm = self.dual_norm.as_ref().expect("the last sublayer");
        state.hidden + norm.forward(state.memory[0])
    }

    fn cost(&self) -> Cost {
        Cost::new(2 * self.dim, 2 * self.dim)
    }
}
