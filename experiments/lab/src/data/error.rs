//! What can be wrong with a corpus.

use super::{FileKind, LeftOut, TokensError, images::ImageError};
use std::{io, path::PathBuf};

/// A corpus that cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is nothing at the path.
    #[error(
        "corpus {} does not exist: give a text file, a directory of text, or leave it out for the \
         built-in corpus",
        .path.display()
    )]
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// The operating system refused to read.
    #[error("corpus {} cannot be read ({source}): check its permissions", .path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A device, pipe or other thing without an end.
    #[error(
        "corpus {} is not a regular file: save the text to a file first",
        .path.display()
    )]
    NotRegular {
        /// The path given.
        path: PathBuf,
    },
    /// A file of zero bytes.
    #[error("corpus {} is empty: give a file with text in it", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file with a byte that no text has.
    #[error("corpus {} {}", .path.display(), no_text(*byte, *offset, kind.as_ref()))]
    Binary {
        /// The file.
        path: PathBuf,
        /// The byte.
        byte: u8,
        /// Position of the byte, after decompression.
        offset: usize,
        /// What the file seems to be.
        kind: Option<FileKind>,
    },
    /// A compressed file that cannot be expanded.
    #[error(
        "corpus {} begins like gzip, but {reason}: fetch or compress it again",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// More text than is read.
    #[error(
        "corpus {} has more text than the {} MB that are read of it: give a part of it; what is \
         compressed, unpack first",
        .path.display(),
        limit / 1_000_000
    )]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// Bytes that are read of it.
        limit: u64,
    },
    /// More files than are looked at.
    #[error(
        "corpus directory {} holds more than {limit} files and folders: give the folder with the \
         text, or join the texts into fewer files",
        .path.display()
    )]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
        /// How many are looked at.
        limit: usize,
    },
    /// A directory without a single text file.
    #[error(
        "corpus directory {} holds no text{}: give a directory with text in it",
        .path.display(),
        listed(left_out)
    )]
    NoText {
        /// The directory.
        path: PathBuf,
        /// What was left out.
        left_out: Vec<LeftOut>,
    },
    /// A directory that this program has written.
    #[error(
        "{} is a run of this program, not a text: to go on with it, give it to train --resume; to \
         look into it, to inspect or sample",
        .path.display()
    )]
    RunDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A directory of images where text was expected.
    #[error(
        "{} is a folder of images: a network for images learns from it, for \
         example --preset vit-small, or dit-small to draw; networks for text want text",
        .path.display()
    )]
    FolderOfImages {
        /// The directory.
        path: PathBuf,
    },
    /// Too little text for the windows asked for.
    #[error(
        "corpus {corpus} is too short: its {part} part has {have} {unit} and needs {need}: \
         {advice}, or use a shorter sequence or a smaller batch"
    )]
    TooShort {
        /// The corpus by name.
        corpus: String,
        /// Which part is short: `training` or `validation`.
        part: &'static str,
        /// What it is counted in.
        unit: &'static str,
        /// Bytes or tokens it has.
        have: usize,
        /// Bytes or tokens it needs.
        need: usize,
        /// How to get enough.
        advice: String,
    },
    /// Images that cannot be used.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// Tokens that cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The source of a dependency is not on this computer.
    #[error(
        "the built-in corpus needs the source of {name} {version}, which is not in {}: run `cargo \
         fetch --locked` in the workspace, or give a text of your own with --data",
        .searched.display()
    )]
    SourceMissing {
        /// Crate name.
        name: &'static str,
        /// Version in `Cargo.lock`.
        version: String,
        /// The registry directory that was searched first.
        searched: PathBuf,
    },
}

impl DataError {
    /// What a file that is no text seems to be.
    pub(super) fn kind(&self) -> Option<FileKind> {
        match self {
            Self::Binary { kind, .. } => *kind,
            _ => None,
        }
    }
}

fn no_text(byte: u8, offset: usize, kind: Option<&FileKind>) -> String {
    match kind {
        Some(FileKind { name, advice }) => format!("is {name}, not text: {advice}"),
        None => format!(
            "is not text: it has the byte 0x{byte:02x} at offset {offset}, which no text has: \
             give a file of text, or remove such bytes"
        ),
    }
}

/// `: 3 left out, such as a.png (a PNG image)`.
fn listed(left_out: &[LeftOut]) -> String {
    match left_out.first() {
        None => String::new(),
        Some(LeftOut { name, reason }) => {
            format!(" ({} left out, such as {name}: {reason})", left_out.len())
        }
    }
}
