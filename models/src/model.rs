//! The choice among networks.

use crate::{
    config::{ConfigError, FfnConfig, TransformerConfig},
    transformer::Transformer,
    vit::{Vit, VitConfig},
};
use engine::rng::Key;
use nn::connection::ConnectionConfig;
use serde::{Deserialize, Serialize};

/// Any network; in files, `type` names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ModelConfig {
    /// A decoder of tokens.
    Transformer(TransformerConfig),
    /// A classifier of images.
    Vit(VitConfig),
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
        }
    }

    /// The decoder, if it is one.
    ///
    /// # Errors
    /// That the network is another one.
    pub fn transformer(&self) -> Result<&TransformerConfig, ConfigError> {
        match self {
            Self::Transformer(config) => Ok(config),
            Self::Vit(_) => Err(ConfigError(
                "type is vit, but text needs a transformer".to_owned(),
            )),
        }
    }

    /// Trained parameters of the network, which is built for it.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`].
    pub fn trained_parameters(&self) -> Result<u64, ConfigError> {
        let key = Key::new(0);
        let params = match self {
            Self::Transformer(config) => Transformer::new(config, key)?.1,
            Self::Vit(config) => Vit::new(config, key)?.1,
        };
        let trained = params.iter().filter(|(_, param)| param.trainable);
        Ok(trained.map(|(_, param)| param.shape.len() as u64).sum())
    }

    /// The feed-forward layers.
    pub fn ffn(&self) -> &FfnConfig {
        match self {
            Self::Transformer(config) => &config.ffn,
            Self::Vit(config) => &config.ffn,
        }
    }

    /// The feed-forward layers, to be changed.
    pub fn ffn_mut(&mut self) -> &mut FfnConfig {
        match self {
            Self::Transformer(config) => &mut config.ffn,
            Self::Vit(config) => &mut config.ffn,
        }
    }

    /// What carries the hidden state past each sublayer.
    pub fn connection(&self) -> &ConnectionConfig {
        match self {
            Self::Transformer(config) => &config.connection,
            Self::Vit(config) => &config.connection,
        }
    }

    /// Tokens in a full sequence or in an image.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Transformer(config) => config.seq,
            Self::Vit(config) => config.tokens(),
        }
    }

    /// How many sublayers the network has.
    pub fn sublayers(&self) -> usize {
        match self {
            Self::Transformer(config) => config.sublayers(),
            Self::Vit(config) => config.sublayers(),
        }
    }
}
