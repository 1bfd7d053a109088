//! The read and write of mHC with an orthogonal mix, the Cayley transform of JPmHC (2026, arXiv
//! 2602.18308). The published form of JPmHC is [`jpmhc`](super::jpmhc).
//!
//! `H_res = (I - S)⁻¹ (I + S)`, S skew-symmetric with its n (n - 1) / 2 numbers predicted,
//! by an exact solution of the small system, forward and backward. The mix keeps the length
//! of every state and its gradient, may be negative, and starts as I where its logits do.
//! See [`constrained`](super::constrained) for the rest.

use super::{
    Connection, Site, Spec,
    constrained::{ConstrainedInit, Form, Settings, kernels::Rule},
    reduction::Reduction,
};
use engine::params::Builder;
use serde::{Deserialize, Serialize};

/// Hyper-connections as [`constrained`](super::constrained) describes them, with the
/// orthogonal mix `H_res = (I - S)⁻¹ (I + S)`, S `[rate, rate]` skew-symmetric with its
/// `rate (rate - 1) / 2` logits above the diagonal, row by row. A variant of JPmHC, whose own
/// form is [`JpmHcConfig`](super::JpmHcConfig).
///
/// Source of the mix: Sengupta et al., JPmHC: Dynamical Isometry via Orthogonal
/// Hyper-Connections, 2026, arXiv 2602.18308.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CayleyConfig {
    /// The expansion rate n: how many streams.
    pub rate: usize,
    /// How projections and biases start.
    pub init: ConstrainedInit,
    /// How `alpha_pre`, `alpha_post` and `alpha_res` start.
    pub scale_init: f32,
    /// How the streams end.
    pub reduction: Reduction,
}

impl Default for CayleyConfig {
    fn default() -> Self {
        Self {
            rate: 4,
            init: ConstrainedInit::default(),
            scale_init: 0.01,
            reduction: Reduction::default(),
        }
    }
}

impl CayleyConfig {
    fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            rule: Rule::Cayley,
            form: Form::Mhc {
                init: self.init,
                scale_init: self.scale_init,
            },
            reduction: self.reduction,
        }
    }
}

impl Spec for CayleyConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        self.settings().build(site, b)
    }

    fn label(&self) -> String {
        format!("Cayley-HC x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "the mix: Sengupta et al., JPmHC: Dynamical Isometry via Orthogonal Hyper-Connections, \
         2026, arXiv 2602.18308; read and write: Xie et al., mHC, 2025, arXiv 2512.24880"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        self.settings().validate()
    }
}
