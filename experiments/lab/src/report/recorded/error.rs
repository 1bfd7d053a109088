//! Why there is nothing to report.

use crate::run_dir::{CONFIG_FILE, RunError};
use std::{fmt, path::PathBuf};

/// Why there is nothing to report.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordedError {
    /// The directory cannot be listed.
    Run(RunError),
    /// There is no run in it.
    NoRuns {
        /// The directory.
        path: PathBuf,
    },
    /// No run has a configuration that this program understands.
    NoConfiguration {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the first.
        reason: String,
    },
    /// An arm that was asked for is not there.
    NoSuchArm {
        /// Its name.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
}

impl fmt::Display for RecordedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(f),
            Self::NoRuns { path } => write!(
                f,
                "{} holds no runs: expected ARM/seedN/{CONFIG_FILE}, as ablations, sweeps and train write them below runs/NAME",
                path.display()
            ),
            Self::NoConfiguration { path, reason } => write!(
                f,
                "no run in {} has a configuration that can be read: {reason}",
                path.display()
            ),
            Self::NoSuchArm { name, known } => {
                write!(f, "there is no arm {name}; there are {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for RecordedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Run(error) => Some(error),
            _ => None,
        }
    }
}
