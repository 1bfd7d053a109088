//! What can be wrong with a run directory.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

/// A run directory that cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A sweep or arm name that is no plain file name.
    BadName {
        /// The name given.
        name: String,
    },
    /// The operating system refused to write.
    Unwritable {
        /// What could not be written.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// No space is left, or the quota is used up.
    DiskFull {
        /// What could not be written.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The operating system refused to read.
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// Another process writes here.
    Locked {
        /// The run directory.
        path: PathBuf,
        /// Its process and machine, if they could be read.
        holder: Option<String>,
    },
    /// The file system has no locks.
    NoLocks {
        /// The run directory.
        path: PathBuf,
    },
    /// A file whose content is not what this program writes.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line of the damage, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The run was begun with another configuration.
    ConfigMismatch {
        /// The stored configuration.
        path: PathBuf,
        /// The first key that differs, with its sections: `model.dim`.
        key: String,
        /// Its stored value; `None` if it has none.
        stored: Option<String>,
        /// Its value now; `None` if it has none.
        wanted: Option<String>,
    },
}

impl RunError {
    pub(crate) fn writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Unwritable { path, source },
        }
    }

    pub(crate) fn reading(path: &Path, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName { name } => write!(
                f,
                "{name:?} cannot name a sweep or an arm: use 1 to 100 ASCII letters, digits and -_.+, not beginning with a dot"
            ),
            Self::Unwritable { path, source } => write!(
                f,
                "cannot write {} ({source}): check its permissions, or choose another output directory",
                path.display()
            ),
            Self::DiskFull { path, .. } => write!(
                f,
                "no space left to write {}: free some and start the same command again, it goes on from here",
                path.display()
            ),
            Self::Unreadable { path, source } => write!(
                f,
                "cannot read {} ({source}): check that it exists and its permissions",
                path.display()
            ),
            Self::Locked { path, holder } => {
                let holder = holder.as_deref().unwrap_or("another process");
                write!(
                    f,
                    "{holder} is working on {}: wait until it ends, or choose another output directory",
                    path.display()
                )
            }
            Self::NoLocks { path } => write!(
                f,
                "the file system of {} has no locks, and without them two processes could write to one run: choose a directory on another one with --out, or mount it with locks",
                path.display()
            ),
            Self::Damaged { path, line, reason } => write!(
                f,
                "{} is damaged at line {line} ({reason}): remove the run directory to start that run afresh",
                path.display()
            ),
            Self::ConfigMismatch {
                path,
                key,
                stored,
                wanted,
            } => {
                let value =
                    |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
                write!(
                    f,
                    "{} was begun with another configuration: {key} is {} there and {} now: use the same settings, another output directory, or --force to start afresh",
                    path.display(),
                    value(stored),
                    value(wanted)
                )
            }
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unwritable { source, .. }
            | Self::DiskFull { source, .. }
            | Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_forbidden_one() {
        let error = |kind: io::ErrorKind| RunError::writing(Path::new("x"), kind.into());
        assert!(matches!(
            error(io::ErrorKind::StorageFull),
            RunError::DiskFull { .. }
        ));
        assert!(matches!(
            error(io::ErrorKind::QuotaExceeded),
            RunError::DiskFull { .. }
        ));
        assert!(matches!(
            error(io::ErrorKind::ReadOnlyFilesystem),
            RunError::Unwritable { .. }
        ));
    }
}
