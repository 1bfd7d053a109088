//! What can end a training.

use crate::{config::ConfigError, data::DataError, run_dir::RunError, state::StateError};
use nn::guard::{Finding, remarks};
use std::path::PathBuf;
use thiserror::Error;

/// Why a training cannot start or go on. A diverging run is none of these: it is a
/// result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The corpus cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The run was begun with other data.
    #[error(
        "{path} was begun with other data than {name} is now (SHA-256 {stored}, now {wanted}): put \
         the data back as they were, choose another directory, or --force to start afresh. Folders \
         of few files were split differently by earlier versions (docs/data.md): go on with the \
         version that began the run"
    )]
    OtherData {
        /// The run directory.
        path: PathBuf,
        /// The name of the data now.
        name: String,
        /// The fingerprint of the data it was begun with.
        stored: String,
        /// The fingerprint of the data now.
        wanted: String,
    },
    /// The run directory cannot be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The saved state cannot be used.
    #[error("{0}{advice}", advice = advice(.0))]
    State(#[from] StateError),
    /// The device failed; everything so far is saved.
    #[error("{0}; everything so far is saved: go on with --backend auto or cpu")]
    Device(String),
    /// Something does not learn, and the configuration is strict about it.
    #[error(
        "{findings}; freeze what is not meant to learn, or set train.strict=false",
        findings = remarks(.0).join("; ")
    )]
    NotLearning(Vec<Finding>),
}

fn advice(error: &StateError) -> &'static str {
    match error.is_damage() {
        true => {
            ", and there is no sound one before it: put back a copy, or start the run afresh with \
             --force"
        }
        false => "",
    }
}

impl From<models::config::ConfigError> for TrainError {
    fn from(error: models::config::ConfigError) -> Self {
        Self::Config(error.into())
    }
}
