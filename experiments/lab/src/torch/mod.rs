//! Trained networks as PyTorch programs, and back.
//!
//! | file                     | content                                               |
//! |--------------------------|-------------------------------------------------------|
//! | `model.py`               | the network in plain PyTorch, whatever its settings   |
//! | `model.safetensors`      | its weights, with its configuration                   |
//! | `config.toml`            | the settings of the run, for the way back             |
//! | `validation.safetensors` | what the run validates with, and its loss             |

mod export;
mod import;

pub use export::{Exported, export};
pub use import::import;

use crate::{
    config::ConfigError,
    run_dir::{CONFIG_FILE, RunError},
    train::TrainError,
    trained::TrainedError,
};
use models::weights::WeightsError;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The program.
pub const MODEL_FILE: &str = "model.py";
/// The validation data.
pub const VALIDATION_FILE: &str = "validation.safetensors";

/// Why a network cannot be exported or imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TorchError {
    /// There are files already where some are to be written.
    #[error("{path} is there and not an empty directory: name another one")]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// A network that the program cannot express.
    #[error(
        "{what} cannot be exported: {MODEL_FILE} has transformers and vits with the connections \
         pre_norm and hyper"
    )]
    NotExpressible {
        /// The part of the network.
        what: String,
    },
    /// Weights beside the settings of another network.
    #[error(
        "{weights} is of another network than {CONFIG_FILE} beside it says: change none of the \
         settings under [model]"
    )]
    OtherNetwork {
        /// The file of weights.
        weights: PathBuf,
    },
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no trained network.
    #[error(transparent)]
    Trained(#[from] TrainedError),
    /// The weights cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A training cannot start with them.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Something cannot be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Checks that nothing is at `path`, or an empty directory.
fn check_free(path: &Path) -> Result<(), TorchError> {
    let taken = || TorchError::Taken {
        path: path.to_owned(),
    };
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(taken()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link to nowhere is something too.
            let is_free = path.symlink_metadata().is_err();
            if is_free { Ok(()) } else { Err(taken()) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(taken()),
        Err(error) => Err(RunError::reading(path, error).into()),
    }
}
