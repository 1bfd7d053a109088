//! Identity hyper-connections: read and write of mHC, and no mixing at all.
//!
//! `H_res = I`: the ablation of the mHC paper's ICML version, recommended since as a
//! connection of its own (arXiv 2607.28611). Streams then exchange something through the
//! sublayers only. See [`constrained`](super::constrained) for read and write.

use super::{
    Connection, Site, Spec,
    constrained::{ConstrainedInit, Form, Settings, kernels::Rule},
    reduction::Reduction,
};
use engine::params::Builder;
use serde::{Deserialize, Serialize};

/// mHC without its mix: hyper-connections as [`constrained`](super::constrained) describes
/// them, with `H_res = I`.
///
/// Source: Identity-HC: the H_res = I ablation of mHC (arXiv 2512.24880), used in
/// Chimera, 2026, arXiv 2607.28611.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityHcConfig {
    /// The expansion rate n: how many streams.
    pub rate: usize,
    /// How projections and biases start.
    pub init: ConstrainedInit,
    /// How `alpha_pre` and `alpha_post` start.
    pub scale_init: f32,
    /// How the streams end.
    pub reduction: Reduction,
}

impl Default for IdentityHcConfig {
    fn default() -> Self {
        Self {
            rate: 4,
            init: ConstrainedInit::default(),
            scale_init: 0.01,
            reduction: Reduction::default(),
        }
    }
}

impl IdentityHcConfig {
    fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            rule: Rule::Identity,
            form: Form::Mhc {
                init: self.init,
                scale_init: self.scale_init,
            },
            reduction: self.reduction,
        }
    }
}

impl Spec for IdentityHcConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        self.settings().build(site, b)
    }

    fn label(&self) -> String {
        format!("iHC x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "Identity-HC: the H_res = I ablation of mHC (arXiv 2512.24880), used in Chimera, 2026, arXiv \
         2607.28611"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        self.settings().validate()
    }
}
