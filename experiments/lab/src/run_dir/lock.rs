//! One writer per run directory.

use super::{
    RunError,
    write::{is_at, open_in_place},
};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// Name of the lock file. It stays in the directory; what counts is the lock on it, which the
/// operating system takes away when its holder ends in whatever way: at once on one machine, and
/// over NFS when the file server has given up a client that it does not hear from any more. So a
/// lock cannot become stale, and nobody has to judge from afar whether its holder is alive.
pub(super) const LOCK_FILE: &str = ".lock";

/// A held lock on a directory, that of a run or that of a sweep. The file names the holder while
/// there is one.
#[derive(Debug)]
pub struct Lock {
    directory: PathBuf,
    file: File,
    /// The directory itself, locked too where the system can: the lock file can be removed under
    /// its holder, the directory cannot.
    whole: Option<File>,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`RunError::Locked`] if a living process holds it, [`RunError::NoLocks`] if the file system
    /// has none; errors of reading and writing.
    pub fn take(directory: &Path) -> Result<Self, RunError> {
        let path = directory.join(LOCK_FILE);
        // First, so that who is turned away leaves no lock file in place of a removed one.
        let whole = match File::open(directory).map(|whole| (whole.try_lock(), whole)) {
            Ok((Ok(()), whole)) => Some(whole),
            Ok((Err(TryLockError::WouldBlock), _)) => return Err(locked(directory)),
            // Over NFS only files that are open for writing can be locked.
            Ok((Err(TryLockError::Error(_)), _)) | Err(_) => None,
        };
        let file = open_in_place(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(directory)),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                return Err(RunError::NoLocks {
                    path: directory.to_owned(),
                    source: error,
                });
            }
            Err(TryLockError::Error(error)) => return Err(RunError::writing(&path, error)),
        }
        let length = file
            .metadata()
            .map_err(|error| RunError::reading(&path, error))?
            .len();
        if length > 0 && holder_in(&path).is_none() {
            return Err(RunError::NotARun {
                path: directory.to_owned(),
                entry: LOCK_FILE.to_owned(),
            });
        }
        let mut lock = Self {
            directory: directory.to_owned(),
            file,
            whole,
        };
        // Another process may have replaced the file between opening and locking.
        lock.check()?;
        lock.file
            .set_len(0)
            .and_then(|()| lock.file.rewind())
            .and_then(|()| lock.file.write_all(holder().as_bytes()))
            .map_err(|error| RunError::writing(&path, error))?;
        Ok(lock)
    }

    /// Checks that no other process can have taken the same directory since: that it is where it
    /// was, with the lock file that is locked. A lock file that was removed does no harm while
    /// the directory is locked.
    pub(super) fn check(&self) -> Result<(), RunError> {
        let path = self.directory.join(LOCK_FILE);
        let held = match &self.whole {
            Some(whole) => is_at(whole, &self.directory)
                .and_then(|same| Ok(same && (is_at(&self.file, &path)? || !path.try_exists()?))),
            None => is_at(&self.file, &path),
        };
        match held {
            Ok(true) => Ok(()),
            Ok(false) => Err(RunError::LockLost {
                path: self.directory.clone(),
            }),
            Err(error) => Err(RunError::reading(&path, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name is for people; the lock itself ends with the file.
        let _ = self.file.set_len(0);
    }
}

fn locked(directory: &Path) -> RunError {
    RunError::Locked {
        path: directory.to_owned(),
        holder: holder_in(&directory.join(LOCK_FILE)),
    }
}

/// Returns whether the answer to locking a file that is open for writing means that the file system
/// cannot do it.
fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    let codes = [libc::ENOLCK, libc::EBADF, libc::EINVAL];
    #[cfg(not(unix))]
    let codes: [i32; 0] = [];
    error.kind() == io::ErrorKind::Unsupported
        || error
            .raw_os_error()
            .is_some_and(|code| codes.contains(&code))
}

/// Process and machine in a lock file; `None` where it has another content or, as locks may be
/// mandatory, cannot be read.
fn holder_in(path: &Path) -> Option<String> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|entry| entry.is_file());
    let mut text = String::new();
    let file = File::open(path).ok().filter(|_| is_file)?;
    file.take(256).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| text.starts_with(HOLDER))
}

const HOLDER: &str = "process ";

/// Process and machine, as one line.
fn holder() -> String {
    let process = std::process::id();
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{HOLDER}{process} on {}\n", host.trim()),
        Err(_) => format!("{HOLDER}{process}\n"),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_told_from_a_held_lock() {
        for code in [
            libc::ENOLCK,
            libc::EBADF,
            libc::ENOTSUP,
            libc::EOPNOTSUPP,
            libc::ENOSYS,
        ] {
            assert!(has_no_locks(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::EWOULDBLOCK, libc::EACCES, libc::EIO] {
            assert!(!has_no_locks(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
