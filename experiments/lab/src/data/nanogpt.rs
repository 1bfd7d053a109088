//! Tokens as nanoGPT prepares them: `train.bin` and `val.bin`, little-endian numbers of 16 bits,
//! with the size of their vocabulary in `meta.pkl` or, without it, that of GPT-2.

use super::{
    Corpus, DataAccount, DataError, FileRead, TokenKind, Tokens, Unit, file_name, hex, kind_of,
    most_bytes, pickle, text_files,
};
use sha2::{Digest, Sha256};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

const TRAINING: &str = "train.bin";
const VALIDATION: &str = "val.bin";
const META: &str = "meta.pkl";
/// What nanoGPT takes where there is no `meta.pkl`.
const GPT2_VOCABULARY: usize = 50_257;
/// Bytes of an image of CIFAR-100 with its two labels.
const CIFAR_100: usize = 3074;
/// A larger `meta.pkl` is none.
const MOST_META: u64 = 8 << 20;

/// Tokens that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokensError {
    /// One of the two files is not there.
    #[error(
        "{} has tokens in {TRAINING} but no {VALIDATION}: write the tokens to validate on there, \
         as nanoGPT's prepare.py does",
        .folder.display()
    )]
    NoValidation {
        /// The folder.
        folder: PathBuf,
    },
    /// A file with half a token.
    #[error(
        "{} has {bytes} bytes, an odd number, but tokens take two each: write it again, as numpy's \
         uint16",
        .path.display()
    )]
    OddLength {
        /// The file.
        path: PathBuf,
        /// Length of the file.
        bytes: usize,
    },
    /// Numbers that are not little-endian ones of 16 bits.
    #[error("{} has {what}: write it again, as numpy's little-endian uint16", .path.display())]
    OtherNumbers {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        what: &'static str,
    },
    /// A token that the vocabulary does not have.
    #[error(
        "{} has the token {id} at position {position}, but {META} beside it says vocab_size \
         {vocabulary}: one of the two is of other data; tokens are little-endian numbers of 16 bits",
        .path.display()
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
        "{} gives no vocab_size from 1 to 65536: {reason}; write it again with a plain number, or \
         remove it and set model.vocab_size",
        .path.display()
    )]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Whether a folder holds tokens: a `train.bin` that is no text.
pub(super) fn is_in(folder: &Path) -> bool {
    let path = folder.join(TRAINING);
    path.is_file()
        && !matches!(
            text_files::read_file(&path, most_bytes()),
            Ok(_) | Err(DataError::Empty { .. })
        )
}

/// The size of the vocabulary, and whether `meta.pkl` says so.
pub(super) fn vocabulary(folder: &Path) -> Result<(usize, bool), DataError> {
    let path = folder.join(META);
    if !path.exists() {
        return Ok((GPT2_VOCABULARY, false));
    }
    let meta = |reason: String| {
        let path = path.clone();
        DataError::Tokens(TokensError::Meta { path, reason })
    };
    let bytes = read_bounded(&path, MOST_META)?;
    let size = pickle::number_at("vocab_size", &bytes).map_err(meta)?;
    match size {
        Some(size @ 1..=65_536) => Ok((size as usize, true)),
        Some(size) => Err(meta(format!("it is {size}"))),
        None => Err(meta("there is none in it".to_owned())),
    }
}

/// The tokens of a folder, split as they come.
pub(super) fn read(folder: &Path) -> Result<Corpus, DataError> {
    let (size, known) = vocabulary(folder)?;
    let mut account = DataAccount::new(file_name(folder), Unit::Tokens);
    account.split = format!("{VALIDATION}, as the tokens come");
    let mut hash = Sha256::new();
    let mut needed = size;
    let mut part = |name: &str, validates: bool| -> Result<Tokens, DataError> {
        let path = folder.join(name);
        let bytes = read_bounded(&path, most_bytes())?;
        if bytes.is_empty() {
            return Err(DataError::Empty { path });
        }
        let (pairs, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            let bytes = bytes.len();
            return Err(TokensError::OddLength { path, bytes }.into());
        }
        let ids: Vec<u16> = pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        if let Some(what) = other_numbers(&ids) {
            return Err(TokensError::OtherNumbers { path, what }.into());
        }
        if known && let Some(position) = ids.iter().position(|&id| usize::from(id) >= size) {
            return Err(DataError::Tokens(TokensError::OutOfRange {
                path,
                position,
                id: ids[position],
                vocabulary: size,
            }));
        }
        let largest = ids.iter().max().copied().unwrap_or(0);
        needed = needed.max(usize::from(largest) + 1);
        hash.update(&bytes);
        let amount = ids.len() as u64;
        account.read(FileRead {
            name: name.to_owned(),
            kind: kind_of(name),
            training: if validates { 0 } else { amount },
            validation: if validates { amount } else { 0 },
            read_as: Some("tokens of 16 bits".to_owned()),
            ..FileRead::default()
        });
        Ok(Tokens::Ids(ids))
    };
    let train = part(TRAINING, false)?;
    if !folder.join(VALIDATION).exists() {
        let folder = folder.to_owned();
        // CIFAR-100 has a train.bin too.
        if folder.join("test.bin").is_file() && (2 * train.len()).is_multiple_of(CIFAR_100) {
            return Err(DataError::FolderOfImages { path: folder });
        }
        return Err(TokensError::NoValidation { folder }.into());
    }
    let validation = part(VALIDATION, true)?;
    for name in text_files::names_in(folder)? {
        if ![TRAINING, VALIDATION, META].contains(&name.as_str()) {
            account.leave_out(
                name,
                format!("{TRAINING} and {VALIDATION} are read instead"),
            );
        }
    }
    account.fingerprint = hex(&hash.finalize());
    account.remarks.push(match known {
        true => format!("a vocabulary of {size} tokens, from {META}; losses are in nats per token"),
        false => format!(
            "a vocabulary of {needed} tokens, since there is no {META} (GPT-2 has \
             {GPT2_VOCABULARY}); losses are in nats per token"
        ),
    });
    debug_assert_eq!(train.kind(), TokenKind::Ids);
    Ok(Corpus {
        train,
        validation,
        vocabulary: needed,
        account,
    })
}

/// What numbers read as 16 bits are rather: wider ones, of whose upper halves none is above that of
/// the largest vocabulary in use (200,000), or big-endian ones below 256.
fn other_numbers(ids: &[u16]) -> Option<&'static str> {
    const FEWEST: usize = 64;
    const LARGEST_UPPER: u16 = 3;
    if ids.len() < FEWEST {
        return None;
    }
    let largest = |first: usize| {
        ids.iter()
            .skip(first)
            .step_by(2)
            .max()
            .copied()
            .unwrap_or(0)
    };
    if largest(1) <= LARGEST_UPPER && largest(0) > LARGEST_UPPER {
        return Some("numbers of 32 bits or more");
    }
    let shifted = ids.iter().all(|id| id % 256 == 0) && ids.iter().any(|&id| id > 0);
    shifted.then_some("big-endian numbers")
}

/// The bytes of a regular file that has no more than `most`.
fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let (file, _) = text_files::open(path)?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| text_files::unreadable(path, error))?;
    match bytes.len() as u64 > most {
        true => Err(DataError::TooLarge {
            path: path.to_owned(),
            limit: most,
        }),
        false => Ok(bytes),
    }
}
