//! Files that are written where they are: locks and logs.

use super::RunError;
use std::{fs, fs::File, io, path::Path};

/// Opens or creates a file to read and write, without truncation. Links are not followed.
pub(super) fn open_in_place(path: &Path) -> Result<File, RunError> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Without O_NONBLOCK a pipe in the way would be waited at for ever.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    // Asked first where no flag forbids following a link, and for the sake of the message.
    let in_the_way = fs::symlink_metadata(path).is_ok_and(|entry| !entry.is_file());
    let opened = match in_the_way {
        true => None,
        false => Some(options.open(path)),
    };
    match opened {
        Some(Ok(file)) if file.metadata().is_ok_and(|file| file.is_file()) => Ok(file),
        Some(Err(error)) => Err(RunError::writing(path, error)),
        Some(Ok(_)) | None => Err(RunError::NoFile {
            path: path.to_owned(),
        }),
    }
}

/// Whether the open file is the one at `path` now.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (opened, there) = (file.metadata()?, fs::metadata(path));
    match there {
        Ok(there) => Ok((opened.dev(), opened.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
pub(super) fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}
