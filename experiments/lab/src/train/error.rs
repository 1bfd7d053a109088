//! What can end a training.

use crate::{config::ConfigError, data::DataError, run_dir::RunError, state::StateError};
use nn::guard::{Finding, remarks};
use std::{error::Error, fmt, path::PathBuf};

/// Why a training cannot start or go on. A diverging run is none of these: it is a
/// result.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration is impossible.
    Config(ConfigError),
    /// The corpus cannot be used.
    Data(DataError),
    /// The run was begun with other data.
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
    Run(RunError),
    /// The saved state cannot be used.
    State(StateError),
    /// The device failed; everything so far is saved.
    Device(String),
    /// Something does not learn, and the configuration is strict about it.
    NotLearning(Vec<Finding>),
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Data(error) => error.fmt(f),
            Self::OtherData {
                path,
                name,
                stored,
                wanted,
            } => write!(
                f,
                "{} was begun with other data than {name} is now (SHA-256 {stored}, now {wanted}): \
                 put the data back as they were, choose another directory, or --force to start \
                 afresh. Folders of few files were split differently by earlier versions \
                 (docs/data.md): go on with the version that began the run",
                path.display()
            ),
            Self::Run(error) => error.fmt(f),
            Self::State(error) if error.is_damage() => write!(
                f,
                "{error}, and there is no sound one before it: put back a copy, or start the run \
                 afresh with --force"
            ),
            Self::State(error) => error.fmt(f),
            Self::Device(message) => write!(
                f,
                "{message}; everything so far is saved: go on with --backend auto or cpu"
            ),
            Self::NotLearning(findings) => {
                for remark in remarks(findings) {
                    write!(f, "{remark}; ")?;
                }
                f.write_str("freeze what is not meant to learn, or set train.strict=false")
            }
        }
    }
}

impl Error for TrainError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Data(error) => error.source(),
            Self::Run(error) => error.source(),
            Self::State(error) => error.source(),
            Self::Device(_) | Self::NotLearning(_) | Self::OtherData { .. } => None,
        }
    }
}

impl From<ConfigError> for TrainError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<models::config::ConfigError> for TrainError {
    fn from(error: models::config::ConfigError) -> Self {
        Self::Config(error.into())
    }
}

impl From<DataError> for TrainError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<RunError> for TrainError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<StateError> for TrainError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}
