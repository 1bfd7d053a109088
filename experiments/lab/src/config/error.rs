//! What can be wrong with a configuration.

use crate::memory::readable;
use std::{io, path::PathBuf};
use thiserror::Error;

/// A configuration that cannot be used: which key, what is wrong, what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "configuration {} cannot be read ({source}): check the path and its permissions",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A place that has no configuration of a run.
    #[error(
        "{} is no run: there is no config.toml in it; give a directory that train, an ablation or a \
         sweep has written, such as runs/SWEEP/ARM/seed0",
        path.display()
    )]
    NoRun {
        /// The place.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("configuration {} is not TOML at line {line}: {reason}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Line of the mistake, counted from 1.
        line: usize,
        /// The mistake.
        reason: String,
    },
    /// An override that is not of the form `key.path=value`.
    #[error("--set {text}: {reason}: write key=value, for example model.dim=256")]
    BadOverride {
        /// The override given.
        text: String,
        /// The mistake.
        reason: String,
    },
    /// A key that does not exist.
    #[error(
        "there is no setting {key}{}: {}",
        of_type.as_ref().map_or_else(String::new, |of_type| format!(" where {of_type}")),
        match nearest {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "train --dry-run lists those there are".to_owned(),
        }
    )]
    UnknownKey {
        /// The key with its sections.
        key: String,
        /// The existing key most like it.
        nearest: Option<String>,
        /// The type around the key, which decides what keys there are: `model.ffn.type is gelu`.
        of_type: Option<String>,
    },
    /// A value of the wrong type, or none of the possible ones.
    #[error("{key}: {reason}")]
    BadValue {
        /// The key with its sections.
        key: String,
        /// The mistake.
        reason: String,
    },
    /// A network or a batch that the memory has no place for.
    // More than 64 bits hold is only known to be more.
    #[error(
        "this needs {} {} of memory, this machine has {}: choose smaller sizes ({settings})",
        if *needed == u64::MAX { "more than" } else { "about" },
        readable(*needed),
        readable(*available)
    )]
    TooLarge {
        /// Bytes that it takes, about.
        needed: u64,
        /// Bytes that this process can have.
        available: u64,
        /// The settings that decide it, with their values.
        settings: String,
    },
    /// Settings that make no sense together, or a number outside its range.
    #[error("{reason}")]
    Invalid {
        /// The mistake, with the keys.
        reason: String,
    },
}

impl ConfigError {
    /// Error for the configuration of a run that cannot be read: most often there is no run.
    pub(super) fn of_no_run(path: PathBuf, source: io::Error) -> Self {
        let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        match path.parent() {
            Some(place) if missing.contains(&source.kind()) => Self::NoRun {
                path: place.to_owned(),
            },
            _ => Self::Unreadable { path, source },
        }
    }
}

impl From<models::config::ConfigError> for ConfigError {
    fn from(error: models::config::ConfigError) -> Self {
        Self::Invalid {
            reason: format!("model.{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::RunConfig;

    #[test]
    fn a_place_without_a_run_is_called_that() {
        let error = RunConfig::of_run("no/such/config.toml".as_ref()).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("no/such is no run: "), "{said}");
    }

    #[test]
    fn what_a_type_does_not_take_is_named_where_it_stands() {
        for (given, start, hint) in [
            (
                "model.ffn.type=foo",
                "model.ffn.type: expected swiglu",
                "\"foo\"",
            ),
            (
                "model.norm.type=foo",
                "model.norm.type: expected",
                "\"foo\"",
            ),
            (
                "model.ffn.typ=gelu",
                "there is no setting model.ffn.typ where model.ffn.type is swiglu: ",
                "did you mean model.ffn.type?",
            ),
            (
                "model.connection.rate=4",
                "there is no setting model.connection.rate where model.connection.type is \
                 pre_norm: ",
                "train --dry-run lists",
            ),
        ] {
            let error = RunConfig::default().with_overrides(&[given]).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(start) && error.contains(hint), "{error}");
        }
    }
}
