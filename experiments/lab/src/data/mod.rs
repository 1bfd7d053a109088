//! Text corpora and the windows that training and validation see; images are in [`images`].
//!
//! A [`Corpus`] comes from a file, from a directory of text, from tokens that nanoGPT has prepared,
//! or from the source code of this program's own dependencies ([`Corpus::builtin`]). It is cut into
//! a training and a validation part that share no byte; [`Windows`] then deals out batches.

mod builtin;
mod bytes;
mod decode;
mod error;
pub mod images;
mod kind;
mod nanogpt;
mod pickle;
mod shared_passages;
mod source;
mod split;
mod text_files;
mod tokens;
mod windows;

pub use crate::data_account::{
    DataAccount, FileRead, LISTED_AT_START, LISTED_WHEN_ASKED, LeftOut, Share, Unit, kind_of,
};
pub use builtin::Builtin;
pub use error::DataError;
pub use kind::FileKind;
pub use nanogpt::Vocabulary;
pub use source::{Data, Source};
pub use tokens::{TokenKind, Tokens, VOCABULARY};
pub use windows::{Batch, Windows};

use crate::{files::file_name, run_dir::is_run_directory};
use bytes::most_text;
use models::weights::hex;
use sha2::{Digest, Sha256};
use split::Split;
use std::path::Path;
use text_files::{Folder, TextFile};

/// A folder with this many images for each text is one of images.
const IMAGES_FOR_A_TEXT: usize = 10;

/// A text cut into a training and a validation part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// Training part.
    pub train: Tokens,
    /// Validation part, which does not occur in `train` as a file or block.
    pub validation: Tokens,
    /// Files that validate, in their order, each with the place in `validation` where it begins.
    pub validation_files: Vec<(String, usize)>,
    /// Number of distinct tokens that a network has to know.
    pub vocabulary: usize,
    /// Where that number is from, as half a sentence.
    pub vocabulary_from: String,
    /// Account of what was read. Its name is that of the file or directory, or of the built-in
    /// corpus; its fingerprint is of the training part followed by the validation part: for a single file, of
    /// its text.
    pub account: DataAccount,
}

impl Corpus {
    /// The text at `path`, a file or a directory; a built-in corpus if there is no path.
    ///
    /// # Errors
    /// As [`Corpus::from_file`], [`Corpus::from_directory`] and [`Corpus::builtin`].
    pub fn open(path: Option<&Path>, builtin: Builtin) -> Result<Self, DataError> {
        match path {
            None => Self::builtin(builtin),
            Some(path) if path.is_dir() => Self::from_directory(path),
            Some(path) => Self::from_file(path),
        }
    }

    /// One text file. Its last tenth is for validation.
    ///
    /// # Errors
    /// If the file is missing, unreadable, empty, no text, too large, or not a regular file.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let name = file_name(path);
        let decoded = text_files::read_file(path, most_text())?;
        let file = TextFile {
            read_as: decoded.read_as,
            ..TextFile::new(name.clone(), decoded.bytes)
        };
        Ok(Self::new(name, split::of_one(file), Vec::new()))
    }

    /// All text files below a directory, in sorted order of their paths, or the tokens that
    /// nanoGPT has prepared in it. What is hidden, empty, a copy or no text is left out, and the
    /// [account](DataAccount) says so. About a tenth of the bytes is for validation: whole files
    /// where there are many, and files that share a passage of 2 kB or more are on one side; blocks
    /// of each file where there are few.
    ///
    /// # Errors
    /// If the directory is unreadable, holds no text or too much, or is a run or a folder of
    /// images.
    pub fn from_directory(path: &Path) -> Result<Self, DataError> {
        let owned = || path.to_owned();
        if is_run_directory(path) {
            let reason = "is a run of this program, not a text: to go on with it, give it to train \
                          --resume; to look into it, to inspect or sample";
            return Err(DataError::unusable(path, reason));
        }
        if nanogpt::is_in(path) {
            return nanogpt::read(path);
        }
        let Folder {
            files,
            left_out,
            images,
        } = text_files::read_directory(path)?;
        if images > 0 && images >= IMAGES_FOR_A_TEXT * files.len() {
            return Err(DataError::FolderOfImages { path: owned() });
        }
        if files.is_empty() {
            let path = owned();
            return Err(DataError::NoText { path, left_out });
        }
        Ok(Self::new(file_name(path), split::by_file(files), left_out))
    }

    /// The Rust source text of [crates](Builtin::crates) in the versions this program was built
    /// with: the `.rs` files of their `src` directories, without files over 200 kB or with lines
    /// over 1000 bytes (generated tables). The same for everyone with the same `Cargo.lock`.
    ///
    /// # Errors
    /// If the source of one of the crates is not where cargo keeps it, or is unreadable.
    pub fn builtin(builtin: Builtin) -> Result<Self, DataError> {
        let (files, left_out) = builtin::read_sources(builtin)?;
        let held_out: Vec<String> = builtin.held_out().map(|name| format!("{name}/")).collect();
        let split = match builtin {
            Builtin::Files => split::by_file(files),
            Builtin::Crates => {
                let how = format!("the whole of {} crates", held_out.len());
                split::whole_files(&files, how, |index| {
                    let file = &files[index].name;
                    held_out.iter().any(|folder| file.starts_with(folder))
                })
            }
        };
        Ok(Self::new(builtin.name().to_owned(), split, left_out))
    }

    /// The file that holds this place of the validation part.
    pub fn validation_file(&self, place: usize) -> &str {
        let files = &self.validation_files;
        let after = files.partition_point(|(_, begins)| *begins <= place);
        let file = after.checked_sub(1).map(|index| &*files[index].0);
        file.unwrap_or(&self.account.name)
    }

    fn new(name: String, split: Split, left_out: Vec<LeftOut>) -> Self {
        let mut hash = Sha256::new();
        hash.update(&split.train);
        hash.update(&split.validation);
        let mut account = DataAccount::new(name, Unit::Bytes);
        account.fingerprint = hex(&hash.finalize());
        let mut validation_files = Vec::new();
        let mut begins = 0;
        for file in split.files {
            if file.validation > 0 {
                validation_files.push((file.name.clone(), begins));
                begins += file.validation as usize;
            }
            account.read(file);
        }
        account.split = split.how;
        account.remarks = split.remarks;
        for LeftOut { name, reason } in left_out {
            account.leave_out(name, reason);
        }
        Self {
            train: split.train.into(),
            validation: split.validation.into(),
            validation_files,
            vocabulary: VOCABULARY,
            vocabulary_from: format!("{} is text of bytes", account.name),
            account,
        }
    }
}

/// The text of one file, all of it.
///
/// # Errors
/// As [`Corpus::from_file`].
pub fn read_text(path: &Path) -> Result<Vec<u8>, DataError> {
    Ok(text_files::read_file(path, most_text())?.bytes)
}

/// Bits per byte of a loss in nats per byte-level token: `nats / ln 2`.
pub fn bits_per_byte(nats: f64) -> f64 {
    nats / std::f64::consts::LN_2
}
