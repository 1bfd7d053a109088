//! What can be wrong with a text, with tokens or with images.

use super::{FileKind, LeftOut};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Data that cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is nothing at the path.
    #[error(
        "{path} does not exist: give a file or a folder, or leave it out for the built-in text or \
         images that are drawn"
    )]
    Missing {
        /// The path given.
        path: PathBuf,
    },
    /// The operating system refused to read.
    #[error("{path} cannot be read ({source}): check the path and its permissions")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A device, pipe or other thing without an end.
    #[error("{path} is not a regular file: save its content to one first")]
    NotRegular {
        /// The path given.
        path: PathBuf,
    },
    /// A file of zero bytes.
    #[error("{path} is empty: give a file with something in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file that contradicts its format or itself.
    #[error("{path} is malformed: {reason}: fetch it again, or leave it out")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Kind of damage.
        reason: String,
    },
    /// Data that are whole and cannot be used as they are.
    #[error("{path} {reason}")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// Reason and advice.
        reason: String,
    },
    /// Fewer images to train on than are asked for.
    #[error(
        "{path} has at most {have} images to train on, but data.train_images is {wanted}: set fewer, \
         or leave it out for all"
    )]
    TooFewImages {
        /// The file or directory, or the name of a set that is drawn.
        path: PathBuf,
        /// Images that can be trained on.
        have: usize,
        /// Images asked for.
        wanted: usize,
    },
    /// More than is read.
    #[error(
        "{path} has more than the {} MB that are read of it: give a part of it or, for images, a \
         smaller model.image; what is compressed, unpack first",
        limit / 1_000_000
    )]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// Bytes that are read of it.
        limit: u64,
    },
    /// A file with a byte that no text has.
    #[error("{path} {}", no_text(*byte, *offset, kind.as_ref()))]
    Binary {
        /// The file.
        path: PathBuf,
        /// The byte.
        byte: u8,
        /// Position of the byte, after decompression.
        offset: usize,
        /// Likely kind of the file.
        kind: Option<FileKind>,
    },
    /// A directory without a single text file.
    #[error(
        "{path} holds no text{}: give a directory with text in it",
        listed(left_out)
    )]
    NoText {
        /// The directory.
        path: PathBuf,
        /// Files left out, with the reasons.
        left_out: Vec<LeftOut>,
    },
    /// A directory of images where text was expected.
    #[error(
        "{path} is a folder of images: a network for images learns from it, for example --preset \
         vit-small, or dit-small to draw; networks for text want text"
    )]
    FolderOfImages {
        /// The directory.
        path: PathBuf,
    },
    /// Too little text for the windows asked for.
    #[error(
        "{corpus} is too short: its {part} part has {have} {unit} and needs {need}: {advice}, or use \
         a shorter sequence or a smaller batch"
    )]
    TooShort {
        /// The corpus by name.
        corpus: String,
        /// Which part is short: `training` or `validation`.
        part: &'static str,
        /// Unit of the numbers.
        unit: &'static str,
        /// Bytes or tokens it has.
        have: usize,
        /// Bytes or tokens it needs.
        need: usize,
        /// Way to get enough.
        advice: String,
    },
    /// One of nanoGPT's two files is missing or empty.
    #[error(
        "{path} {reason}, but {beside} beside it holds tokens: write it again, as nanoGPT's \
         prepare.py does, or give another folder or file"
    )]
    PartMissing {
        /// The file that has no tokens.
        path: PathBuf,
        /// Why there are none.
        reason: &'static str,
        /// The file that has some.
        beside: &'static str,
    },
    /// A file with half a token.
    #[error(
        "{path} has {bytes} bytes, an odd number, but tokens take two each: write it again, as \
         numpy's uint16"
    )]
    OddLength {
        /// The file.
        path: PathBuf,
        /// Length of the file.
        bytes: usize,
    },
    /// Numbers that are not little-endian ones of 16 bits.
    #[error("{path} has {what}: write it again, as numpy's little-endian uint16")]
    OtherNumbers {
        /// The file.
        path: PathBuf,
        /// Kind of numbers found instead.
        what: &'static str,
    },
    /// A token that the vocabulary does not have.
    #[error(
        "{path} has the token {id} at position {position}, but meta.pkl beside it says vocab_size \
         {vocabulary}: one of the two is of other data; tokens are little-endian numbers of 16 bits"
    )]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// Which of its tokens.
        position: usize,
        /// Id of the token.
        id: u16,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// A `meta.pkl` that gives no size.
    #[error(
        "{path} gives no vocab_size from 1 to 65536: {reason}; write it again with a plain number, \
         or remove it and set model.vocab_size"
    )]
    Meta {
        /// The file.
        path: PathBuf,
        /// Kind of damage.
        reason: String,
    },
    /// None of the layouts of images that are known.
    #[error(
        "{path} holds no images of classes{hint}: expected IDX files (*-images-idx3-ubyte and \
         *-labels-idx1-ubyte), binary CIFAR batches (data_batch_1.bin, test_batch.bin; train.bin, \
         test.bin), or PNG and JPEG images in a folder for each class (CLASS/*, CLASS/images/*, \
         train/CLASS/* beside test/CLASS/*), or in one folder with names such as CLASS_1.png"
    )]
    NoImages {
        /// The path given.
        path: PathBuf,
        /// Hint at what may have been meant, or nothing.
        hint: String,
    },
}

impl DataError {
    pub(super) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn unusable(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn too_few_images(path: &Path, have: usize, wanted: usize) -> Self {
        Self::TooFewImages {
            path: path.to_owned(),
            have,
            wanted,
        }
    }

    /// The system's answer to reading a file, or what a decompressor says of bad data.
    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
        let owned = path.to_owned();
        match source.kind() {
            NotFound => Self::Missing { path: owned },
            UnexpectedEof => Self::malformed(path, "it ends too early"),
            InvalidInput | InvalidData => Self::malformed(path, source.to_string()),
            _ => Self::Unreadable {
                path: owned,
                source,
            },
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
