//! The interface of all networks.

pub use crate::config::MOST_PARAMETERS;
use crate::{
    accounting::{Account, Ends},
    block::{Trunk, TrunkConfig},
    config::{ConfigError, FfnConfig},
};
use engine::{
    params::{Builder, Params},
    rng::Key,
};
use nn::{connection::ConnectionConfig, norm::NormConfig, patch_embed::Patches};

/// Quantity that a network is trained to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The next token of a text.
    NextToken {
        /// Number of different tokens.
        vocabulary: usize,
    },
    /// The class of an image.
    Class(Patches),
    /// The noise in an image.
    Noise(Patches),
}

impl Objective {
    /// Sizes of images and their patches; `None` for text.
    pub fn patches(self) -> Option<Patches> {
        match self {
            Self::NextToken { .. } => None,
            Self::Class(patches) | Self::Noise(patches) => Some(patches),
        }
    }
}

/// A network as its configuration describes it: blocks of attention and feed-forward layers
/// between an embedding and a head.
pub trait Network {
    /// Name in files: the `type` of the configuration.
    fn kind(&self) -> &'static str;

    /// Checks all settings.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    fn validate(&self) -> Result<(), ConfigError>;

    /// Quantity that the network is trained to predict.
    fn objective(&self) -> Objective;

    /// Number of tokens in a full sequence or in an image.
    fn tokens(&self) -> usize;

    /// Configuration of the blocks.
    fn trunk(&self) -> TrunkConfig<'_>;

    /// Configuration of the connections.
    fn connection(&self) -> &ConnectionConfig;

    /// Configuration of the feed-forward layers, to be changed.
    fn ffn_mut(&mut self) -> &mut FfnConfig;

    /// Number of elements of all matrices, connections left out; also for sizes so large that
    /// nothing else can be computed.
    fn rough_parameters(&self) -> f64;

    /// Cost of embedding, conditioning, head and loss.
    fn ends(&self) -> Ends;

    /// Registers all parameters and returns the blocks.
    fn register(&self, b: &mut Builder) -> Trunk;

    /// Width.
    fn dim(&self) -> usize {
        self.trunk().dim
    }

    /// Number of blocks.
    fn layers(&self) -> usize {
        self.trunk().layers
    }

    /// Number of sublayers.
    fn sublayers(&self) -> usize {
        2 * self.layers()
    }

    /// Configuration of the feed-forward layers.
    fn ffn(&self) -> &FfnConfig {
        self.trunk().ffn
    }

    /// Norm of the sublayers, and the last one.
    fn norm(&self) -> NormConfig {
        self.trunk().norm
    }

    /// Names and shapes of the parameters, without memory for their elements.
    ///
    /// # Errors
    /// As [`Network::validate`].
    fn shapes(&self) -> Result<Params, ConfigError> {
        Ok(counted(self)?.1)
    }

    /// Cost of the network, counted without building it.
    ///
    /// # Errors
    /// As [`Network::validate`].
    fn account(&self) -> Result<Account, ConfigError> {
        let (blocks, params) = counted(self)?;
        let trunk = self.trunk();
        Ok(Account::of(
            &trunk,
            self.tokens(),
            self.ends(),
            &blocks,
            &params,
        ))
    }
}

fn counted(network: &(impl Network + ?Sized)) -> Result<(Trunk, Params), ConfigError> {
    network.validate()?;
    let mut b = Builder::of_shapes(Key::new(0));
    let blocks = network.register(&mut b);
    Ok((blocks, b.finish()))
}
