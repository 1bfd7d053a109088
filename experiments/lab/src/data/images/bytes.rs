//! Reading files that may be compressed, truncated or hostile.
//!
//! Nothing is allocated because a header says so: buffers grow with the bytes that are
//! there, and stop at what the header promised.

use super::ImageError;
use crate::{
    data::gzip::{Unpacked, unpack},
    memory::available,
};
use std::{
    fs::{self, File},
    io::{self, BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

/// The largest factor by which deflate can blow up its input.
pub(super) const DEFLATE_RATIO: u64 = 1032;
/// The most bytes that are taken from one compressed file.
const LARGEST_UNPACKED: u64 = 1 << 30;
/// How much of a file's beginning is looked at.
const HEAD: usize = 12;

/// A file, decompressed if it begins as gzip does, whatever its name.
pub(super) struct Source<'p> {
    path: &'p Path,
    /// Bytes on disk.
    size: u64,
    unpacked: Unpacked,
}

impl<'p> Source<'p> {
    pub(super) fn open(path: &'p Path) -> Result<Self, ImageError> {
        let failed = |source| unreadable(path, source);
        let size = fs::metadata(path).map_err(failed)?.len();
        let file: Box<dyn Read> = match size {
            // Nothing is waited for: files of the kernel have no size and may never end.
            0 => Box::new(io::empty()),
            _ => Box::new(File::open(path).map_err(failed)?),
        };
        let unpacked = checked(path, unpack(BufReader::new(file), HEAD))?;
        Ok(Self {
            path,
            size,
            unpacked,
        })
    }

    /// How it begins.
    pub(super) fn head(&self) -> &[u8] {
        &self.unpacked.head
    }

    /// The next four bytes as a big-endian number.
    pub(super) fn big_endian(&mut self, what: &str) -> Result<u32, ImageError> {
        let bytes = self.exactly(4, what)?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    /// The next `count` bytes; `what` they are, for the message if they are not there.
    pub(super) fn exactly(&mut self, count: u64, what: &str) -> Result<Vec<u8>, ImageError> {
        let bytes = self.up_to(count)?;
        if bytes.len() as u64 != count {
            return Err(malformed(
                self.path,
                format!(
                    "{what} should be {count} bytes, but the file ends after {}",
                    bytes.len()
                ),
            ));
        }
        Ok(bytes)
    }

    /// All bytes that are left.
    pub(super) fn rest(mut self) -> Result<Vec<u8>, ImageError> {
        self.up_to(u64::MAX)
    }

    /// Nothing may follow.
    pub(super) fn end(mut self) -> Result<(), ImageError> {
        match self.up_to(1)?.len() {
            0 => Ok(()),
            _ => Err(malformed(
                self.path,
                "there is more data than its header says".to_owned(),
            )),
        }
    }

    fn up_to(&mut self, count: u64) -> Result<Vec<u8>, ImageError> {
        let limit = match self.unpacked.layers {
            0 => most_bytes(),
            _ => most_bytes().min(LARGEST_UNPACKED),
        };
        let too_large = || ImageError::TooLarge {
            path: self.path.to_owned(),
            limit,
        };
        // A plain file larger than that is not read first.
        if count == u64::MAX && self.unpacked.layers == 0 && self.size > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        let reader = self.unpacked.reader.by_ref();
        let read = reader.take(count.min(limit)).read_to_end(&mut bytes);
        checked(self.path, read)?;
        if bytes.len() as u64 == limit {
            return Err(too_large());
        }
        Ok(bytes)
    }
}

/// The most bytes of images that are kept: a quarter of the memory, since they are there twice
/// while they are cut.
pub(super) fn most_bytes() -> u64 {
    available() / 4
}

/// What a decompressor says of bad data, or the system of a bad file.
fn checked<T>(path: &Path, result: io::Result<T>) -> Result<T, ImageError> {
    result.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            malformed(path, error.to_string())
        }
        _ => unreadable(path, error),
    })
}

/// What is in a directory, sorted, without hidden names.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let failed = |error| unreadable(directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

pub(super) fn malformed(path: &Path, reason: String) -> ImageError {
    ImageError::Malformed {
        path: path.to_owned(),
        reason,
    }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> ImageError {
    ImageError::Unreadable {
        path: path.to_owned(),
        source,
    }
}
