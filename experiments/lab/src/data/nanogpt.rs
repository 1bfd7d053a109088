//! Tokens as nanoGPT prepares them: `train.bin` and `val.bin`, little-endian numbers of 16 bits,
//! with the size of their vocabulary in `meta.pkl` or, without it, that of GPT-2.

use super::{
    Corpus, DataAccount, DataError, FileRead, Tokens, Unit,
    bytes::{entries, most_text},
    kind_of,
    pickle::{Pickle, Value},
    text_files,
};
use crate::files::file_name;
use models::weights::hex;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fs, io::Read, path::Path, rc::Rc};

const TRAINING: &str = "train.bin";
const VALIDATION: &str = "val.bin";
const META: &str = "meta.pkl";
/// Size that nanoGPT takes where there is no `meta.pkl`.
const GPT2_VOCABULARY: usize = 50_257;
/// Bytes of an image of CIFAR-100 with its two labels.
const CIFAR_100: usize = 3074;
/// A larger `meta.pkl` is none.
const MOST_META: u64 = 8 << 20;

/// Returns whether a folder holds tokens: a `train.bin` that is no text, or one that is empty or a
/// link to nowhere beside a `val.bin` of tokens.
pub(super) fn is_in(folder: &Path) -> bool {
    let is_no_text = |name| {
        let path = folder.join(name);
        path.is_file()
            && !matches!(
                text_files::read_file(&path, most_text()),
                Ok(_) | Err(DataError::Empty { .. })
            )
    };
    let training = fs::symlink_metadata(folder.join(TRAINING));
    is_no_text(TRAINING) || training.is_ok() && is_empty(folder, TRAINING) && is_no_text(VALIDATION)
}

/// Returns whether there are no bytes in a file, or no file.
fn is_empty(folder: &Path, name: &str) -> bool {
    fs::metadata(folder.join(name)).is_ok_and(|file| file.len() == 0) || !folder.join(name).exists()
}

/// The vocabulary that tokens are of.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// Number of tokens.
    pub size: usize,
    /// `true` if a `meta.pkl` says so; otherwise the size is GPT-2's.
    pub known: bool,
    /// Texts of the tokens, as far as `meta.pkl` has them.
    texts: BTreeMap<u32, Rc<str>>,
}

impl Vocabulary {
    /// The vocabulary of the tokens in a folder.
    ///
    /// # Errors
    /// If there is a `meta.pkl` that cannot be used.
    pub fn of(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(META);
        if !path.exists() {
            return Ok(Self {
                size: GPT2_VOCABULARY,
                ..Self::default()
            });
        }
        let bytes = read_bytes(&path, MOST_META)?;
        let meta = |reason: String| DataError::Meta { path, reason };
        let pickle = match Pickle::read(&bytes) {
            Ok(pickle) => pickle,
            Err(reason) => return Err(meta(reason)),
        };
        let size = match pickle.get("vocab_size") {
            Some(&Value::Number(size @ 1..=65_536)) => size as usize,
            Some(Value::Number(size)) => return Err(meta(format!("it is {size}"))),
            _ => return Err(meta("there is none in it".to_owned())),
        };
        let texts = pickle.inner("itos").iter().filter_map(|pair| match pair {
            (Value::Number(id), Value::Text(text)) => {
                Some((u32::try_from(*id).ok()?, text.clone()))
            }
            _ => None,
        });
        Ok(Self {
            size,
            known: true,
            texts: texts.collect(),
        })
    }

    /// The text of tokens; `None` if one of them has no text.
    pub fn decode(&self, ids: &[u32]) -> Option<String> {
        let texts = ids.iter().map(|id| self.texts.get(id).map(|text| &**text));
        texts.collect()
    }

    /// The tokens of a text, at each place the longest that fits; `None` if none does.
    pub fn encode(&self, mut text: &str) -> Option<Vec<u32>> {
        let mut ids = Vec::new();
        while !text.is_empty() {
            let texts = self.texts.iter();
            let fitting =
                texts.filter(|(_, token)| !token.is_empty() && text.starts_with(&***token));
            let (&id, token) = fitting.max_by_key(|(_, token)| token.len())?;
            ids.push(id);
            text = &text[token.len()..];
        }
        Some(ids)
    }
}

/// The tokens of a folder, split as they come.
pub(super) fn read(folder: &Path) -> Result<Corpus, DataError> {
    let vocabulary = Vocabulary::of(folder)?;
    let size = vocabulary.size;
    let mut vocabulary_from = match vocabulary.known {
        true => format!("{} says vocab_size {size}", folder.join(META).display()),
        false => format!(
            "{} has no {META}, so its vocabulary is GPT-2's of {size} tokens",
            folder.display()
        ),
    };
    let mut account = DataAccount::new(file_name(folder), Unit::Tokens);
    account.split = format!("{VALIDATION}, as the tokens come");
    let mut hash = Sha256::new();
    let mut needed = size;
    let mut parts = Vec::new();
    for (name, beside) in [(TRAINING, VALIDATION), (VALIDATION, TRAINING)] {
        let path = folder.join(name);
        if is_empty(folder, name) {
            // CIFAR-100 has a train.bin too.
            let is_cifar = |train: &Vec<u16>| (2 * train.len()).is_multiple_of(CIFAR_100);
            if parts.first().is_some_and(is_cifar) && folder.join("test.bin").is_file() {
                let path = folder.to_owned();
                return Err(DataError::FolderOfImages { path });
            }
            let reason = match path.exists() {
                true => "is empty",
                false => "does not exist",
            };
            return Err(DataError::PartMissing {
                path,
                reason,
                beside,
            });
        }
        let bytes = read_bytes(&path, most_text())?;
        let ids = ids(&path, &bytes)?;
        let largest = ids.iter().max().copied().unwrap_or(0);
        if usize::from(largest) >= needed {
            let id = largest;
            if vocabulary.known {
                let beyond = ids.iter().position(|&id| usize::from(id) >= size);
                let position = beyond.expect("the largest is one");
                return Err(DataError::OutOfRange {
                    id: ids[position],
                    path,
                    position,
                    vocabulary: size,
                });
            }
            vocabulary_from = format!(
                "{} has the token {id}, which GPT-2's vocabulary of {size} lacks, and no {META} \
                 beside it gives another size",
                path.display()
            );
            needed = usize::from(largest) + 1;
        }
        hash.update(&bytes);
        let amount = ids.len() as u64;
        let [training, validation] = match name {
            TRAINING => [amount, 0],
            _ => [0, amount],
        };
        account.read(FileRead {
            name: name.to_owned(),
            kind: kind_of(name),
            training,
            validation,
            read_as: Some("tokens of 16 bits".to_owned()),
            ..FileRead::default()
        });
        parts.push(ids);
    }
    for name in entries(folder)?.iter().map(|path| file_name(path)) {
        if ![TRAINING, VALIDATION, META].contains(&name.as_str()) {
            let reason = format!("{TRAINING} and {VALIDATION} are read instead");
            account.leave_out(name, reason);
        }
    }
    account.fingerprint = hex(&hash.finalize());
    account.remarks.push(match vocabulary.known {
        true => format!("a vocabulary of {size} tokens, from {META}; losses are in nats per token"),
        false => format!(
            "a vocabulary of {needed} tokens, since there is no {META} (GPT-2 has {size}); losses \
             are in nats per token"
        ),
    });
    let mut part = |index: usize| Tokens::Ids(std::mem::take(&mut parts[index]));
    Ok(Corpus {
        train: part(0),
        validation: part(1),
        validation_files: vec![(VALIDATION.to_owned(), 0)],
        vocabulary: needed,
        vocabulary_from,
        account,
    })
}

/// The bytes of a regular file as it is, compressed or not.
fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let opened = crate::files::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match opened {
        Ok(bytes) if bytes.len() as u64 > most => Err(DataError::TooLarge {
            path: path.to_owned(),
            limit: most,
        }),
        opened => opened.map_err(|error| DataError::reading(path, error)),
    }
}

/// The tokens of a file.
fn ids(path: &Path, bytes: &[u8]) -> Result<Vec<u16>, DataError> {
    let path = || path.to_owned();
    let (pairs, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(DataError::OddLength {
            path: path(),
            bytes: bytes.len(),
        });
    }
    let ids: Vec<u16> = pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
    match other_numbers(&ids) {
        Some(what) => Err(DataError::OtherNumbers { path: path(), what }),
        None => Ok(ids),
    }
}

/// Returns the kind of numbers that were read as 16 bits and are not: wider ones, of whose upper
/// halves none is above that of the largest vocabulary in use (200,000), or big-endian ones below
/// 256.
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
