//! Files that may be compressed, truncated or hostile.
//!
//! Compression is recognised by the first bytes of a file and taken off. Nothing is allocated
//! because a header says so: buffers grow with the bytes that are there, and stop at what the
//! header promised. A panic inside somebody else's decoder is an error.

use super::DataError;
use crate::memory::available;
use flate2::bufread::GzDecoder;
use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::Once,
};

/// The largest factor by which deflate can blow up its input.
pub(super) const DEFLATE_RATIO: u64 = 1032;
/// Bytes at the beginning of a file by which it is recognised.
pub(super) const HEAD: usize = 512;
/// The most bytes that are taken from one compressed file.
const MOST_EXPANDED: u64 = 1 << 30;
/// Bytes that a compressed file may hold beside its size times a factor.
pub(super) const EXPANSION_SLACK: u64 = 16 << 20;
/// The most compressions that are taken off one file.
pub(super) const MOST_LAYERS: usize = 4;
/// First bytes of a gzip file.
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// The most bytes of data that are read: a quarter of the memory, since they are held twice while
/// they are split.
pub(super) fn most_bytes() -> u64 {
    available() / 4
}

/// The most bytes of a text that are read, whatever the memory.
pub(super) fn most_text() -> u64 {
    most_bytes().min(4 << 30)
}

/// A regular file without its compression.
pub(super) struct Unpacked<'p> {
    pub(super) path: &'p Path,
    /// Bytes on disk.
    size: u64,
    /// The first bytes of the content: [`HEAD`], or all there are.
    pub(super) head: Vec<u8>,
    /// Number of compressions that were taken off.
    pub(super) layers: usize,
    reader: Box<dyn Read>,
}

impl<'p> Unpacked<'p> {
    /// Opens a file. A device or pipe may never end, so the kind is checked before.
    pub(super) fn open(path: &'p Path) -> Result<Self, DataError> {
        let failed = |source| DataError::reading(path, source);
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            let path = path.to_owned();
            return Err(DataError::NotRegular { path });
        }
        let file: Box<dyn Read> = match metadata.len() {
            // The kernel shows its own state as files without length, and some never answer.
            0 => Box::new(io::empty()),
            _ => Box::new(File::open(path).map_err(failed)?),
        };
        Self::unpack(path, metadata.len(), BufReader::new(file))
    }

    /// Takes off every compression there is, of any number of members.
    pub(super) fn unpack(
        path: &'p Path,
        size: u64,
        file: impl Read + 'static,
    ) -> Result<Self, DataError> {
        let mut reader: Box<dyn Read> = Box::new(file);
        for layers in 0..=MOST_LAYERS {
            let mut head = Vec::new();
            let start = reader.by_ref().take(HEAD as u64).read_to_end(&mut head);
            start.map_err(|error| DataError::reading(path, error))?;
            reader = Box::new(Cursor::new(head.clone()).chain(reader));
            if !head.starts_with(&GZIP) {
                return Ok(Self {
                    path,
                    size,
                    head,
                    layers,
                    reader,
                });
            }
            let decoder = GzDecoder::new(BufReader::new(reader));
            reader = Box::new(Guarded(Members(Some(decoder))));
        }
        let reason = format!("it is compressed more than {MOST_LAYERS} times");
        Err(DataError::malformed(path, reason))
    }

    /// The most bytes that are read of `most`: of a compressed file at most `ratio` for each byte
    /// on disk, and some.
    pub(super) fn limit(&self, ratio: u64, most: u64) -> u64 {
        let expanded = self.size.saturating_mul(ratio);
        match self.layers {
            0 => most,
            _ => most
                .min(expanded.saturating_add(EXPANSION_SLACK))
                .min(MOST_EXPANDED),
        }
    }

    /// Reads up to `count` bytes more. More than `limit` is an error.
    pub(super) fn take(&mut self, count: u64, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        // A plain file larger than that is not read first.
        let too_large = count > limit && self.layers == 0 && self.size > limit;
        if !too_large {
            let taken = self.reader.by_ref().take(count.min(limit + 1));
            let read = { taken }.read_to_end(&mut bytes);
            read.map_err(|error| DataError::reading(self.path, error))?;
        }
        if too_large || bytes.len() as u64 > limit {
            return Err(DataError::TooLarge {
                path: self.path.to_owned(),
                limit,
            });
        }
        Ok(bytes)
    }

    /// The next `count` bytes; `what` they are, for the message if they are not there.
    pub(super) fn exactly(&mut self, count: u64, what: &str) -> Result<Vec<u8>, DataError> {
        let bytes = self.take(count, self.limit(DEFLATE_RATIO, most_bytes()))?;
        if bytes.len() as u64 != count {
            let found = bytes.len();
            let reason = format!("{what} should be {count} bytes, but the file ends after {found}");
            return Err(DataError::malformed(self.path, reason));
        }
        Ok(bytes)
    }

    /// The next four bytes as a big-endian number.
    pub(super) fn big_endian(&mut self, what: &str) -> Result<u32, DataError> {
        let bytes = self.exactly(4, what)?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    }

    /// All bytes that are left.
    pub(super) fn rest(mut self) -> Result<Vec<u8>, DataError> {
        self.take(u64::MAX, self.limit(DEFLATE_RATIO, most_bytes()))
    }

    /// Refuses a file of which something is left.
    pub(super) fn end(mut self) -> Result<(), DataError> {
        match self.take(1, 1)?.len() {
            0 => Ok(()),
            _ => Err(DataError::malformed(
                self.path,
                "there is more data than its header says",
            )),
        }
    }
}

/// Paths of what is in a directory and not hidden, sorted.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |error| DataError::reading(directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The members of a gzip file one after the other. Zeros that pad its last block are no member.
struct Members<R: BufRead>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut rest = self.0.take().expect("a member").into_inner();
            loop {
                let start = rest.fill_buf()?;
                let zeros = start.iter().take_while(|&&byte| byte == 0).count();
                if zeros == 0 {
                    break;
                }
                rest.consume(zeros);
            }
            if !rest.fill_buf()?.is_empty() {
                self.0 = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// A reader whose panics are errors.
struct Guarded<R>(R);

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let panicked = |reason| Err(io::Error::new(ErrorKind::InvalidData, reason));
        guarded(|| self.0.read(buffer)).unwrap_or_else(panicked)
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Returns what `decode` returns, or the message of its panic. Nothing is printed.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                hook(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    // What was being decoded is dropped with the panic: nobody sees it half done.
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let message = message.unwrap_or_else(|| "no message".to_owned());
        format!("its decoder failed inside ({message})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_a_result_stays_itself() {
        assert_eq!(guarded(|| 3), Ok(3));
        let index = std::hint::black_box(7);
        let message = guarded(|| [1, 2, 3][index]).expect_err("outside");
        assert!(message.contains("index out of bounds"), "{message}");
        let message = guarded(|| panic!("five of {index}")).map(|(): ()| ());
        assert!(message.expect_err("a panic").contains("five of 7"));
        assert!(!GUARDED.get());
    }
}
