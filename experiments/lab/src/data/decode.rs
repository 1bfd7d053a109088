//! From a file to text: UTF-16 and UTF-32 decoded, and whatever no text contains refused.
//!
//! Networks read bytes, so any other text is taken as the bytes it is, in whatever encoding.

use super::{
    DataError,
    bytes::Unpacked,
    kind::{is_never_text, recognise},
};

/// A compressed text may hold this many bytes for each of its own, and some more. Text hardly ever
/// shrinks to a fiftieth; what expands a thousandfold is made to exhaust the memory.
const EXPANSION: u64 = 100;
/// Bytes that are looked at together.
const CHUNK: u64 = 1 << 16;
/// One character in this many may be replaced in what is still taken as UTF-16.
const REPLACED: usize = 50;

/// Text, and how it was read if not as it stands in the file.
#[derive(Debug)]
pub(super) struct Decoded {
    pub bytes: Vec<u8>,
    pub read_as: Option<String>,
}

/// UTF-16 or UTF-32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Encoding {
    /// Bytes of a unit: 2 or 4.
    width: usize,
    big_endian: bool,
}

impl Encoding {
    /// By the byte order mark, which is a unit long.
    fn of(head: &[u8]) -> Option<Self> {
        let (width, big_endian) = match head {
            [0xff, 0xfe, 0, 0, ..] => (4, false),
            [0, 0, 0xfe, 0xff, ..] => (4, true),
            [0xff, 0xfe, ..] => (2, false),
            [0xfe, 0xff, ..] => (2, true),
            _ => return None,
        };
        Some(Self { width, big_endian })
    }

    fn name(self) -> String {
        let order = if self.big_endian { "big" } else { "little" };
        format!("UTF-{} ({order}-endian)", 8 * self.width)
    }

    /// The characters, and how many are replacements for what is none.
    fn decode(self, bytes: &[u8]) -> (String, usize) {
        let units = bytes.chunks_exact(self.width);
        let is_cut = !units.remainder().is_empty();
        let units = units.map(|unit| {
            let join = |number: u32, &byte: &u8| number << 8 | u32::from(byte);
            match self.big_endian {
                true => unit.iter().fold(0, join),
                false => unit.iter().rev().fold(0, join),
            }
        });
        let mut characters: Vec<Option<char>> = match self.width {
            2 => char::decode_utf16(units.map(|unit| unit as u16))
                .map(Result::ok)
                .collect(),
            _ => units.map(char::from_u32).collect(),
        };
        characters.extend(is_cut.then_some(None));
        let replaced = characters.iter().filter(|found| found.is_none()).count();
        let or_replacement = |found: Option<char>| found.unwrap_or(char::REPLACEMENT_CHARACTER);
        let text = characters.into_iter().map(or_replacement).collect();
        (text, replaced)
    }
}

/// The text of a file, of at most `most` bytes.
pub(super) fn decode(mut source: Unpacked<'_>, most: u64) -> Result<Decoded, DataError> {
    let path = source.path;
    let head = std::mem::take(&mut source.head);
    let binary = |byte, offset| DataError::Binary {
        path: path.to_owned(),
        byte,
        offset,
        kind: recognise(&head, path),
    };
    let encoding = Encoding::of(&head);
    if is_never_text(&head) {
        return Err(binary(head[0], 0));
    }
    let mut how: Vec<String> = match source.layers {
        0 => Vec::new(),
        1 => vec!["gzip".to_owned()],
        layers => vec![format!("gzip ({layers} times)")],
    };
    let limit = source.limit(EXPANSION, most);
    let mut bytes = Vec::new();
    loop {
        let chunk = source.take(CHUNK, CHUNK)?;
        if chunk.is_empty() {
            break;
        }
        let control = chunk.iter().position(|&byte| is_no_text(byte));
        if encoding.is_none()
            && let Some(at) = control
        {
            return Err(binary(chunk[at], bytes.len() + at));
        }
        bytes.extend(chunk);
        if bytes.len() as u64 > limit {
            let path = path.to_owned();
            return Err(DataError::TooLarge { path, limit });
        }
    }
    if let Some(encoding) = encoding {
        let (text, replaced) = encoding.decode(&bytes[encoding.width..]);
        let mut decoded = format!("{}, decoded to UTF-8", encoding.name());
        if replaced > 0 {
            decoded.push_str(&format!(", characters replaced: {replaced}"));
        }
        how.push(decoded);
        let control = text.bytes().position(is_no_text);
        if control.is_some() || replaced > 1 + text.chars().count() / REPLACED {
            let offset = control.unwrap_or(0);
            let byte = text.as_bytes().get(offset).copied().unwrap_or(0);
            return Err(binary(byte, offset));
        }
        bytes = text.into_bytes();
    }
    if bytes.is_empty() {
        let path = path.to_owned();
        return Err(DataError::Empty { path });
    }
    Ok(Decoded {
        bytes,
        read_as: (!how.is_empty()).then(|| how.join(", ")),
    })
}

/// Returns whether no text has this byte, in any encoding: the control characters but for those
/// that break lines and pages, ring, erase, switch between character sets (ISO 2022), colour
/// terminals and end files of DOS.
fn is_no_text(byte: u8) -> bool {
    matches!(byte, 0..=6 | 0x10..=0x19 | 0x1c..=0x1f | 0x7f)
}

#[cfg(test)]
mod tests {
    use super::super::bytes::{EXPANSION_SLACK, MOST_LAYERS};
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::{
        io::{Cursor, Write},
        path::Path,
    };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn read(bytes: &[u8]) -> Result<(Vec<u8>, Option<String>), DataError> {
        let read = read_at_most(bytes, 1 << 30)?;
        Ok((read.bytes, read.read_as))
    }

    fn read_at_most(bytes: &[u8], most: u64) -> Result<Decoded, DataError> {
        let file = Cursor::new(bytes.to_vec());
        let source = Unpacked::unpack(Path::new("file"), bytes.len() as u64, file);
        decode(source?, most)
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
                    Err(DataError::Binary {
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
            Err(DataError::Binary { .. })
        ));
        assert!(matches!(read(b"\xff\xfe"), Err(DataError::Empty { .. })));
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
        assert!(matches!(read(&followed), Err(DataError::Malformed { .. })));
        let deep = (0..=MOST_LAYERS).fold(text.clone(), |inner, _| gzip(&inner));
        assert!(matches!(read(&deep), Err(DataError::Malformed { .. })));
        let cut = gzip(&text);
        assert!(matches!(
            read(&cut[..cut.len() - 5]),
            Err(DataError::Malformed { .. })
        ));
        assert!(matches!(read(&gzip(b"")), Err(DataError::Empty { .. })));
        let inside = gzip(b"\x89PNG\r\n\x1a\n\0");
        assert!(matches!(read(&inside), Err(DataError::Binary { .. })));
    }

    #[test]
    fn a_bomb_ends_at_its_limit() {
        let bomb = gzip(&vec![b'a'; 64 << 20]);
        let limit = bomb.len() as u64 * EXPANSION + EXPANSION_SLACK;
        assert!(limit < 32 << 20, "{limit}");
        assert!(matches!(read(&bomb), Err(DataError::TooLarge { limit: l, .. }) if l == limit));
        let nested = gzip(&bomb);
        assert!(matches!(read(&nested), Err(DataError::TooLarge { .. })));
        let most = read_at_most(&[b'a'; 100], 99);
        assert!(matches!(most, Err(DataError::TooLarge { limit: 99, .. })));
    }
}
