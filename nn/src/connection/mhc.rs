//! Manifold-constrained hyper-connections (Xie et al., DeepSeek, 2025, arXiv 2512.24880):
//! the mix is made doubly stochastic by Sinkhorn's iteration.
//!
//! `H_res = Sinkhorn-Knopp(exp(logits))`, columns first, then rows, `sinkhorn_iters` times
//! (Eq. 9). The result keeps the mean of the streams and never enlarges them; products of
//! such matrices are of the same kind. Rows sum to 1 exactly, columns as far as the
//! iteration has converged. See [`constrained`](super::constrained) for the rest.

use super::{
    Connection, Site, Spec,
    constrained::{ConstrainedInit, Form, MOST_ITERATIONS, Settings, kernels::Rule},
    reduction::Reduction,
};
use engine::params::Builder;
use serde::{Deserialize, Serialize};

/// mHC: hyper-connections as [`constrained`](super::constrained) describes them, with a
/// doubly stochastic mix `H_res = Sinkhorn(exp(logits))`, `[rate, rate]` for every token:
/// columns, then rows divided by their sums, `sinkhorn_iters` times (Eq. 9).
///
/// Source: Xie et al., mHC: Manifold-Constrained Hyper-Connections, 2025, arXiv
/// 2512.24880.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MhcConfig {
    /// The expansion rate n: how many streams.
    pub rate: usize,
    /// Iterations of Sinkhorn's normalisation.
    pub sinkhorn_iters: usize,
    /// How projections and biases start.
    pub init: ConstrainedInit,
    /// How `alpha_pre`, `alpha_post` and `alpha_res` start (0.01 in the paper).
    pub scale_init: f32,
    /// How the streams end.
    pub reduction: Reduction,
}

impl Default for MhcConfig {
    fn default() -> Self {
        Self {
            rate: 4,
            sinkhorn_iters: 20,
            init: ConstrainedInit::default(),
            scale_init: 0.01,
            reduction: Reduction::default(),
        }
    }
}

impl MhcConfig {
    fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            rule: Rule::Sinkhorn {
                iterations: self.sinkhorn_iters,
            },
            form: Form::Mhc {
                init: self.init,
                scale_init: self.scale_init,
            },
            reduction: self.reduction,
        }
    }
}

impl Spec for MhcConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        self.settings().build(site, b)
    }

    fn label(&self) -> String {
        format!("mHC x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "Xie et al., mHC: Manifold-Constrained Hyper-Connections, 2025, arXiv 2512.24880"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        if !(1..=MOST_ITERATIONS).contains(&self.sinkhorn_iters) {
            return Err(format!(
                "sinkhorn_iters is {}, expected 1 to {MOST_ITERATIONS} (the paper has 20)",
                self.sinkhorn_iters
            ));
        }
        self.settings().validate()
    }
}
