//! One writer per run directory.

use super::RunError;
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::Path,
};

/// Name of the lock file. It stays in the directory; what counts is the lock on it, which the
/// operating system takes away when its holder ends in whatever way: at once on one machine, and
/// over NFS when the file server has given up a client that it does not hear from any more. So a
/// lock cannot become stale, and nobody has to judge from afar whether its holder is alive.
pub(super) const LOCK_FILE: &str = ".lock";

/// A held lock. The file names the holder while there is one.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    pub(super) fn take(directory: &Path) -> Result<Self, RunError> {
        let path = directory.join(LOCK_FILE);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| RunError::writing(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                return Err(RunError::Locked {
                    path: directory.to_owned(),
                    holder: Some(holder.trim().to_owned()).filter(|holder| !holder.is_empty()),
                });
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Err(RunError::NoLocks {
                    path: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(RunError::writing(&path, error)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", holder()))
            .map_err(|error| RunError::writing(&path, error))?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name is for people; the lock itself ends with the file.
        let _ = self.file.set_len(0);
    }
}

/// Process and machine.
fn holder() -> String {
    let process = std::process::id();
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("process {process} on {}", host.trim()),
        Err(_) => format!("process {process}"),
    }
}
