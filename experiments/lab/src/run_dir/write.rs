//! Files that appear whole or not at all, and opening those that are written where they are.

use super::RunError;
use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Replaces the file at `path`: written beside it under a name of its own, synced, renamed. After
/// a crash or an error the file has its old content or the new one. A link at `path` is replaced,
/// not followed.
///
/// # Errors
/// [`RunError::DiskFull`] or [`RunError::Unwritable`].
///
/// # Panics
/// If `path` has no file name.
#[track_caller]
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), RunError> {
    Replacement::write(path, content)?.put()
}

/// A whole, synced file that has not taken its place yet; removed if it never does.
pub(crate) struct Replacement<'p> {
    path: &'p Path,
    temporary: PathBuf,
    /// Locked, so that others can see that its writer lives.
    file: File,
    placed: bool,
}

impl<'p> Replacement<'p> {
    /// Writes the content that `path` is to have into a new file `.<name>.<process>-<n>.tmp`.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Unwritable`].
    #[track_caller]
    pub(crate) fn write(path: &'p Path, content: &[u8]) -> Result<Self, RunError> {
        let created = create_beside(path).and_then(|(temporary, file)| {
            let mut replacement = Self {
                path,
                temporary,
                file,
                placed: false,
            };
            replacement.file.write_all(content)?;
            replacement.file.sync_all()?;
            Ok(replacement)
        });
        created.map_err(|error| RunError::writing(path, error))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Unwritable`].
    pub(crate) fn put(mut self) -> Result<(), RunError> {
        let renamed = fs::rename(&self.temporary, self.path);
        self.placed = renamed.is_ok();
        renamed
            .and_then(|()| sync_directory(self.path))
            .map_err(|error| RunError::writing(self.path, error))
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // What is left of an attempt only takes space.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A new file beside `path` whose name nobody else uses.
#[track_caller]
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().expect("write_atomically: a file name");
    for number in 0_u64.. {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{number}{ENDING}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = match File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        // Before it is locked, `remove_stale` may hold or have removed it.
        let held = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if held && is_at(&file, &temporary)? {
            return Ok((temporary, file));
        }
    }
    unreachable!("more temporary files than numbers")
}

const ENDING: &str = ".tmp";

/// Removes what processes that were killed have left of unfinished files in a directory.
/// Files that a living process writes stay, on whatever machine it is, and so does everything
/// that is no temporary file of this program.
///
/// # Errors
/// [`RunError::Unreadable`] if the directory cannot be listed.
pub fn remove_stale(directory: &Path) -> Result<(), RunError> {
    let entries = fs::read_dir(directory).map_err(|error| RunError::reading(directory, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| RunError::reading(directory, error))?;
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(process_of) else {
            continue;
        };
        // A pipe or a device would be waited at, a link followed.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        // Held until it is removed, so that its writer, if it has just begun, takes another name.
        let Ok(file) = File::options().write(true).open(&path) else {
            continue;
        };
        let abandoned = match file.try_lock() {
            // Its writer may have put it in its place meanwhile.
            Ok(()) => is_at(&file, &path).unwrap_or(false),
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => is_dead(process),
        };
        if abandoned {
            // A directory that cannot be written to only keeps a file too many.
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// The process in the name of a temporary file.
pub(super) fn process_of(name: &str) -> Option<u32> {
    let name = name.strip_prefix('.')?.strip_suffix(ENDING)?;
    let (_, numbers) = name.rsplit_once('.')?;
    let (process, number) = numbers.split_once('-')?;
    number.parse::<u64>().ok()?;
    process.parse().ok()
}

/// Returns whether a process of this machine has certainly ended.
fn is_dead(process: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{process}")).exists()
}

/// Makes the rename itself survive a power failure.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Elsewhere directories cannot be opened for syncing.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

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

/// Returns whether the open file is the one at `path` now.
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
