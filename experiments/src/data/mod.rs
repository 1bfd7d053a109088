//! Byte-level text corpora and the windows that training and validation see.
//!
//! A [`Corpus`] comes from a file, from a directory of text, or from the source code of this
//! program's own dependencies ([`Corpus::builtin`]). It is cut into a training and a validation
//! part that share no byte; [`Windows`] then deals out batches.

mod account;
mod builtin;
mod error;
mod guard;
pub mod images;
mod shared_passages;
mod source;
mod split;
mod text_files;
mod windows;

pub use account::{
    DataAccount, FileRead, LISTED_AT_START, LISTED_WHEN_ASKED, LeftOut, Share, Unit, kind_of,
};
pub use builtin::BUILTIN_CRATES;
pub use error::DataError;
pub use source::{Data, Source};
pub use windows::{Batch, Windows};

use sha2::{Digest, Sha256};
use std::path::Path;
use text_files::TextFile;

/// Number of distinct tokens of a byte-level corpus.
pub const VOCABULARY: usize = 256;

/// A text cut into a training and a validation part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// Bytes to train on.
    pub train: Vec<u8>,
    /// Bytes to validate on; they do not occur in `train` as a file or block.
    pub validation: Vec<u8>,
    /// What was read. Its name is that of the file or directory, or `built-in`; its fingerprint is
    /// of the training part followed by the validation part: for a single file, its SHA-256.
    pub account: DataAccount,
}

impl Corpus {
    /// The text at `path`, a file or a directory; the built-in corpus if there is no path.
    ///
    /// # Errors
    /// As [`Corpus::from_file`], [`Corpus::from_directory`] and [`Corpus::builtin`].
    pub fn open(path: Option<&Path>) -> Result<Self, DataError> {
        match path {
            None => Self::builtin(),
            Some(path) if path.is_dir() => Self::from_directory(path),
            Some(path) => Self::from_file(path),
        }
    }

    /// One text file. Its last tenth is for validation.
    ///
    /// # Errors
    /// If the file is missing, unreadable, empty, not UTF-8, or not a regular file.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let bytes = text_files::read_file(path)?;
        let (train, validation) = split::at_tail(bytes);
        Ok(Self::new(file_name(path), train, validation, 1, 0))
    }

    /// All text files below a directory, in sorted order of their paths. Hidden files are
    /// ignored; files that are not UTF-8, empty files and further copies of the same content are
    /// skipped and counted. About a tenth of the bytes, in whole files, is for validation, and
    /// files that share a passage of 2 kB or more are on one side; with too few files for that,
    /// validation is the last tenth of their concatenation.
    ///
    /// # Errors
    /// If the directory or a file in it is unreadable, or if it holds no text.
    pub fn from_directory(path: &Path) -> Result<Self, DataError> {
        let (files, skipped) = text_files::read_directory(path)?;
        if files.is_empty() {
            return Err(DataError::NoText {
                path: path.to_owned(),
                skipped,
            });
        }
        Ok(Self::from_files(file_name(path), files, skipped))
    }

    /// The Rust source text of [`BUILTIN_CRATES`], in the versions this program was built with:
    /// the `.rs` files of their `src` directories, without files over 200 kB or with lines over
    /// 1000 bytes (generated tables). The same for everyone with the same `Cargo.lock`.
    ///
    /// # Errors
    /// If the source of one of the crates is not where cargo keeps it, or is unreadable.
    pub fn builtin() -> Result<Self, DataError> {
        let (files, skipped) = builtin::read_sources()?;
        Ok(Self::from_files("built-in".to_owned(), files, skipped))
    }

    fn from_files(name: String, files: Vec<TextFile>, skipped: usize) -> Self {
        let (files, copies) = text_files::without_copies(files);
        let count = files.len();
        let (train, validation) = split::by_file(files);
        Self::new(name, train, validation, count, skipped + copies)
    }

    fn new(
        name: String,
        train: Vec<u8>,
        validation: Vec<u8>,
        files: usize,
        files_skipped: usize,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(&train);
        hash.update(&validation);
        let mut account = DataAccount::new(name, Unit::Bytes);
        account.fingerprint = hex(&hash.finalize());
        account.training.amount = train.len() as u64;
        account.validation.amount = validation.len() as u64;
        account.files_read = files as u64;
        for _ in 0..files_skipped {
            account.leave_out("", "not UTF-8, empty or a copy");
        }
        Self {
            train,
            validation,
            account,
        }
    }
}

/// Bits per byte of a loss in nats per byte-level token: `nats / ln 2`.
pub fn bits_per_byte(nats: f64) -> f64 {
    nats / std::f64::consts::LN_2
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
