//! Compression, recognised by the first bytes of a file and taken off.

use super::guard::guarded;
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};

/// What a gzip file begins with.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];
/// The most compressions that are taken off one file.
pub(super) const MOST_LAYERS: usize = 4;

/// A file whose compression is taken off.
pub(super) struct Unpacked {
    /// All of it.
    pub reader: Box<dyn Read>,
    /// How it begins: as many bytes as were asked for, or all there are.
    pub head: Vec<u8>,
    /// How often it was compressed.
    pub layers: usize,
}

/// Takes off every compression there is, of any number of members.
///
/// # Errors
/// [`ErrorKind::InvalidData`] if there are too many or one is damaged, and those of the file.
pub(super) fn unpack(file: impl Read + 'static, head: usize) -> io::Result<Unpacked> {
    let mut reader: Box<dyn Read> = Box::new(file);
    for layers in 0..=MOST_LAYERS {
        let mut start = Vec::new();
        reader.by_ref().take(head as u64).read_to_end(&mut start)?;
        let compressed = start.starts_with(&MAGIC);
        reader = Box::new(Cursor::new(start.clone()).chain(reader));
        if !compressed {
            return Ok(Unpacked {
                reader,
                head: start,
                layers,
            });
        }
        reader = Box::new(Guarded(Members(Some(GzDecoder::new(BufReader::new(
            reader,
        ))))));
    }
    let reason = format!("it is compressed more than {MOST_LAYERS} times");
    Err(io::Error::new(ErrorKind::InvalidData, reason))
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
