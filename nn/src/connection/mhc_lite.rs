//! mHC-lite (2026, arXiv 2601.05732): a mix that is doubly stochastic by construction.
//!
//! `H_res = sum_q a_q P_q` over all n! permutation matrices, `a = softmax(logits)`: the
//! permutations come in lexicographic order, the identity first. Rows and columns sum to 1
//! without an iteration. See [`constrained`](super::constrained) for the rest.

use super::{
    Connection, Site, Spec,
    constrained::{
        ConstrainedInit, Form, Settings,
        kernels::{MOST_STREAMS, Rule},
    },
    reduction::Reduction,
};
use engine::params::Builder;
use serde::{Deserialize, Serialize};

/// mHC-lite: hyper-connections as [`constrained`](super::constrained) describes them, with
/// the mix `H_res = sum_q a_q P_q` over all `rate!` permutation matrices in lexicographic
/// order, `a = softmax(logits)`. The rate is at most 5.
///
/// Source: mHC-lite: You Don't Need 20 Sinkhorn-Knopp Iterations, 2026, arXiv 2601.05732.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MhcLiteConfig {
    /// The expansion rate n: how many streams.
    pub rate: usize,
    /// How projections and biases start.
    pub init: ConstrainedInit,
    /// How `alpha_pre`, `alpha_post` and `alpha_res` start.
    pub scale_init: f32,
    /// How the streams end.
    pub reduction: Reduction,
}

impl Default for MhcLiteConfig {
    fn default() -> Self {
        Self {
            rate: 4,
            init: ConstrainedInit::default(),
            scale_init: 0.01,
            reduction: Reduction::default(),
        }
    }
}

impl MhcLiteConfig {
    fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            rule: Rule::Permutations,
            form: Form::Mhc {
                init: self.init,
                scale_init: self.scale_init,
            },
            reduction: self.reduction,
        }
    }
}

impl Spec for MhcLiteConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        self.settings().build(site, b)
    }

    fn label(&self) -> String {
        format!("mHC-lite x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "mHC-lite: You Don't Need 20 Sinkhorn-Knopp Iterations, 2026, arXiv 2601.05732"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        if self.rate > MOST_STREAMS {
            return Err(format!(
                "rate is {}, expected at most {MOST_STREAMS}: the mix has a logit for each of the \
                 rate! permutations",
                self.rate
            ));
        }
        self.settings().validate()
    }
}
