//! The residual connection with the norm inside the branch.

use super::{Connection, Cost, Site, Spec, State, Sublayer};
use engine::params::Builder;

settings! {
    /// `x + f(norm x)`: the baseline.
    ///
    /// Source: Xiong et al., On Layer Normalization in the Transformer Architecture, ICML
    /// 2020.
    pub struct PreNormConfig {}
}

impl Spec for PreNormConfig {
    fn build(&self, site: Site, _: &mut Builder) -> Box<dyn Connection> {
        Box::new(PreNorm { dim: site.dim })
    }

    fn label(&self) -> String {
        "pre-norm".into()
    }

    fn citation(&self) -> &'static str {
        "Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020"
    }
}

#[derive(Debug)]
struct PreNorm {
    dim: usize,
}

impl Connection for PreNorm {
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        State::new(state.hidden + sublayer.pre_normed(state.hidden))
    }

    fn cost(&self) -> Cost {
        Cost::new(self.dim, self.dim)
    }
}
