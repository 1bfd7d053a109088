//! Trained networks: from run directories and from files of weights.

use crate::{
    config::{ConfigError, RunConfig},
    run_dir::CONFIG_FILE,
    state::{self, StateError},
    train::WEIGHTS_FILE,
};
use engine::params::Params;
use models::weights::{TensorFile, WeightsError};
use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
};

/// The weights of a network and what it was made from.
pub struct Trained {
    /// Of a run, all of it; of a file of weights that is no longer in its run directory, the
    /// network, and defaults for the rest.
    pub config: RunConfig,
    weights: Weights,
}

enum Weights {
    File(TensorFile),
    /// What a run that was killed has left.
    Slab(Vec<f32>),
}

impl Trained {
    /// Reads a run directory, or a safetensors file with weights and their configuration.
    ///
    /// # Errors
    /// Anything but that the weights do not fit.
    pub fn open(from: &Path) -> Result<Self, TrainedError> {
        if !from.is_dir() {
            let file = TensorFile::open(from)?;
            let model = file.config()?;
            let of_run = RunConfig::of_run(&from.with_file_name(CONFIG_FILE)).ok();
            let config = match of_run.filter(|config| config.model == model) {
                Some(config) => config,
                None => RunConfig {
                    model,
                    ..RunConfig::default()
                },
            };
            return Ok(Self {
                config,
                weights: Weights::File(file),
            });
        }
        let config = RunConfig::of_run(&from.join(CONFIG_FILE))?;
        let weights = from.join(WEIGHTS_FILE);
        if weights.exists() {
            let weights = Weights::File(TensorFile::open(&weights)?);
            return Ok(Self { config, weights });
        }
        match state::load(from)? {
            Some(found) => Ok(Self {
                config,
                weights: Weights::Slab(found.state.params),
            }),
            None => Err(TrainedError::NoWeights {
                directory: from.to_owned(),
            }),
        }
    }

    /// Sets the parameters of the network that was built from the configuration.
    ///
    /// # Errors
    /// [`TrainedError::Weights`] and [`TrainedError::State`] if they are of another network.
    pub fn load_into(&self, params: &mut Params) -> Result<(), TrainedError> {
        match &self.weights {
            Weights::File(file) => file.load("", params)?,
            Weights::Slab(slab) if slab.len() == params.slab().len() => {
                params.slab_mut().copy_from_slice(slab);
            }
            Weights::Slab(_) => return Err(StateError::OtherRun.into()),
        }
        Ok(())
    }
}

/// Why there is no trained network.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainedError {
    /// The configuration cannot be used.
    Config(ConfigError),
    /// The file of weights cannot be used.
    Weights(WeightsError),
    /// The saved state cannot be used.
    State(StateError),
    /// The run has not saved anything yet.
    NoWeights {
        /// Its directory.
        directory: PathBuf,
    },
}

impl fmt::Display for TrainedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Weights(error) => error.fmt(f),
            Self::State(error) => error.fmt(f),
            Self::NoWeights { directory } => write!(
                f,
                "{} holds no weights yet: train it first, with experiments train --resume",
                directory.display()
            ),
        }
    }
}

impl Error for TrainedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Weights(error) => error.source(),
            Self::State(error) => error.source(),
            Self::NoWeights { .. } => None,
        }
    }
}

impl From<ConfigError> for TrainedError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<WeightsError> for TrainedError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error)
    }
}

impl From<StateError> for TrainedError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}
