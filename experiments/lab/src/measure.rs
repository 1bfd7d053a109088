//! The quantity that the loss of a network measures, and its unit.

use crate::{config::RunConfig, data::bits_per_byte};
use models::network::Objective;

/// Quantity that a loss measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The next byte of a text: a cross-entropy.
    Bytes,
    /// The next token of a text that somebody has encoded: a cross-entropy.
    Tokens,
    /// The class of an image: a cross-entropy.
    Images,
    /// The noise in an image: a mean squared error, 1 for those who see none.
    Noise,
}

impl Measure {
    /// The measure of a run.
    pub fn of(config: &RunConfig) -> Self {
        match config.model.objective() {
            Objective::NextToken { .. } if config.data.tokens.is_bytes() => Self::Bytes,
            Objective::NextToken { .. } => Self::Tokens,
            Objective::Class(_) => Self::Images,
            Objective::Noise(_) => Self::Noise,
        }
    }

    /// The unit of the loss.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Bytes => "nats per byte",
            Self::Tokens => "nats per token",
            Self::Images => "nats per image",
            Self::Noise => "squared error per pixel",
        }
    }

    /// Name of the tokens of the network.
    pub fn tokens(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Tokens => "tokens",
            Self::Images | Self::Noise => "patches",
        }
    }

    /// The loss in bits per byte, where it is one of bytes.
    pub fn bits_per_byte(self, loss: f64) -> Option<f64> {
        (self == Self::Bytes).then(|| bits_per_byte(loss))
    }
}
