//! The configuration of feed-forward layers, which all networks share.

use crate::checks;
pub use crate::checks::ConfigError;
use nn::moe::MoeConfig;
use serde::{Deserialize, Serialize};

/// A feed-forward layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum FfnConfig {
    /// `down(silu(gate x) * up x)`.
    SwiGlu {
        /// The width between the projections.
        hidden: usize,
    },
    /// `down(gelu(up x))`, the exact error function.
    Gelu {
        /// The width between the projections.
        hidden: usize,
    },
    /// A mixture of SwiGLU experts.
    Moe(MoeConfig),
}

impl FfnConfig {
    /// The width between the projections, of one expert where there are several.
    pub fn hidden(&self) -> usize {
        match self {
            FfnConfig::SwiGlu { hidden } | FfnConfig::Gelu { hidden } => *hidden,
            FfnConfig::Moe(moe) => moe.hidden,
        }
    }

    /// Sets the width between the projections.
    pub fn set_hidden(&mut self, width: usize) {
        match self {
            FfnConfig::SwiGlu { hidden } | FfnConfig::Gelu { hidden } => *hidden = width,
            FfnConfig::Moe(moe) => moe.hidden = width,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            FfnConfig::Moe(moe) => {
                let invalid = |message| ConfigError(format!("ffn.{message}"));
                moe.validate().map_err(invalid)?;
                checks::sizes(&[("ffn.experts", moe.experts), ("ffn.hidden", moe.hidden)])
            }
            FfnConfig::SwiGlu { hidden } | FfnConfig::Gelu { hidden } => {
                checks::sizes(&[("ffn.hidden", *hidden)])
            }
        }
    }

    /// The elements of its matrices between vectors of this width, for sizes that need not be
    /// reasonable.
    pub(crate) fn rough_parameters(&self, dim: f64) -> f64 {
        let hidden = self.hidden() as f64;
        match self {
            FfnConfig::SwiGlu { .. } => 3.0 * dim * hidden,
            FfnConfig::Gelu { .. } => 2.0 * dim * hidden,
            FfnConfig::Moe(moe) => moe.experts as f64 * dim * (3.0 * hidden + 1.0),
        }
    }
}
