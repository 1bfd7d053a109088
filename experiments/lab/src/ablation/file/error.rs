//! What can be wrong with a sweep file.

use crate::ablation::contrast::Mistake;
use std::{io, path::PathBuf};
use thiserror::Error;

/// A sweep file that cannot be used: which key, what is wrong, what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SweepFileError {
    /// The file cannot be read.
    #[error("sweep {} cannot be read ({source}): check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the sweep is not TOML at line {line}: {reason}")]
    NotToml {
        /// Line of the mistake, counted from 1.
        line: usize,
        /// The mistake.
        reason: String,
    },
    /// A key that sweep files do not have.
    #[error("a sweep has no key {key}{}", meant(nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// The existing one most like it.
        nearest: Option<String>,
    },
    /// A baseline that is no arm.
    #[error("baseline: there is no arm {name}{}", meant(nearest))]
    UnknownArm {
        /// The name given.
        name: String,
        /// The arm most like it.
        nearest: Option<String>,
    },
    /// A key with a value that makes no sense.
    #[error("{key}: {reason}")]
    Wrong {
        /// The key.
        key: String,
        /// The mistake.
        reason: String,
    },
}

impl From<Mistake> for SweepFileError {
    fn from(Mistake { key, reason }: Mistake) -> Self {
        Self::Wrong { key, reason }
    }
}

pub(super) fn meant(nearest: &Option<String>) -> String {
    let hint = nearest
        .as_ref()
        .map(|nearest| format!(": did you mean {nearest}?"));
    hint.unwrap_or_default()
}

/// The mistake in the value of a key.
pub(super) fn wrong(key: &str, reason: impl Into<String>) -> SweepFileError {
    SweepFileError::Wrong {
        key: key.to_owned(),
        reason: reason.into(),
    }
}

/// The mistake of a seed among the settings.
pub(super) const SEEDS_ARE_NO_SETTING: &str =
    "seeds are no axis: write seeds = 5, or seeds = [0, 3, 7]";

/// Each arm is a network to configure and a row to read.
const MOST_ARMS: usize = 5000;

/// A number of arms, `None` if it is too large to be counted.
pub(super) fn check_count(key: &str, arms: Option<usize>) -> Result<(), SweepFileError> {
    match arms {
        Some(..=MOST_ARMS) => Ok(()),
        Some(arms) => Err(wrong(
            key,
            format!("{arms} arms, expected at most {MOST_ARMS}"),
        )),
        None => Err(wrong(
            key,
            format!("more arms than can be counted, expected at most {MOST_ARMS}"),
        )),
    }
}
