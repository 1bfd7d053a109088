//! The state of a training on disk: one file from which it goes on bit for bit.
//!
//! | bytes | content                                     |
//! |-------|---------------------------------------------|
//! | 8     | `HCSTATE` and a line break                  |
//! | 4     | version, little endian                      |
//! | 8     | length of the payload, little endian        |
//! | 32    | SHA-256 of version, length and payload      |
//! | rest  | the payload, [`TrainState`] in bincode      |
//!
//! Version 1, which is still read, has the SHA-256 of the payload alone, and no `logs` in it.
//!
//! The file is written whole under another name and renamed; the one before it is kept, and used if
//! this one is damaged. A damaged file never takes the place of the one before it. Nothing in a
//! file is believed before its length and checksum are right, and no list in it is longer than the
//! file.

use crate::run_dir::{LogMark, Replacement, RunError, STATE_MAGIC};
use nn::guard::Guard;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

pub use crate::run_dir::{PREVIOUS_STATE_FILE, STATE_FILE};

const VERSION: u32 = 2;
/// The version whose checksum is of the payload alone.
const WITHOUT_LOGS: u32 = 1;
const HEADER: usize = STATE_MAGIC.len() + 4 + 8 + 32;

/// Everything that the next step of a training depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Digest of configuration, data and network.
    pub identity: [u8; 32],
    /// Steps done.
    pub step: u64,
    /// Updates of the optimiser.
    pub updates: u64,
    /// Wall time so far in seconds.
    pub seconds: f64,
    /// Record of the gradients of the first steps.
    pub guard: Guard,
    /// The parameter slab.
    pub params: Vec<f32>,
    /// The first moments, laid out as the slab.
    pub first_moment: Vec<f32>,
    /// The second moments.
    pub second_moment: Vec<f32>,
    /// Marks of the logs; `None` in the state of an earlier version.
    pub logs: Option<Logs>,
}

/// Marks of the logs of a run when its state was saved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logs {
    /// `metrics.jsonl`.
    pub metrics: LogMark,
    /// `coefficients.jsonl`, if the run records them.
    pub coefficients: Option<LogMark>,
}

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The operating system refused to read or write.
    #[error(transparent)]
    Io(#[from] RunError),
    /// The file does not begin as a state does.
    #[error("{path} is not a saved state of this program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A version that this program does not know.
    #[error(
        "{path} has version {version}, this program writes version {VERSION}: use the program that \
         wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Version of the file.
        version: u32,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{path} is cut off or has been appended to: {found} bytes follow its header, which announces \
         {expected}"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes after the header.
        found: u64,
    },
    /// The content is not what was written.
    #[error("{path} is damaged: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Kind of damage.
        reason: String,
    },
    /// A sound state, but of another configuration, corpus or program.
    #[error(
        "the saved state belongs to another configuration, corpus or version of this program \
         (docs/data.md says which folders earlier versions split differently): choose another \
         output directory, or start afresh"
    )]
    OtherRun,
}

impl StateError {
    /// Returns whether the file is not what was written, so that the one before it may be used.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Foreign { .. } | Self::Length { .. } | Self::Corrupt { .. }
        )
    }
}

/// A state that was found.
#[derive(Debug)]
pub struct Found {
    /// The state.
    pub state: TrainState,
    /// Error of the newest file, if the one before it had to be taken.
    pub fallback: Option<StateError>,
}

/// Saves a state in a directory, keeping the one before it if that is sound.
///
/// # Errors
/// [`StateError::Io`]; what was there before is still there then.
pub fn save(directory: &Path, state: &TrainState) -> Result<(), StateError> {
    let path = directory.join(STATE_FILE);
    let replacement = Replacement::write(&path, &to_bytes(state))?;
    let previous = fs::read(&path);
    if previous.is_ok_and(|bytes| payload_of(&path, &bytes).is_ok()) {
        fs::rename(&path, directory.join(PREVIOUS_STATE_FILE))
            .map_err(|error| RunError::writing(&path, error))?;
    }
    Ok(replacement.put()?)
}

/// The newest sound state in a directory; `None` if there is no state at all.
///
/// # Errors
/// The error of the newest file, if it is not damaged (it cannot be read, or is of another
/// version of the program) or the one before it is no better.
pub fn load(directory: &Path) -> Result<Option<Found>, StateError> {
    let damage = match read(&directory.join(STATE_FILE)) {
        Ok(Some(state)) => {
            return Ok(Some(Found {
                state,
                fallback: None,
            }));
        }
        Ok(None) => None,
        Err(error) if error.is_damage() => Some(error),
        Err(error) => return Err(error),
    };
    match (read(&directory.join(PREVIOUS_STATE_FILE)), damage) {
        (Ok(Some(state)), fallback) => Ok(Some(Found { state, fallback })),
        (_, Some(damage)) => Err(damage),
        (Err(error), None) => Err(error),
        (Ok(None), None) => Ok(None),
    }
}

/// Reads one file; `None` if there is none.
fn read(path: &Path) -> Result<Option<TrainState>, StateError> {
    let bytes = match fs::metadata(path) {
        Ok(file) if !file.is_file() => return Err(StateError::Foreign { path: path.into() }),
        Ok(_) => fs::read(path),
        Err(error) => Err(error),
    };
    match bytes {
        Ok(bytes) => from_bytes(path, &bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::reading(path, error).into()),
    }
}

fn to_bytes(state: &TrainState) -> Vec<u8> {
    let payload = bincode::serde::encode_to_vec(state, bincode::config::standard())
        .expect("plain data is encoded");
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(STATE_MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(checksum(VERSION, &payload));
    bytes.extend(payload);
    bytes
}

fn checksum(version: u32, payload: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    if version != WITHOUT_LOGS {
        hash.update(version.to_le_bytes());
        hash.update((payload.len() as u64).to_le_bytes());
    }
    hash.update(payload);
    hash.finalize().into()
}

/// Version and payload of a file whose length and checksum are right.
fn payload_of<'b>(path: &Path, bytes: &'b [u8]) -> Result<(u32, &'b [u8]), StateError> {
    let path = || path.to_owned();
    let corrupt = |reason: String| StateError::Corrupt {
        path: path(),
        reason,
    };
    if !bytes.starts_with(&STATE_MAGIC[..bytes.len().min(STATE_MAGIC.len())]) || bytes.is_empty() {
        return Err(StateError::Foreign { path: path() });
    }
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
        return Err(corrupt(format!(
            "it has {} bytes, less than its header of {HEADER}",
            bytes.len()
        )));
    };
    let (version, rest) = header[STATE_MAGIC.len()..].split_at(4);
    let (length, sum) = rest.split_at(8);
    let version = u32::from_le_bytes(version.try_into().expect("4 bytes"));
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
    if length != payload.len() as u64 {
        return Err(StateError::Length {
            path: path(),
            expected: length,
            found: payload.len() as u64,
        });
    }
    if checksum(version, payload) != *sum {
        let unknown = match version {
            WITHOUT_LOGS | VERSION => String::new(),
            _ => format!(", or version {version} has another one"),
        };
        return Err(corrupt(format!(
            "its checksum does not fit its content{unknown}"
        )));
    }
    match version {
        WITHOUT_LOGS | VERSION => Ok((version, payload)),
        _ => Err(StateError::Version {
            path: path(),
            version,
        }),
    }
}

fn from_bytes(path: &Path, bytes: &[u8]) -> Result<TrainState, StateError> {
    let (version, payload) = payload_of(path, bytes)?;
    let corrupt = |reason: String| StateError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let whole = match version {
        // An option that is not there.
        WITHOUT_LOGS => Cow::Owned([payload, &[0]].concat()),
        _ => Cow::Borrowed(payload),
    };
    // Lists grow as their elements are read, whatever length they announce: serde
    // reserves a mebibyte at most in advance.
    let (state, read) = bincode::serde::decode_from_slice(&whole, bincode::config::standard())
        .map_err(|error| corrupt(error.to_string()))?;
    if read != whole.len() {
        return Err(corrupt(format!(
            "{} bytes follow its content",
            whole.len() - read
        )));
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(payload: &[u8]) -> Vec<u8> {
        let mut bytes = STATE_MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(checksum(VERSION, payload));
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_list_that_announces_more_than_the_file_holds_is_refused() {
        // Identity, step, updates, seconds, the guard's steps and learning rates, then
        // the length of a list.
        let mut payload = vec![0; 32 + 1 + 1 + 8 + 1 + 8];
        payload.push(253);
        payload.extend(u64::MAX.to_le_bytes());
        payload.extend([1; 100]);
        let error = from_bytes(Path::new("state.bin"), &file_with(&payload)).unwrap_err();
        assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn a_payload_with_something_behind_it_is_refused() {
        let mut payload = vec![0; 32 + 1 + 1 + 8 + 1 + 8 + 5 + 1];
        let read = |payload: &[u8]| from_bytes(Path::new("state.bin"), &file_with(payload));
        assert!(read(&payload).is_ok());
        payload.push(0);
        let error = read(&payload).unwrap_err().to_string();
        assert!(error.contains("1 bytes follow"), "{error}");
    }

    #[test]
    fn a_state_of_version_1_is_read_and_has_no_logs() {
        let payload = [0; 32 + 1 + 1 + 8 + 1 + 8 + 5];
        let mut bytes = STATE_MAGIC.to_vec();
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend((payload.len() as u64).to_le_bytes());
        bytes.extend(Sha256::digest(payload));
        bytes.extend(payload);
        let state = from_bytes(Path::new("state.bin"), &bytes).expect("version 1");
        assert_eq!(state.logs, None);
        bytes[STATE_MAGIC.len()] = 2;
        let error = from_bytes(Path::new("state.bin"), &bytes).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }

    #[test]
    fn a_later_version_is_no_damage() {
        let mut bytes = STATE_MAGIC.to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(4_u64.to_le_bytes());
        bytes.extend(checksum(3, b"new!"));
        bytes.extend(b"new!");
        let error = from_bytes(Path::new("state.bin"), &bytes).unwrap_err();
        assert!(
            matches!(error, StateError::Version { version: 3, .. }),
            "{error}"
        );
        assert!(!error.is_damage());
    }
}
