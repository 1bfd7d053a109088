//! The tokens of a text: its bytes, or the ids that somebody has encoded it to.

use nn::words;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Number of distinct tokens of a byte-level corpus.
pub const VOCABULARY: usize = 256;

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Bytes of text.
    #[default]
    Bytes,
    /// Ids of a vocabulary that the text was encoded with.
    Ids,
}

words!(TokenKind);

impl TokenKind {
    /// Returns whether tokens are bytes.
    pub fn is_bytes(&self) -> bool {
        *self == Self::Bytes
    }
}

/// The tokens of a part of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokens {
    /// One byte each.
    Bytes(Vec<u8>),
    /// Ids below 65,536.
    Ids(Vec<u16>),
}

impl Tokens {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Ids(ids) => ids.len(),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Kind of the tokens.
    pub fn kind(&self) -> TokenKind {
        match self {
            Self::Bytes(_) => TokenKind::Bytes,
            Self::Ids(_) => TokenKind::Ids,
        }
    }

    /// The bytes of a text; `None` of ids.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Ids(_) => None,
        }
    }

    /// Their size in memory.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Ids(ids) => 2 * ids.len(),
        }
    }

    /// Appends the tokens of a range to `out`.
    ///
    /// # Panics
    /// If the range is not within them.
    #[track_caller]
    pub fn append_to(&self, out: &mut Vec<u32>, range: Range<usize>) {
        match self {
            Self::Bytes(bytes) => out.extend(bytes[range].iter().map(|&byte| u32::from(byte))),
            Self::Ids(ids) => out.extend(ids[range].iter().map(|&id| u32::from(id))),
        }
    }
}

impl From<Vec<u8>> for Tokens {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}
