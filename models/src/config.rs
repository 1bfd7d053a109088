//! What a network is made of.

use crate::{block::TrunkConfig, checks};
use nn::{
    connection::{ConnectionConfig, Spec},
    moe::MoeConfig,
    norm::NormConfig,
};
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

    /// Sets that width.
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

/// An OLMo-style decoder: rotary positions, no biases, pre-norm sublayers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// How many tokens there are; 256 for bytes.
    pub vocab_size: usize,
    /// The width of the network.
    pub dim: usize,
    /// Blocks of attention and feed-forward, two sublayers each.
    pub layers: usize,
    /// Attention heads; they share the width.
    pub heads: usize,
    /// The longest sequence.
    pub seq: usize,
    /// RMS norm of whole q and k vectors before the split into heads.
    pub qk_norm: bool,
    /// The base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the head shares the weights of the embedding.
    pub tied_embeddings: bool,
    /// The standard deviation of the initial weights.
    pub init_std: f32,
    /// Norms of sublayers, and the last one.
    pub norm: NormConfig,
    /// The feed-forward layers.
    pub ffn: FfnConfig,
    /// What carries the hidden state past each sublayer.
    pub connection: ConnectionConfig,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            vocab_size: 256,
            dim: 64,
            layers: 6,
            heads: 4,
            seq: 64,
            qk_norm: false,
            rope_theta: 10_000.0,
            tied_embeddings: false,
            init_std: 0.02,
            norm: NormConfig::default(),
            ffn: FfnConfig::SwiGlu { hidden: 176 },
            connection: ConnectionConfig::default(),
        }
    }
}

/// Why a configuration cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl TransformerConfig {
    /// Says what cannot be built.
    ///
    /// # Errors
    /// The keys, their values and what is expected.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_with(self.connection.spec())
    }

    /// As [`TransformerConfig::validate`], with another connection.
    pub(crate) fn validate_with(&self, connection: &dyn Spec) -> Result<(), ConfigError> {
        checks::countable(self.rough_parameters())?;
        checks::sizes(&[("vocab_size", self.vocab_size), ("seq", self.seq)])?;
        checks::trunk(&TrunkConfig {
            connection,
            ..self.trunk()
        })?;
        let head_dim = self.dim / self.heads;
        if !head_dim.is_multiple_of(2) {
            return Err(ConfigError(format!(
                "dim {} over heads {} gives heads of width {head_dim}: rotary positions \
                 need an even width",
                self.dim, self.heads
            )));
        }
        checks::positive(&[("rope_theta", self.rope_theta)])
    }

    /// Number of elements of all matrices, connections left out, for sizes that may be absurd.
    pub(crate) fn rough_parameters(&self) -> f64 {
        let ends = if self.tied_embeddings { 1.0 } else { 2.0 };
        let rotary = self.seq as f64 * (self.dim as f64 / self.heads.max(1) as f64);
        self.trunk().rough_parameters() + ends * self.vocab_size as f64 * self.dim as f64 + rotary
    }

    /// The blocks, without the rotary positions, which take an even width of heads.
    pub(crate) fn trunk(&self) -> TrunkConfig<'_> {
        TrunkConfig {
            dim: self.dim,
            layers: self.layers,
            heads: self.heads,
            causal: true,
            rotary: None,
            qk_norm: self.qk_norm,
            conditioned: false,
            dropout: 0.0,
            init_std: self.init_std,
            norm: self.norm,
            ffn: &self.ffn,
            connection: self.connection.spec(),
        }
    }

    /// How many sublayers the network has.
    pub fn sublayers(&self) -> usize {
        2 * self.layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut TransformerConfig)) -> String {
        let mut config = TransformerConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn impossible_shapes_are_named() {
        assert!(TransformerConfig::default().validate().is_ok());
        assert!(message(|c| c.heads = 3).contains("dim 64 is not divisible by heads 3"));
        assert!(message(|c| (c.dim, c.heads) = (6, 2)).contains("need an even width"));
        assert!(message(|c| c.layers = 0).contains("layers is 0"));
        assert!(message(|c| c.init_std = f32::NAN).contains("init_std"));
    }
}
