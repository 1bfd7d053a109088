//! Files with one record a line, appended and never rewritten.

use super::{RunError, in_place::open_in_place};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// What a line of a log holds.
pub trait Record: Serialize + DeserializeOwned {
    /// Optimiser steps done when it was made.
    fn step(&self) -> u64;
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
}

impl<R: Record> Log<R> {
    /// Opens or creates the file. A last line that a crash has torn is cut off.
    ///
    /// # Errors
    /// [`RunError::Damaged`] if a line before the last is no record; errors of reading and
    /// writing.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let mut file = open_in_place(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| RunError::reading(path, error))?;
        let parsed = parse(path, &bytes)?;
        let mut log = Self {
            file,
            path: path.to_owned(),
            records: parsed.records,
            ends: parsed.ends,
        };
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
        self.records.truncate(keep);
        self.ends.truncate(keep);
        self.cut_to_whole_lines()
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

/// The records of a log, without changing anything: also of one that is being written to. None
/// if there is no such file.
///
/// # Errors
/// [`RunError::Unreadable`], or [`RunError::Damaged`] if a line before the last is no record.
pub(super) fn read_log<R: Record>(path: &Path) -> Result<Vec<R>, RunError> {
    match fs::read(path) {
        Ok(bytes) => Ok(parse(path, &bytes)?.records),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(RunError::reading(path, error)),
    }
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
/// failure) with garbage in it.
fn parse<R: Record>(path: &Path, bytes: &[u8]) -> Result<Parsed<R>, RunError> {
    let mut parsed = Parsed {
        records: Vec::new(),
        ends: Vec::new(),
    };
    let mut end = 0;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let is_last = index + 1 == lines.len();
        end += line.len() as u64;
        match serde_json::from_slice(line) {
            Ok(record) if line.ends_with(b"\n") => {
                parsed.records.push(record);
                parsed.ends.push(end);
            }
            Err(error) if !is_last => {
                return Err(RunError::Damaged {
                    path: path.to_owned(),
                    line: index + 1,
                    reason: error.to_string(),
                });
            }
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
