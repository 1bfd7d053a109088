//! The choice among networks.

use crate::{
    accounting::Account,
    config::{ConfigError, FfnConfig, TransformerConfig},
    dit::{Dit, DitConfig},
    transformer::Transformer,
    vit::{Vit, VitConfig},
};
use engine::params::Params;
use nn::{connection::ConnectionConfig, norm::NormConfig, patch_embed::Patches};
use serde::{Deserialize, Serialize};

/// More parameters have no place in any machine's memory; sizes of networks with fewer can be
/// computed without overflow.
pub const MOST_PARAMETERS: f64 = (1_u64 << 40) as f64;

/// Any network; in files, `type` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ModelConfig {
    /// A decoder of tokens.
    Transformer(TransformerConfig),
    /// A classifier of images.
    Vit(VitConfig),
    /// A denoiser of images of classes.
    Dit(DitConfig),
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::Transformer(TransformerConfig::default())
    }
}

impl ModelConfig {
    /// Says what cannot be built, naming the keys.
    ///
    /// # Errors
    /// What is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Transformer(config) => config.validate(),
            Self::Vit(config) => config.validate(),
            Self::Dit(config) => config.validate(),
        }
    }

    /// The decoder, if it is one.
    ///
    /// # Errors
    /// If the network is another one.
    pub fn transformer(&self) -> Result<&TransformerConfig, ConfigError> {
        match self {
            Self::Transformer(config) => Ok(config),
            other => Err(ConfigError(format!(
                "type is {}, but text needs a transformer",
                other.kind()
            ))),
        }
    }

    /// The `type` in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transformer(_) => "transformer",
            Self::Vit(_) => "vit",
            Self::Dit(_) => "dit",
        }
    }

    /// The sizes of images and their patches, if it learns from images.
    pub fn patches(&self) -> Option<Patches> {
        match self {
            Self::Transformer(_) => None,
            Self::Vit(config) => Some(config.patches()),
            Self::Dit(config) => Some(config.patches()),
        }
    }

    /// What the network costs, counted without building it.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn account(&self) -> Result<Account, ConfigError> {
        Ok(match self {
            Self::Transformer(config) => {
                let (model, params) = Transformer::of_shapes(config)?;
                Account::of(&model, &params)
            }
            Self::Vit(config) => {
                let (model, params) = Vit::of_shapes(config)?;
                Account::of_vit(&model, &params)
            }
            Self::Dit(config) => {
                let (model, params) = Dit::of_shapes(config)?;
                Account::of_dit(&model, &params)
            }
        })
    }

    /// The elements of its matrices, its connections not counted: also of sizes for which
    /// nothing else can be computed.
    pub fn rough_parameters(&self) -> f64 {
        match self {
            Self::Transformer(config) => config.rough_parameters(),
            Self::Vit(config) => config.rough_parameters(),
            Self::Dit(config) => config.rough_parameters(),
        }
    }

    /// The names and shapes of its parameters, without their elements.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn shapes(&self) -> Result<Params, ConfigError> {
        Ok(match self {
            Self::Transformer(config) => Transformer::of_shapes(config)?.1,
            Self::Vit(config) => Vit::of_shapes(config)?.1,
            Self::Dit(config) => Dit::of_shapes(config)?.1,
        })
    }

    /// The feed-forward layers.
    pub fn ffn(&self) -> &FfnConfig {
        match self {
            Self::Transformer(config) => &config.ffn,
            Self::Vit(config) => &config.ffn,
            Self::Dit(config) => &config.ffn,
        }
    }

    /// The feed-forward layers, to be changed.
    pub fn ffn_mut(&mut self) -> &mut FfnConfig {
        match self {
            Self::Transformer(config) => &mut config.ffn,
            Self::Vit(config) => &mut config.ffn,
            Self::Dit(config) => &mut config.ffn,
        }
    }

    /// What carries the hidden state past each sublayer.
    pub fn connection(&self) -> &ConnectionConfig {
        match self {
            Self::Transformer(config) => &config.connection,
            Self::Vit(config) => &config.connection,
            Self::Dit(config) => &config.connection,
        }
    }

    /// Norms of sublayers, and the last one.
    pub fn norm(&self) -> NormConfig {
        match self {
            Self::Transformer(config) => config.norm,
            Self::Vit(config) => config.norm,
            Self::Dit(config) => config.norm,
        }
    }

    /// The width of the network.
    pub fn dim(&self) -> usize {
        match self {
            Self::Transformer(config) => config.dim,
            Self::Vit(config) => config.dim,
            Self::Dit(config) => config.dim,
        }
    }

    /// Number of blocks.
    pub fn layers(&self) -> usize {
        match self {
            Self::Transformer(config) => config.layers,
            Self::Vit(config) => config.layers,
            Self::Dit(config) => config.layers,
        }
    }

    /// Tokens in a full sequence or in an image.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Transformer(config) => config.seq,
            Self::Vit(config) => config.tokens(),
            Self::Dit(config) => config.patches().count(),
        }
    }

    /// How many sublayers the network has.
    pub fn sublayers(&self) -> usize {
        match self {
            Self::Transformer(config) => config.sublayers(),
            Self::Vit(config) => config.sublayers(),
            Self::Dit(config) => config.sublayers(),
        }
    }
}
