//! What can be wrong with a corpus.

use super::images::ImageError;
use std::{error::Error, fmt, io, path::PathBuf};

/// A corpus that cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum DataError {
    /// There is nothing at the path.
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// The operating system refused to read.
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// A device, pipe or other thing without an end.
    NotRegular {
        /// The path given.
        path: PathBuf,
    },
    /// A file of zero bytes.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file that is not UTF-8 text.
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Position of the first offending byte.
        offset: usize,
    },
    /// A directory without a single text file.
    NoText {
        /// The directory.
        path: PathBuf,
        /// Files seen in it that are empty or not UTF-8.
        skipped: usize,
    },
    /// Too little text for the windows asked for.
    TooShort {
        /// The corpus by name.
        corpus: String,
        /// Which part is short: `training` or `validation`.
        part: &'static str,
        /// Bytes it has.
        have: usize,
        /// Bytes it needs.
        need: usize,
        /// Bytes the whole text needs so that this part has enough.
        need_in_all: usize,
    },
    /// Images that cannot be used.
    Images(ImageError),
    /// The source of a dependency is not on this computer.
    SourceMissing {
        /// Crate name.
        name: &'static str,
        /// Its version in `Cargo.lock`.
        version: String,
        /// The registry directory that was searched first.
        searched: PathBuf,
    },
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images(error) => error.fmt(f),
            Self::Missing { path } => write!(
                f,
                "corpus {} does not exist: give a text file, a directory of text, or leave it out for the built-in corpus",
                path.display()
            ),
            Self::Unreadable { path, source } => write!(
                f,
                "corpus {} cannot be read ({source}): check its permissions",
                path.display()
            ),
            Self::NotRegular { path } => write!(
                f,
                "corpus {} is not a regular file: save the text to a file first",
                path.display()
            ),
            Self::Empty { path } => write!(
                f,
                "corpus {} is empty: give a file with text in it",
                path.display()
            ),
            Self::NotUtf8 { path, offset } => write!(
                f,
                "corpus {} is not UTF-8 text (first bad byte at offset {offset}): convert it, for example with iconv -t UTF-8",
                path.display()
            ),
            Self::NoText { path, skipped } => write!(
                f,
                "corpus directory {} holds no text ({skipped} files skipped as empty or not UTF-8): give a directory with UTF-8 files that are not hidden",
                path.display()
            ),
            Self::TooShort {
                corpus,
                part,
                have,
                need,
                need_in_all,
            } => write!(
                f,
                "corpus {corpus} is too short: its {part} part has {have} bytes and needs {need}: give a text of at least {need_in_all} bytes, or use a shorter sequence or a smaller batch"
            ),
            Self::SourceMissing {
                name,
                version,
                searched,
            } => write!(
                f,
                "the built-in corpus needs the source of {name} {version}, which is not in {}: run `cargo fetch --locked` in the workspace, or give a text of your own with --data",
                searched.display()
            ),
        }
    }
}

impl Error for DataError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Images(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ImageError> for DataError {
    fn from(error: ImageError) -> Self {
        Self::Images(error)
    }
}
