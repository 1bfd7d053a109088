//! The residual connection with the norm inside the branch.

use super::{Account, Connection, Site, Spec, State, Sublayer};
use engine::{params::Builder, tape::Var};
use serde::{Deserialize, Serialize};

/// `x + f(norm x)`: the baseline.
///
/// Source: Xiong et al., On Layer Normalization in the Transformer Architecture, ICML
/// 2020.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreNormConfig {}

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
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(embedding)
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        State::new(state.hidden + sublayer.pre_normed(state.hidden))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        state.hidden
    }

    fn account(&self) -> Account {
        Account {
            flops: self.dim,
            saved: self.dim,
        }
    }
}
