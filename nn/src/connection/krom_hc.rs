//! KromHC (2026, arXiv 2601.21579): a doubly stochastic mix of few numbers.
//!
//! `H_res = U¹ ⊗ U² ⊗ ...` with one factor `[[p, 1 - p], [1 - p, p]]` for each bit of the
//! stream's number, the first for the highest, `(p, 1 - p)` the softmax of two logits of
//! the identity and the swap. Every such mix is symmetric and all of them commute. See
//! [`constrained`](super::constrained) for the rest.

use super::{
    Connection, Site, Spec,
    constrained::{ConstrainedInit, Form, Settings, kernels::Rule},
    reduction::Reduction,
};
use engine::params::Builder;
use serde::{Deserialize, Serialize};

/// KromHC: hyper-connections as [`constrained`](super::constrained) describes them, with the
/// mix `H_res = U¹ ⊗ U² ⊗ ...`, one `[[p, 1 - p], [1 - p, p]]` for each bit of the stream's
/// number, `(p, 1 - p)` the softmax of two logits. The rate is a power of two.
///
/// Source: KromHC: Manifold-Constrained Hyper-Connections with Kronecker-Product Residual
/// Matrices, ICML 2026, arXiv 2601.21579.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KromHcConfig {
    /// The expansion rate n: how many streams.
    pub rate: usize,
    /// How projections and biases start.
    pub init: ConstrainedInit,
    /// How `alpha_pre`, `alpha_post` and `alpha_res` start.
    pub scale_init: f32,
    /// How the streams end.
    pub reduction: Reduction,
}

impl Default for KromHcConfig {
    fn default() -> Self {
        Self {
            rate: 4,
            init: ConstrainedInit::default(),
            scale_init: 0.01,
            reduction: Reduction::default(),
        }
    }
}

impl KromHcConfig {
    fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            rule: Rule::Kronecker,
            form: Form::Mhc {
                init: self.init,
                scale_init: self.scale_init,
            },
            reduction: self.reduction,
        }
    }
}

impl Spec for KromHcConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        self.settings().build(site, b)
    }

    fn label(&self) -> String {
        format!("KromHC x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "KromHC: Manifold-Constrained Hyper-Connections with Kronecker-Product Residual Matrices, \
         ICML 2026, arXiv 2601.21579"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        if !self.rate.is_power_of_two() {
            return Err(format!(
                "rate is {}, expected a power of two: the mix is a product of 2 x 2 matrices",
                self.rate
            ));
        }
        self.settings().validate()
    }
}
