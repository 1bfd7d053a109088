//! The residual connection of the first transformer: the norm after the sum.

use super::{Connection, Cost, Site, Spec, State, Sublayer, shown};
use engine::params::Builder;

settings! {
    /// `norm(x + f(x))`; the network then has no final norm.
    ///
    /// Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017.
    pub struct PostNormConfig {}
}

impl Spec for PostNormConfig {
    fn build(&self, site: Site, _: &mut Builder) -> Box<dyn Connection> {
        Box::new(PostNorm { dim: site.dim })
    }

    fn label(&self) -> String {
        "post-norm".into()
    }

    fn citation(&self) -> &'static str {
        "Vaswani et al., Attention Is All You Need, NeurIPS 2017"
    }

    fn final_norm(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct PostNorm {
    dim: usize,
}

impl Connection for PostNorm {
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let sum = state.hidden + shown(state.hidden, sublayer.layer);
        State::new((sublayer.norm)(sum))
    }

    fn cost(&self) -> Cost {
        Cost::new(self.dim, self.dim)
    }
}
