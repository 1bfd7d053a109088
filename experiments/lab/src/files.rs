//! Files, whoever wrote them: their size and kind are looked at before memory is taken.

use crate::memory::{available, readable};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};
use toml::Table;

/// Larger texts are no configuration, command line or list of settings.
const LARGEST_TEXT: u64 = 16 << 20;

/// The text of a file. What is no file, and a file of more than 16 MB, are refused.
///
/// # Errors
/// The operating system's, and [`ErrorKind::InvalidInput`], [`ErrorKind::FileTooLarge`] and
/// [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_at_most(&mut open(path)?, LARGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Opens a regular file to read. A device may have no end; a pipe may be waited at for ever, and
/// is empty when it is read again.
///
/// # Errors
/// The operating system's, and [`ErrorKind::InvalidInput`].
pub fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.file_type() {
        kind if kind.is_file() || kind.is_dir() => File::open(path),
        _ => {
            let reason = "this is a device or a pipe, not a file";
            Err(io::Error::new(ErrorKind::InvalidInput, reason))
        }
    }
}

/// The content of an open file. One that takes more than a quarter of the memory is refused.
///
/// # Errors
/// As [`read_text`].
pub fn read_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    read_at_most(file, available() / 4)
}

/// Name of a file without its directory; the whole path where it has none.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || path.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn read_at_most(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let about = file.metadata()?;
    let mut bytes = Vec::new();
    // What the kernel shows of itself has no length.
    if about.len() <= most {
        file.take(most + 1).read_to_end(&mut bytes)?;
    }
    if about.len().max(bytes.len() as u64) > most {
        let reason = format!("it has more than {}", readable(most));
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// Where a text is not TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotToml {
    /// The line, counted from 1.
    pub line: usize,
    /// Kind of mistake.
    pub reason: String,
}

/// A text as TOML.
///
/// # Errors
/// [`NotToml`].
pub fn parse_toml(text: &str) -> Result<Table, NotToml> {
    text.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        NotToml {
            line: 1 + text.as_bytes()[..offset]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count(),
            reason: error.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_device_without_end_is_refused() {
        let error = read_text(Path::new("/dev/zero")).expect_err("a device");
        assert!(error.to_string().contains("a device"), "{error}");
    }

    /// Not waited for, nor taken as empty when it is read a second time.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        let error = read_text(&pipe).expect_err("no file");
        assert!(error.to_string().contains("a pipe"), "{error}");
    }

    #[test]
    fn a_file_too_large_for_its_purpose_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file()
            .set_len(1 << 40)
            .expect("holes take no space");
        let error = read_text(file.path()).expect_err("a terabyte");
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_mistake_in_toml_has_a_line() {
        let wrong = parse_toml("a = 1\nß = \n").expect_err("no value");
        assert_eq!(wrong.line, 2);
    }
}
