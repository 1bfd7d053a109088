//! Files with one record a line, appended and never rewritten.

use super::{RunError, STATE_FILE, write::open_in_place};
use crate::files::open;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Content of a line of a log.
pub trait Record: Serialize + DeserializeOwned {
    /// Optimiser steps done when it was made.
    fn step(&self) -> u64;
}

/// Length and checksum of a log when a state was saved.
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
    lines: Lines<R>,
}

impl<R: Record> Log<R> {
    /// Opens or creates the log of a run that goes on from a state: what was recorded after `step`,
    /// the state's, is cut off, and so is a last line that a crash has torn. What came before has
    /// to be what the state's mark says or, if there is no mark, as in what an earlier version has
    /// saved, the steps `due`.
    ///
    /// # Errors
    /// [`RunError::Damaged`] if a line before the last is no record; [`RunError::Disagree`] if the
    /// log is not the one that the state was saved with; errors of reading and writing.
    pub fn open_at(
        path: &Path,
        step: u64,
        mark: Option<&LogMark>,
        mut due: impl Iterator<Item = u64>,
    ) -> Result<Self, RunError> {
        let mut file = open_in_place(path)?;
        let mut length = u64::MAX;
        if let Some(mark) = mark {
            length = mark.bytes;
            let (digest, found) = sha256(path, (&file).take(length))?;
            if found < length {
                return Err(disagrees(path, format!("it does not reach step {step}")));
            }
            if digest.finalize()[..] != mark.sha256 {
                let reason = format!("what it says up to step {step} was changed");
                return Err(disagrees(path, reason));
            }
            file.rewind()
                .map_err(|error| RunError::reading(path, error))?;
        }
        let lines: Lines<R> = Lines::read(path, &mut (&file).take(length), step)?;
        let mut steps = lines.records.iter().map(R::step);
        if let Some(due) = due.find(|&due| steps.next() != Some(due)) {
            return Err(disagrees(path, format!("it has no record of step {due}")));
        }
        let mut log = Self {
            file,
            path: path.to_owned(),
            lines,
        };
        log.cut_to_whole_lines()?;
        Ok(log)
    }

    /// All records in the file.
    pub fn records(&self) -> &[R] {
        &self.lines.records
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
        self.lines.push(record, line.as_bytes());
        Ok(())
    }

    /// Length and checksum of the log now.
    pub fn mark(&self) -> LogMark {
        LogMark {
            bytes: self.lines.length,
            sha256: self.lines.digest.clone().finalize().into(),
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

    fn cut_to_whole_lines(&mut self) -> Result<(), RunError> {
        let length = self.lines.length;
        self.file
            .set_len(length)
            .and_then(|()| self.file.seek(SeekFrom::Start(length)))
            .map_err(|error| RunError::writing(&self.path, error))?;
        Ok(())
    }
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
    match open(path) {
        Ok(mut file) => {
            let lines = Lines::read(path, &mut file, u64::MAX)?;
            Ok((lines.records, lines.all.finalize().into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok((Vec::new(), Sha256::digest([]).into()))
        }
        Err(error) => Err(RunError::reading(path, error)),
    }
}

/// SHA-256 and length of what is left of a file.
fn sha256(path: &Path, mut source: impl Read) -> Result<(Sha256, u64), RunError> {
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut buffer = [0; 1 << 14];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((digest, length)),
            Ok(read) => {
                digest.update(&buffer[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(RunError::reading(path, error)),
        }
    }
}

fn to_line(record: &impl Record) -> String {
    let mut line = serde_json::to_string(record).expect("plain data becomes JSON");
    line.push('\n');
    line
}

/// A longer line is no record.
const LONGEST_LINE: u64 = 1 << 26;

/// The whole lines of a log.
#[derive(Debug)]
struct Lines<R> {
    records: Vec<R>,
    /// Bytes of the lines of these records, with which the file begins.
    length: u64,
    /// SHA-256 of these lines.
    digest: Sha256,
    /// SHA-256 of everything that was read.
    all: Sha256,
}

impl<R: Record> Lines<R> {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            length: 0,
            digest: Sha256::new(),
            all: Sha256::new(),
        }
    }

    /// Reads a file line by line and keeps the records of steps up to `end`. The last line may be
    /// torn: without its line break, or (after a power failure) with garbage in it. Steps increase
    /// from line to line.
    fn read(path: &Path, source: &mut dyn Read, end: u64) -> Result<Self, RunError> {
        let mut lines = Self::new();
        let mut last = None;
        let mut reader = BufReader::new(source);
        let mut line = Vec::new();
        let mut wrong = None;
        for number in 1.. {
            line.clear();
            let read = reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line);
            if read.map_err(|error| RunError::reading(path, error))? == 0 {
                break;
            }
            let damaged = |line: usize, reason: String| RunError::Damaged {
                path: path.to_owned(),
                line,
                reason,
            };
            if let Some(reason) = wrong {
                return Err(damaged(number - 1, reason));
            }
            lines.all.update(&line);
            let text = str::from_utf8(&line).map_err(|error| error.to_string());
            let record = text.and_then(|text| {
                serde_json::from_str::<R>(text).map_err(|error| error.to_string())
            });
            match record {
                Ok(record) if line.ends_with(b"\n") => {
                    let step = record.step();
                    if let Some(last) = last.replace(step).filter(|last| *last >= step) {
                        return Err(damaged(number, format!("step {step} after step {last}")));
                    }
                    if step <= end {
                        lines.push(record, &line);
                    }
                }
                Ok(_) => {}
                Err(reason) => wrong = Some(reason),
            }
        }
        Ok(lines)
    }

    fn push(&mut self, record: R, line: &[u8]) {
        self.length += line.len() as u64;
        self.digest.update(line);
        self.records.push(record);
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::MetricsRecord;

    #[test]
    fn a_full_disk_is_reported_as_such_and_the_record_is_not_counted() {
        let path = Path::new("/dev/full");
        let mut log = Log {
            file: File::options().write(true).open(path).expect("the device"),
            path: path.to_owned(),
            lines: Lines::new(),
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
