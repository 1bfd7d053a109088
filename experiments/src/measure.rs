//! What the loss of a network measures, and in which unit.

use crate::data::bits_per_byte;
use models::model::ModelConfig;

/// What a loss is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The next byte of a text: a cross-entropy.
    Bytes,
    /// The class of an image: a cross-entropy.
    Images,
    /// The noise in an image: a mean squared error, 1 for those who see none.
    Noise,
}

impl Measure {
    /// That of a network.
    pub fn of(model: &ModelConfig) -> Self {
        match model {
            ModelConfig::Transformer(_) => Self::Bytes,
            ModelConfig::Vit(_) => Self::Images,
            ModelConfig::Dit(_) => Self::Noise,
        }
    }

    /// The unit of the loss.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Bytes => "nats per byte",
            Self::Images => "nats per image",
            Self::Noise => "squared error per pixel",
        }
    }

    /// What a token of the network is.
    pub fn tokens(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Images | Self::Noise => "patches",
        }
    }

    /// The loss in bits per byte, where it is one of bytes.
    pub fn bits_per_byte(self, loss: f64) -> Option<f64> {
        (self == Self::Bytes).then(|| bits_per_byte(loss))
    }
}
