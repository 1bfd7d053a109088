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

/// The text of a file. A device, which may have no end, and a file of more than 16 MB are refused.
///
/// # Errors
/// The operating system's, and [`ErrorKind::InvalidInput`], [`ErrorKind::FileTooLarge`] and
/// [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_at_most(&mut open(path)?, LARGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Longer is not waited for the first byte of a pipe, in milliseconds.
#[cfg(unix)]
const PATIENCE: i32 = 2000;

/// Opens a file to read. A pipe to which nobody writes is refused: it would be waited at for ever.
///
/// # Errors
/// The operating system's, and [`ErrorKind::TimedOut`].
#[cfg(unix)]
pub fn open(path: &Path) -> io::Result<File> {
    use std::os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    };
    if !fs::metadata(path)?.file_type().is_fifo() {
        return File::open(path);
    }
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let mut wanted = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one open descriptor, and a structure for it.
    if unsafe { libc::poll(&mut wanted, 1, PATIENCE) } <= 0 {
        let reason = "this is a pipe to which nobody writes";
        return Err(io::Error::new(ErrorKind::TimedOut, reason));
    }
    // SAFETY: the descriptor is open; from here on reading waits for what is written.
    match unsafe { libc::fcntl(wanted.fd, libc::F_SETFL, 0) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens a file to read.
///
/// # Errors
/// The operating system's.
#[cfg(not(unix))]
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The content of an open file. A device and a file that takes more than a quarter of the memory
/// are refused.
///
/// # Errors
/// As [`read_text`].
pub fn read_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    read_at_most(file, available() / 4)
}

fn read_at_most(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let about = file.metadata()?;
    if is_device(about.file_type()) {
        let reason = "this is a device, not a file";
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    let mut bytes = Vec::new();
    // A pipe has no length.
    if about.len() <= most {
        file.take(most + 1).read_to_end(&mut bytes)?;
    }
    if about.len().max(bytes.len() as u64) > most {
        let reason = format!("it has more than {}", readable(most));
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

#[cfg(unix)]
fn is_device(kind: fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_char_device() || kind.is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: fs::FileType) -> bool {
    false
}

/// Where a text is not TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotToml {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
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

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_and_refused_where_nobody_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        let error = read_text(&pipe).expect_err("nobody writes");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        let read = std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&pipe, "a = 1\n").expect("a reader"));
            read_text(&pipe)
        });
        assert_eq!(read.expect("somebody writes"), "a = 1\n");
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
