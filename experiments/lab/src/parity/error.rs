//! What can be wrong with a file of reference values.

use models::weights::WeightsError;
use std::{fmt, path::PathBuf};

/// Why a file could not be checked.
#[derive(Debug)]
pub enum ParityError {
    /// The file or one of its tensors cannot be read.
    Tensors(WeightsError),
    /// The file asks for something that is not implemented.
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What is not known.
        what: String,
    },
    /// The file contradicts its format or itself.
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for ParityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensors(error) => error.fmt(f),
            Self::Unsupported { file, what } => {
                write!(f, "{}: skipped: {what} is not known here", file.display())
            }
            Self::Invalid { file, reason } => write!(f, "{}: {reason}", file.display()),
        }
    }
}

impl std::error::Error for ParityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tensors(error) => Some(error),
            _ => None,
        }
    }
}

impl From<WeightsError> for ParityError {
    fn from(error: WeightsError) -> Self {
        Self::Tensors(error)
    }
}
