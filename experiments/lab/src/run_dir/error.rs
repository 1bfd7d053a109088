//! What can be wrong with a run directory.

use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// A run directory that cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A sweep or arm name that is no plain file name.
    #[error(
        "{name:?} cannot name a sweep or an arm: use 1 to 100 ASCII letters, digits and -_.+, not \
         beginning with a dot"
    )]
    BadName {
        /// The name given.
        name: String,
    },
    /// The operating system refused to write.
    #[error(
        "cannot write {path} ({source}): check its permissions, or choose another output directory"
    )]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// Answer of the operating system.
        source: io::Error,
    },
    /// No space is left, or the quota is used up.
    #[error(
        "no space left to write {path}: free some and start the same command again, it goes on \
         from here"
    )]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The operating system refused to read.
    #[error("cannot read {path} ({source}): check that it exists and its permissions")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Answer of the operating system.
        source: io::Error,
    },
    /// A link, a directory or a device where a file is to be written.
    #[error(
        "{path} is no ordinary file (links are not followed when writing): remove it, or choose \
         another output directory"
    )]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A directory that holds other things than a run, or a file of another program where one
    /// of a run belongs.
    #[error(
        "{path} is no run of this program and holds {entry}, which was not written by it: nothing \
         was changed; choose an empty directory or another name"
    )]
    NotARun {
        /// The directory.
        path: PathBuf,
        /// Something in it.
        entry: String,
    },
    /// Another process writes here.
    #[error("{} is working on {path}: wait until it ends, or choose another output directory",
        holder.as_deref().unwrap_or("another process"))]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// Process and machine of the holder, if they could be read.
        holder: Option<String>,
    },
    /// The directory or its lock was moved, removed or replaced while this process held it.
    #[error(
        "{path} was moved or its lock .lock was removed, so another process may be working there: \
         this one has stopped writing; start the same command again when no other one runs"
    )]
    LockLost {
        /// The run directory.
        path: PathBuf,
    },
    /// The file system has no locks.
    #[error(
        "the file system of {path} has no locks ({source}), and without them two processes could \
         write to one run: choose a directory on another one with --out, or mount it with locks \
         (NFS: start lockd or mount with local_lock=all on a single machine; Lustre: mount with flock)"
    )]
    NoLocks {
        /// The run directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file whose content is not what this program writes.
    #[error(
        "{path} is damaged at line {line} ({reason}): put back a copy of it, or start that run \
         afresh with --force"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line of the damage, counted from 1.
        line: usize,
        /// Kind of damage.
        reason: String,
    },
    /// Two files of a run that contradict each other.
    #[error("{path} and {other} disagree: {reason}; {advice}")]
    Disagree {
        /// The file that is not believed.
        path: PathBuf,
        /// Name of the file that contradicts it.
        other: &'static str,
        /// In what they differ.
        reason: String,
        /// Advice.
        advice: &'static str,
    },
    /// The run was begun with another configuration.
    #[error(
        "{path} was begun with another configuration: {key} is {} there and {} now: use the \
        same settings, another output directory, or --force to start afresh",
        set(stored),
        set(wanted)
    )]
    ConfigMismatch {
        /// The stored configuration.
        path: PathBuf,
        /// The first key that differs, with its sections: `model.dim`.
        key: String,
        /// Stored value; `None` if there is none.
        stored: Option<String>,
        /// Value now; `None` if there is none.
        wanted: Option<String>,
    },
}

fn set(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("not set")
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
