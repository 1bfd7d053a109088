//! ReZero: a residual branch behind one learned scalar that starts at zero.

use super::{Connection, Cost, Site, Spec, State, Sublayer, expect_number, ops::weighted_sum};
use engine::params::{Builder, Decay, Init, ParamId};

settings! {
    /// `x + alpha f(norm x)`, alpha a learned scalar of every sublayer.
    ///
    /// At `alpha = 0` the network is the identity and nothing inside a branch has a gradient
    /// until alpha has moved; at `alpha = 1` it is pre-norm. The paper drops the norms; here
    /// the sublayer keeps its own, as under every other connection, so that the connection is
    /// all that differs.
    ///
    /// The authors' code has one alpha for attention and feed-forward of a block; the setting
    /// `shared` does as well.
    ///
    /// Source: Bachlechner et al., ReZero is All You Need, UAI 2021, arXiv 2003.04887.
    pub struct ReZeroConfig {
        /// Initial alpha: 0 in the paper.
        pub init: f32 = 0.0,
        /// One alpha for the two sublayers of a block, as in the authors' code.
        pub shared: bool = false,
    }
}

impl Spec for ReZeroConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(ReZero {
            alpha: (!self.shared || site.index.is_multiple_of(2))
                .then(|| b.param("alpha", [1], Decay::No, Init::Constant(self.init))),
            shared: self.shared,
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        match self.shared {
            true => "ReZero, one alpha a block".into(),
            false => "ReZero".into(),
        }
    }

    fn citation(&self) -> &'static str {
        "Bachlechner et al., ReZero is All You Need, UAI 2021, arXiv 2003.04887"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        expect_number("init", self.init)
    }
}

/// `memory` holds an alpha that the next sublayer shares.
#[derive(Debug)]
struct ReZero {
    /// `None` where the sublayer takes that of the one before.
    alpha: Option<ParamId>,
    shared: bool,
    dim: usize,
}

impl Connection for ReZero {
    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let x = state.hidden;
        let alpha = match self.alpha {
            Some(alpha) => x.tape().param(alpha),
            None => state.memory.pop().expect("the alpha of the block"),
        };
        state.hidden = weighted_sum(Some(x), alpha, &[sublayer.pre_normed(x)]);
        if self.shared && self.alpha.is_some() {
            state.memory.push(alpha);
        }
        state
    }

    fn cost(&self) -> Cost {
        Cost::new(2 * self.dim, self.dim)
    }
}
