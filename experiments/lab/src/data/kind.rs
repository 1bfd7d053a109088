//! What a file that is no text seems to be, and what to do with it.

use std::path::Path;

/// A kind of file that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// With its article: `a zip archive`.
    pub name: &'static str,
    /// Advice on what to do instead of reading it as text.
    pub advice: &'static str,
}

impl FileKind {
    /// `PNG` of a single PNG image, and so on; `None` of whatever else.
    pub(super) fn image(&self) -> Option<&'static str> {
        let name = self.name.split_once(' ')?.1.strip_suffix(" image")?;
        (self.images() == 1).then_some(name)
    }

    /// Number of images that it counts for where a folder of images is told from one of text: none,
    /// one, or those of a whole set.
    pub(super) fn images(&self) -> usize {
        match self.advice == IMAGES {
            false => 0,
            true if [IDX_IMAGES, IDX_LABELS, CIFAR].contains(&self.name) => 100,
            true => 1,
        }
    }
}

const IMAGES: &str = "a network for images learns from a folder of them: --preset vit-small, or \
                      dit-small to draw, with the folder as --data";
const IDX_IMAGES: &str = "an IDX file of images, as MNIST has";
const IDX_LABELS: &str = "an IDX file of labels, as MNIST has";
const CIFAR: &str = "a batch of CIFAR images";
const UNPACK: &str = "unpack it and give the folder";
const EXPORT: &str = "write its text to a plain file first";
const WEIGHTS: &str = "weights are no text: give the text that a network is to learn from";
const PROGRAM: &str = "give the folder of its source";
const OTHER: &str = "give a file of text";

/// Advice on PDF documents.
const PDF: &str = "extract its text, for example with pdftotext";

/// First bytes of a file, the kind of file, and what to do with it.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"PK\x05\x06", "an empty zip archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"BZh", "a bzip2 file", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it with zstd -d"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it with lz4 -d"),
    (b"\x1f\x9d", "a compress file", "unpack it with uncompress"),
    (b"\x89PNG", "a PNG image", IMAGES),
    (b"\xff\xd8\xff", "a JPEG image", IMAGES),
    (b"GIF8", "a GIF image", IMAGES),
    (b"BM", "a BMP image", IMAGES),
    (b"II*\0", "a TIFF image", IMAGES),
    (b"MM\0*", "a TIFF image", IMAGES),
    (b"\0\0\x08\x03", IDX_IMAGES, IMAGES),
    (b"\0\0\x08\x01", IDX_LABELS, IMAGES),
    (b"%PDF-", "a PDF document", PDF),
    (b"\xd0\xcf\x11\xe0", "an Office document", EXPORT),
    (b"SQLite format 3\0", "an SQLite database", EXPORT),
    (b"PAR1", "a Parquet table", EXPORT),
    (b"ARROW1", "an Arrow table", EXPORT),
    (b"\x89HDF", "an HDF5 file", EXPORT),
    (b"\x93NUMPY", "a NumPy array", EXPORT),
    (b"GGUF", "GGUF weights", WEIGHTS),
    (b"\x7fELF", "an ELF program", PROGRAM),
    (b"MZ", "a Windows program", PROGRAM),
    (b"\xfe\xed\xfa", "a Mach-O program", PROGRAM),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program", PROGRAM),
    (b"\0asm", "a WebAssembly program", PROGRAM),
    (b"\xca\xfe\xba\xbe", "a Java or Mach-O program", PROGRAM),
    (b"!<arch>\n", "a library of compiled code", PROGRAM),
    (b"ID3", "an MP3 file", OTHER),
    (b"OggS", "an Ogg file", OTHER),
    (b"fLaC", "a FLAC file", OTHER),
    (b"\x80\x02", "a Python pickle", EXPORT),
    (b"\x80\x03", "a Python pickle", EXPORT),
    (b"\x80\x04", "a Python pickle", EXPORT),
    (b"\x80\x05", "a Python pickle", EXPORT),
];

/// Bytes behind the beginning of a file, at an offset, and the same.
const LATER: &[(usize, &[u8], &str, &str)] = &[
    (257, b"ustar", "a tar archive", UNPACK),
    (8, b"WEBP", "a WebP image", IMAGES),
    (4, b"ftypavi", "an AVIF or HEIC image", IMAGES),
    (4, b"ftyphei", "an AVIF or HEIC image", IMAGES),
    (4, b"ftyphev", "an AVIF or HEIC image", IMAGES),
    (4, b"ftypmif1", "an AVIF or HEIC image", IMAGES),
    (4, b"ftypmsf1", "an AVIF or HEIC image", IMAGES),
];

/// Likely kind of a file that is no text, by its first bytes and its name.
pub(super) fn recognise(head: &[u8], path: &Path) -> Option<FileKind> {
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let contains = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    let (name, advice) = if own.starts_with("data_batch") || own.starts_with("test_batch") {
        (CIFAR, IMAGES)
    } else if ["train.bin", "val.bin"].contains(&&*own) {
        let folder = "give the folder that holds train.bin and val.bin";
        ("a file of tokens, as nanoGPT writes them", folder)
    } else if head.starts_with(b"PK") && contains(b"data.pkl") {
        ("a PyTorch checkpoint", WEIGHTS)
    } else if head.get(4..8) == Some(&[0; 4]) && head.get(8) == Some(&b'{') {
        ("safetensors weights", WEIGHTS)
    } else if let Some(kind) = by_content(head) {
        return Some(kind);
    } else {
        let advice = match zeros(head) {
            [0, odd] if odd * 5 > head.len() => "convert it with iconv -f UTF-16LE -t UTF-8",
            [even, 0] if even * 5 > head.len() => "convert it with iconv -f UTF-16BE -t UTF-8",
            _ => return None,
        };
        ("UTF-16 text without a byte order mark", advice)
    };
    Some(FileKind { name, advice })
}

/// The kind of a file by its first bytes alone.
pub(super) fn by_content(head: &[u8]) -> Option<FileKind> {
    if let [b'P', b'1'..=b'6', b' ' | b'\n' | b'\t' | b'\r', ..] = head {
        let (name, advice) = ("a PNM image", IMAGES);
        return Some(FileKind { name, advice });
    }
    let begins = |at: usize, magic| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let first = MAGIC
        .iter()
        .map(|&(magic, name, advice)| (0, magic, name, advice));
    let mut all = first.chain(LATER.iter().copied());
    let (_, _, name, advice) = all.find(|&(at, magic, ..)| begins(at, magic))?;
    Some(FileKind { name, advice })
}

/// Returns whether a file begins as no text does, even if all its bytes are those of text: a
/// document, an image, or anything else with a mark that no text begins with.
pub(super) fn is_never_text(head: &[u8]) -> bool {
    let is_mark = |magic: &[u8]| magic.len() >= 4 && magic.iter().any(|byte| !byte.is_ascii());
    head.starts_with(b"%PDF-")
        || head.starts_with(b"\xff\xd8\xff")
        || MAGIC
            .iter()
            .any(|(magic, ..)| is_mark(magic) && head.starts_with(magic))
}

/// Numbers of bytes at even and at odd places that are zero.
fn zeros(head: &[u8]) -> [usize; 2] {
    [0, 1].map(|first| {
        let bytes = head.iter().skip(first).step_by(2);
        bytes.filter(|&&byte| byte == 0).count()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(head: &[u8], path: &str) -> Option<&'static str> {
        recognise(head, Path::new(path)).map(|kind| kind.name)
    }

    #[test]
    fn common_files_are_recognised_by_what_they_begin_with() {
        assert_eq!(name(b"PK\x03\x04\x14\0", "a"), Some("a zip archive"));
        let torch = b"PK\x03\x04\0\0\x08\x08archive/data.pkl";
        assert_eq!(name(torch, "model.pt"), Some("a PyTorch checkpoint"));
        let mut tar = [0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(name(&tar, "a"), Some("a tar archive"));
        let weights = b"\x40\0\0\0\0\0\0\0{\"a\":{}}";
        assert_eq!(name(weights, "m"), Some("safetensors weights"));
        let tokens = Some("a file of tokens, as nanoGPT writes them");
        assert_eq!(name(b"\x01\0", "x/val.bin"), tokens);
        let utf16: Vec<u8> = "plain".bytes().flat_map(|byte| [byte, 0]).collect();
        assert!(name(&utf16, "a").is_some_and(|name| name.contains("UTF-16")));
        assert_eq!(name(&[0; 40], "zeros"), None);
    }

    #[test]
    fn images_and_their_labels_are_images() {
        for head in [
            &b"\x89PNG\r\n"[..],
            b"\xff\xd8\xff\xe0",
            b"\0\0\x08\x03",
            b"\0\0\x08\x01",
        ] {
            assert!(recognise(head, Path::new("x")).is_some_and(|kind| kind.images() > 0));
        }
        let zip = recognise(b"PK\x03\x04", Path::new("x")).expect("zip");
        assert_eq!(zip.images(), 0);
    }
}
