//! What can be wrong with a sweep file.

use std::{error::Error, fmt, io, path::PathBuf};

/// A sweep file that cannot be used: which key, what is wrong, what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum SweepFileError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file is not TOML.
    NotToml {
        /// Line of the mistake, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A key that sweep files do not have.
    UnknownKey {
        /// The key.
        key: String,
        /// The existing one most like it.
        nearest: Option<String>,
    },
    /// A baseline that is no arm.
    UnknownArm {
        /// The name given.
        name: String,
        /// The arm most like it.
        nearest: Option<String>,
    },
    /// A key with a value that makes no sense.
    Wrong {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for SweepFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ask = |f: &mut fmt::Formatter<'_>, nearest: &Option<String>| match nearest {
            Some(nearest) => write!(f, ": did you mean {nearest}?"),
            None => Ok(()),
        };
        match self {
            Self::Unreadable { path, source } => write!(
                f,
                "sweep {} cannot be read ({source}): check the path and its permissions",
                path.display()
            ),
            Self::NotToml { line, reason } => {
                write!(f, "the sweep is not TOML at line {line}: {reason}")
            }
            Self::UnknownKey { key, nearest } => {
                write!(f, "a sweep has no key {key}")?;
                ask(f, nearest)
            }
            Self::UnknownArm { name, nearest } => {
                write!(f, "baseline: there is no arm {name}")?;
                ask(f, nearest)
            }
            Self::Wrong { key, reason } => write!(f, "{key}: {reason}"),
        }
    }
}

impl Error for SweepFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}
