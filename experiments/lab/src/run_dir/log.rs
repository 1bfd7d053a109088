//! Files with one record a line, appended and never rewritten.

use super::{RunError, STATE_FILE, in_place::open_in_place};
use crate::files::{open, read_bytes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// What a line of a log holds.
pub trait Record: Serialize + DeserializeOwned {
    /// Optimiser steps done when it was made.
    fn step(&self) -> u64;
}

/// What a log held when a state was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogMark {
    bytes: u64,
    sha256: [u8; 32],
}

/// A log of a run, open for appending. Each record is handed to the operating system
/// as one line at once.
#[derive(Debug)]
pub struct Log<R> {
    file: File,
    path: PathBuf,
    records: Vec<R>,
    /// Where the line of each record ends in the file.
    ends: Vec<u64>,
    /// Of the whole lines.
    digest: Sha256,
}

impl<R: Record> Log<R> {
    /// Opens or creates the file. A last line that a crash has torn is cut off.
    ///
    /// # Errors
    /// [`RunError::Damaged`] if a line before the last is no record; errors of reading and
    /// writing.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let (file, bytes) = open_and_read(path)?;
        let parsed = parse(path, &bytes)?;
        Self::of(file, path, &bytes, parsed)
    }

    /// Opens the log of a run that goes on from a state: what was recorded after `step`, the
    /// state's, is cut off. What came before has to be what the state's mark says or, if there is
    /// no mark, as in what an earlier version has saved, the steps `due`.
    ///
    /// # Errors
    /// As [`Log::open`], and [`RunError::Disagree`] if the log is not the one that the state was
    /// saved with.
    pub fn open_at(
        path: &Path,
        step: u64,
        mark: Option<&LogMark>,
        mut due: impl Iterator<Item = u64>,
    ) -> Result<Self, RunError> {
        let (file, mut bytes) = open_and_read(path)?;
        if let Some(mark) = mark {
            let kept = usize::try_from(mark.bytes)
                .ok()
                .and_then(|end| bytes.get(..end));
            if kept.is_none_or(|kept| Sha256::digest(kept)[..] != mark.sha256) {
                let reason = match kept {
                    Some(_) => format!("what it says up to step {step} was changed"),
                    None => format!("it does not reach step {step}"),
                };
                return Err(disagrees(path, reason));
            }
            bytes.truncate(mark.bytes as usize);
        }
        let parsed: Parsed<R> = parse(path, &bytes)?;
        let mut steps = parsed.records.iter().map(R::step);
        if let Some(due) = due.find(|&due| steps.next() != Some(due)) {
            return Err(disagrees(path, format!("it has no record of step {due}")));
        }
        let mut log = Self::of(file, path, &bytes, parsed)?;
        log.rewind_to(step)?;
        Ok(log)
    }

    /// The whole lines of `bytes`, which the file begins with; whatever else is in it is cut off.
    fn of(file: File, path: &Path, bytes: &[u8], parsed: Parsed<R>) -> Result<Self, RunError> {
        let mut log = Self {
            file,
            path: path.to_owned(),
            records: parsed.records,
            ends: parsed.ends,
            digest: Sha256::new(),
        };
        log.digest.update(&bytes[..log.length() as usize]);
        log.cut_to_whole_lines()?;
        Ok(log)
    }

    /// All records in the file.
    pub fn records(&self) -> &[R] {
        &self.records
    }

    /// Appends one record. If that fails half-way, the file is cut back to whole lines.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Unwritable`].
    pub fn append(&mut self, record: R) -> Result<(), RunError> {
        let line = to_line(&record);
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // A torn line that cannot be cut off now is cut off by the next `open`.
            let _ = self.cut_to_whole_lines();
            return Err(RunError::writing(&self.path, error));
        }
        self.ends.push(self.length() + line.len() as u64);
        self.digest.update(&line);
        self.records.push(record);
        Ok(())
    }

    /// Drops the records of steps after `step`: what a run did after the checkpoint it resumes
    /// from, and will do again.
    ///
    /// # Errors
    /// [`RunError::Unwritable`].
    pub fn rewind_to(&mut self, step: u64) -> Result<(), RunError> {
        let keep = self.records.partition_point(|record| record.step() <= step);
        if keep == self.records.len() {
            return Ok(());
        }
        self.records.truncate(keep);
        self.ends.truncate(keep);
        self.cut_to_whole_lines()?;
        let mut bytes = Vec::new();
        self.file
            .rewind()
            .and_then(|()| self.file.read_to_end(&mut bytes))
            .map_err(|error| RunError::reading(&self.path, error))?;
        self.digest = Sha256::new_with_prefix(bytes);
        Ok(())
    }

    /// What the log holds now.
    pub fn mark(&self) -> LogMark {
        LogMark {
            bytes: self.length(),
            sha256: self.digest.clone().finalize().into(),
        }
    }

    /// Waits until everything appended is on the disk.
    ///
    /// # Errors
    /// [`RunError::DiskFull`] or [`RunError::Unwritable`].
    pub fn sync(&self) -> Result<(), RunError> {
        self.file
            .sync_data()
            .map_err(|error| RunError::writing(&self.path, error))
    }

    /// Bytes of whole lines.
    fn length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn cut_to_whole_lines(&mut self) -> Result<(), RunError> {
        let length = self.length();
        self.file
            .set_len(length)
            .and_then(|()| self.file.seek(SeekFrom::Start(length)))
            .map_err(|error| RunError::writing(&self.path, error))?;
        Ok(())
    }
}

fn open_and_read(path: &Path) -> Result<(File, Vec<u8>), RunError> {
    let mut file = open_in_place(path)?;
    let bytes = read_bytes(&mut file).map_err(|error| RunError::reading(path, error))?;
    Ok((file, bytes))
}

fn disagrees(path: &Path, reason: String) -> RunError {
    RunError::Disagree {
        path: path.to_owned(),
        other: STATE_FILE,
        reason,
        advice: "put back a copy of it, or start the run afresh with --force",
    }
}

/// The records of a log and the SHA-256 of the file, without changing anything: also of one that
/// is being written to. None if there is no such file.
///
/// # Errors
/// [`RunError::Unreadable`], or [`RunError::Damaged`] if a line before the last is no record, or
/// steps are out of order.
pub(super) fn read_log<R: Record>(path: &Path) -> Result<(Vec<R>, [u8; 32]), RunError> {
    let read = open(path).and_then(|mut file| read_bytes(&mut file));
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(RunError::reading(path, error)),
    };
    Ok((parse(path, &bytes)?.records, Sha256::digest(&bytes).into()))
}

fn to_line(record: &impl Record) -> String {
    let mut line = serde_json::to_string(record).expect("plain data becomes JSON");
    line.push('\n');
    line
}

struct Parsed<R> {
    records: Vec<R>,
    ends: Vec<u64>,
}

/// Reads whole lines. The last line may be torn: without its line break, or (after a power
/// failure) with garbage in it. Steps increase from line to line.
fn parse<R: Record>(path: &Path, bytes: &[u8]) -> Result<Parsed<R>, RunError> {
    let mut parsed = Parsed {
        records: Vec::new(),
        ends: Vec::new(),
    };
    let mut end = 0;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let damaged = |reason: String| RunError::Damaged {
            path: path.to_owned(),
            line: index + 1,
            reason,
        };
        let is_last = index + 1 == lines.len();
        end += line.len() as u64;
        match serde_json::from_slice::<R>(line) {
            Ok(record) if line.ends_with(b"\n") => {
                if let Some(last) = parsed
                    .records
                    .last()
                    .filter(|l: &&R| l.step() >= record.step())
                {
                    let (step, last) = (record.step(), last.step());
                    return Err(damaged(format!("step {step} after step {last}")));
                }
                parsed.records.push(record);
                parsed.ends.push(end);
            }
            Err(error) if !is_last => return Err(damaged(error.to_string())),
            _ => {}
        }
    }
    Ok(parsed)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::run_dir::MetricsRecord;

    #[test]
    fn a_full_disk_is_reported_as_such_and_the_record_is_not_counted() {
        let path = Path::new("/dev/full");
        let mut log = Log {
            file: File::options().write(true).open(path).expect("the device"),
            path: path.to_owned(),
            records: Vec::new(),
            ends: Vec::new(),
            digest: Sha256::new(),
        };
        let record = MetricsRecord {
            step: 1,
            tokens: 1,
            train_loss: 1.0,
            val_loss: None,
            val_accuracy: None,
            val_loss_by_noise_level: None,
            lr: 1.0,
            grad_norm: 1.0,
            ms: 1.0,
        };
        let error = log.append(record).expect_err("a full disk");
        assert!(matches!(error, RunError::DiskFull { .. }), "{error}");
        assert_eq!(log.records(), []);
    }
}
