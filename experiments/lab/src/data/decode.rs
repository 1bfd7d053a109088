//! From the bytes of a file to text: compression taken off, UTF-16 and UTF-32 decoded, and
//! whatever no text contains refused.
//!
//! Networks read bytes, so any other text is taken as the bytes it is, in whatever encoding.

use super::{
    gzip::{Unpacked, unpack},
    kind::{HEAD, is_never_text},
};
use std::io::{self, ErrorKind, Read};

/// A compressed file may hold this many bytes for each of its own, and these more. Text hardly
/// ever shrinks to a fiftieth; what expands a thousandfold is made to exhaust the memory.
const EXPANSION: u64 = 100;
const EXPANSION_SLACK: u64 = 16 << 20;
const MOST_EXPANDED: u64 = 1 << 30;
/// One character in this many may be replaced in what is still taken as UTF-16.
const REPLACED: usize = 50;

/// Text, and how it was read if not as it stands in the file.
#[derive(Debug)]
pub(super) struct Decoded {
    pub bytes: Vec<u8>,
    pub read_as: Option<String>,
}

/// Why bytes are no text.
#[derive(Debug)]
pub(super) enum NoText {
    /// There are none.
    Empty,
    /// A byte that no text has, and how the file begins.
    Binary {
        byte: u8,
        offset: usize,
        head: Vec<u8>,
    },
    /// The compression is damaged or nested too deep.
    Damaged(String),
    /// More than there is room for.
    TooLarge { limit: u64 },
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for NoText {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What a decompressor says of bad data.
            ErrorKind::InvalidInput | ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".to_owned()),
            _ => Self::Io(error),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf16 { big_endian: bool },
    Utf32 { big_endian: bool },
}

impl Encoding {
    /// By the byte order mark, with the length of the mark.
    fn of(head: &[u8]) -> Option<(Self, usize)> {
        let marks: [(&[u8], Self); 4] = [
            (&[0xff, 0xfe, 0, 0], Self::Utf32 { big_endian: false }),
            (&[0, 0, 0xfe, 0xff], Self::Utf32 { big_endian: true }),
            (&[0xff, 0xfe], Self::Utf16 { big_endian: false }),
            (&[0xfe, 0xff], Self::Utf16 { big_endian: true }),
        ];
        let found = marks.into_iter().find(|(mark, _)| head.starts_with(mark));
        found.map(|(mark, encoding)| (encoding, mark.len()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Utf16 { big_endian: false } => "UTF-16 (little-endian)",
            Self::Utf16 { big_endian: true } => "UTF-16 (big-endian)",
            Self::Utf32 { big_endian: false } => "UTF-32 (little-endian)",
            Self::Utf32 { big_endian: true } => "UTF-32 (big-endian)",
        }
    }

    /// The characters, and how many are replacements for what is none.
    fn decode(self, bytes: &[u8]) -> (String, usize) {
        let mut replaced = 0;
        let mut or_replacement = |character: Option<char>| {
            replaced += usize::from(character.is_none());
            character.unwrap_or(char::REPLACEMENT_CHARACTER)
        };
        let text = match self {
            Self::Utf16 { big_endian } => {
                let (units, rest) = bytes.as_chunks();
                let units = units.iter().map(|&unit| match big_endian {
                    true => u16::from_be_bytes(unit),
                    false => u16::from_le_bytes(unit),
                });
                let characters = char::decode_utf16(units).map(Result::ok);
                let cut = (!rest.is_empty()).then_some(None);
                characters.chain(cut).map(&mut or_replacement).collect()
            }
            Self::Utf32 { big_endian } => {
                let (units, rest) = bytes.as_chunks();
                let characters = units.iter().map(|&unit| {
                    char::from_u32(match big_endian {
                        true => u32::from_be_bytes(unit),
                        false => u32::from_le_bytes(unit),
                    })
                });
                let cut = (!rest.is_empty()).then_some(None);
                characters.chain(cut).map(&mut or_replacement).collect()
            }
        };
        (text, replaced)
    }
}

/// The text of a file of `on_disk` bytes, of at most `most` bytes.
pub(super) fn decode(
    file: impl Read + 'static,
    on_disk: u64,
    most: u64,
) -> Result<Decoded, NoText> {
    let Unpacked {
        reader,
        head,
        layers,
    } = unpack(file, HEAD)?;
    let limit = match layers {
        0 => most,
        _ => (on_disk
            .saturating_mul(EXPANSION)
            .saturating_add(EXPANSION_SLACK))
        .min(MOST_EXPANDED)
        .min(most),
    };
    let encoding = Encoding::of(&head);
    let mut bytes = read_text(reader, limit, encoding.is_some(), &head)?;
    let mut read_as = match layers {
        0 => Vec::new(),
        1 => vec!["gzip".to_owned()],
        _ => vec![format!("gzip ({layers} times)")],
    };
    if let Some((encoding, mark)) = encoding {
        let (text, replaced) = encoding.decode(&bytes[mark..]);
        let mut how = format!("{}, decoded to UTF-8", encoding.name());
        if replaced > 0 {
            how.push_str(&format!(", characters replaced: {replaced}"));
        }
        read_as.push(how);
        let control = text.bytes().position(is_no_text);
        if control.is_some() || replaced > 1 + text.chars().count() / REPLACED {
            let offset = control.unwrap_or(0);
            let byte = text.as_bytes().get(offset).copied().unwrap_or(0);
            return Err(NoText::Binary { byte, offset, head });
        }
        bytes = text.into_bytes();
    }
    if bytes.is_empty() {
        return Err(NoText::Empty);
    }
    Ok(Decoded {
        bytes,
        read_as: (!read_as.is_empty()).then(|| read_as.join(", ")),
    })
}

/// All bytes, or the first that no text has; of text to be decoded, all.
fn read_text(
    mut reader: impl Read,
    limit: u64,
    encoded: bool,
    head: &[u8],
) -> Result<Vec<u8>, NoText> {
    const CHUNK: u64 = 1 << 16;
    let binary = |byte, offset| NoText::Binary {
        byte,
        offset,
        head: head.to_vec(),
    };
    if is_never_text(head) {
        return Err(binary(head[0], 0));
    }
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if reader.by_ref().take(CHUNK).read_to_end(&mut bytes)? == 0 {
            return Ok(bytes);
        }
        if !encoded && let Some(at) = bytes[before..].iter().position(|&byte| is_no_text(byte)) {
            return Err(binary(bytes[before + at], before + at));
        }
        if bytes.len() as u64 > limit {
            return Err(NoText::TooLarge { limit });
        }
    }
}

/// Whether no text has this byte, in any encoding: the control characters but for those that
/// break lines and pages, ring, erase, switch between character sets (ISO 2022), colour terminals
/// and end files of DOS.
fn is_no_text(byte: u8) -> bool {
    matches!(byte, 0..=6 | 0x10..=0x19 | 0x1c..=0x1f | 0x7f)
}

#[cfg(test)]
mod tests {
    use super::super::gzip::MOST_LAYERS;
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::{Cursor, Write};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn read(bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), NoText> {
        let length = bytes.len() as u64;
        let read = decode(Cursor::new(bytes.to_vec()), length, 1 << 30)?;
        Ok((read.bytes, read.read_as))
    }

    #[test]
    fn text_in_any_encoding_is_taken_as_its_bytes() {
        for text in [
            &b"plain\r\n\tlines\x0c\x1b[1mbold\x1b[0m\x1a"[..],
            "UTF-8: \u{e4}\u{20ac}\u{1f600}".as_bytes(),
            b"Windows-1252: caf\xe9 \x93quoted\x94 \x80",
            b"cut off: \xe2\x82",
            b"Shift-JIS: \x83e\x83L\x83X\x83g",
            b"\xef\xbb\xbfwith a mark",
        ] {
            let (bytes, read_as) = read(text).expect("text");
            assert_eq!((&bytes[..], read_as), (text, None));
        }
        let every: Vec<u8> = (0x80..=0xff).chain(b' '..=b'~').collect();
        assert_eq!(read(&every).expect("text").0, every);
    }

    #[test]
    fn a_byte_that_no_text_has_is_found_wherever_it_stands() {
        for byte in [0, 1, 6, 0x10, 0x1c, 0x7f] {
            for offset in [0, 70_000] {
                let mut text = vec![b'a'; 100_000];
                text[offset] = byte;
                match read(&text) {
                    Err(NoText::Binary {
                        byte: b, offset: o, ..
                    }) => {
                        assert_eq!((b, o), (byte, offset));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn utf_16_and_utf_32_with_a_mark_become_utf_8() {
        let text = "a\u{e4}\u{20ac}\u{1f600}\n";
        let utf16: Vec<u16> = [0xfeff].into_iter().chain(text.encode_utf16()).collect();
        let utf32: Vec<u32> = ['\u{feff}']
            .into_iter()
            .chain(text.chars())
            .map(u32::from)
            .collect();
        let cases = [
            utf16
                .iter()
                .flat_map(|unit| unit.to_le_bytes())
                .collect::<Vec<u8>>(),
            utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            utf32.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            utf32.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        ];
        for (bytes, name) in cases
            .iter()
            .zip(["UTF-16 (l", "UTF-16 (b", "UTF-32 (l", "UTF-32 (b"])
        {
            let (decoded, read_as) = read(bytes).expect("text");
            assert_eq!(decoded, text.as_bytes());
            assert!(read_as.expect("said").starts_with(name), "{name}");
            let (packed, read_as) = read(&gzip(bytes)).expect("text");
            assert_eq!(packed, text.as_bytes());
            assert!(read_as.expect("said").starts_with("gzip, UTF"));
        }
        // Cut in mid-character: what is left is read, and the cut is said.
        let (decoded, read_as) = read(&cases[0][..cases[0].len() - 1]).expect("text");
        assert!(
            String::from_utf8(decoded)
                .expect("UTF-8")
                .ends_with('\u{fffd}')
        );
        assert!(read_as.expect("said").contains("characters replaced: 1"));
        // Numbers that happen to begin like a mark are no text.
        assert!(matches!(
            read(b"\xff\xfe\x01\0\x02\0"),
            Err(NoText::Binary { .. })
        ));
        assert!(matches!(read(b"\xff\xfe"), Err(NoText::Empty)));
    }

    #[test]
    fn gzip_is_taken_off_by_its_magic_several_times_and_in_several_members() {
        let text = b"some text\n".repeat(1000);
        let twice = gzip(&gzip(&text));
        assert_eq!(
            read(&gzip(&text)).expect("text"),
            (text.clone(), Some("gzip".into()))
        );
        assert_eq!(
            read(&twice).expect("text"),
            (text.clone(), Some("gzip (2 times)".into()))
        );
        let members = [gzip(&text[..50]), gzip(b""), gzip(&text[50..])].concat();
        assert_eq!(read(&members).expect("text").0, text);
        let padded = [&gzip(&text)[..], &[0; 70_000]].concat();
        assert_eq!(read(&padded).expect("text").0, text);
        let followed = [&padded[..], b"more"].concat();
        assert!(matches!(read(&followed), Err(NoText::Damaged(_))));
        let deep = (0..=MOST_LAYERS).fold(text.clone(), |inner, _| gzip(&inner));
        assert!(matches!(read(&deep), Err(NoText::Damaged(_))));
        let cut = gzip(&text);
        assert!(matches!(
            read(&cut[..cut.len() - 5]),
            Err(NoText::Damaged(_))
        ));
        assert!(matches!(read(&gzip(b"")), Err(NoText::Empty)));
        let inside = gzip(b"\x89PNG\r\n\x1a\n\0");
        assert!(matches!(read(&inside), Err(NoText::Binary { .. })));
    }

    #[test]
    fn a_bomb_ends_at_its_limit() {
        let bomb = gzip(&vec![b'a'; 64 << 20]);
        let limit = bomb.len() as u64 * EXPANSION + EXPANSION_SLACK;
        assert!(limit < 32 << 20, "{limit}");
        assert!(matches!(read(&bomb), Err(NoText::TooLarge { limit: l }) if l == limit));
        let nested = gzip(&bomb);
        assert!(matches!(read(&nested), Err(NoText::TooLarge { .. })));
        let most = decode(Cursor::new(vec![b'a'; 100]), 100, 99);
        assert!(matches!(most, Err(NoText::TooLarge { limit: 99 })));
    }
}
