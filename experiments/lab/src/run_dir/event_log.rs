//! Event files that TensorBoard reads, written while a run trains.

use super::{
    METRICS_FILE, MetricsRecord, RunError,
    event_record::{framed, kept, scalars, version},
    write::open_in_place,
    write_atomically,
};
use crate::files::read_bytes;
use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Name of the event file: TensorBoard looks for `tfevents` in it.
pub const EVENTS_FILE: &str = "events.out.tfevents.0.experiments";

/// The event file of a run, open for appending.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    path: PathBuf,
    damaged: usize,
}

impl EventLog {
    /// Opens or creates the event file in a run directory, and leaves out what is torn, damaged or
    /// of steps after `step`: what the run did after the state that it goes on from, and will do
    /// again. A file that has lost every step is made anew from the metrics.
    ///
    /// # Errors
    /// [`RunError::Unreadable`], [`RunError::Unwritable`] or [`RunError::DiskFull`].
    pub fn open(directory: &Path, step: u64, recorded: &[MetricsRecord]) -> Result<Self, RunError> {
        let path = directory.join(EVENTS_FILE);
        let mut file = open_in_place(&path)?;
        let read = read_bytes(&mut file);
        let bytes = read.map_err(|error| RunError::reading(&path, error))?;
        let kept = kept(&bytes, step);
        if !bytes.starts_with(&kept.bytes) {
            write_atomically(&path, &kept.bytes)?;
            file = open_in_place(&path)?;
        }
        let length = kept.bytes.len() as u64;
        let cut = file
            .set_len(length)
            .and_then(|()| file.seek(SeekFrom::Start(length)));
        cut.map_err(|error| RunError::writing(&path, error))?;
        let damaged = kept.damaged;
        let mut log = Self {
            file,
            path,
            damaged,
        };
        if length == 0 {
            log.write(&framed(&version(now())))?;
            recorded.iter().try_for_each(|record| log.append(record))?;
        }
        Ok(log)
    }

    /// Returns a sentence on what was damaged and left out.
    pub fn damage(&self) -> Option<String> {
        let Self { path, damaged, .. } = self;
        (*damaged > 0).then(|| {
            format!(
                "{}: {damaged} bytes of damaged records were left out, what is around them was \
                 kept; {METRICS_FILE} has all of it",
                path.display()
            )
        })
    }

    /// Appends one record as scalars: `loss/train`, `loss/validation`, `accuracy/validation`,
    /// `learning_rate`, `gradient_norm` and `ms_per_step`.
    ///
    /// # Errors
    /// [`RunError::Unwritable`] or [`RunError::DiskFull`].
    pub fn append(&mut self, record: &MetricsRecord) -> Result<(), RunError> {
        let values = [
            ("loss/train", Some(record.train_loss)),
            ("loss/validation", record.val_loss),
            ("accuracy/validation", record.val_accuracy),
            ("learning_rate", Some(record.lr)),
            ("gradient_norm", Some(record.grad_norm)),
            ("ms_per_step", Some(record.ms)),
        ];
        let known = values
            .iter()
            .filter_map(|(tag, value)| Some((*tag, (*value)?)));
        let event = scalars(now(), record.step, known);
        self.write(&framed(&event))
    }

    /// In one call, so that a reader sees whole records.
    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| RunError::writing(&self.path, error))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> MetricsRecord {
        MetricsRecord {
            step,
            tokens: step,
            train_loss: 2.0,
            val_loss: None,
            val_accuracy: None,
            val_loss_by_noise_level: None,
            lr: 1e-3,
            grad_norm: 1.0,
            ms: 5.0,
        }
    }

    #[test]
    fn a_run_that_goes_on_writes_no_step_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(EVENTS_FILE);
        let mut log = EventLog::open(directory.path(), 0, &[]).expect("a new file");
        log.append(&record(10)).expect("space");
        let until_10 = std::fs::read(&path).expect("the file");
        log.append(&record(20)).expect("space");
        let until_20 = std::fs::read(&path).expect("the file");
        drop(log);
        // Killed in the middle of a record.
        std::fs::write(&path, [&until_20[..], &until_20[..7]].concat()).expect("space");
        drop(EventLog::open(directory.path(), 20, &[]).expect("the same file"));
        assert_eq!(std::fs::read(&path).expect("the file"), until_20);
        // Going on from a state at step 15.
        drop(EventLog::open(directory.path(), 15, &[]).expect("the same file"));
        assert_eq!(std::fs::read(&path).expect("the file"), until_10);
        // Started afresh: nothing but the version is left.
        drop(EventLog::open(directory.path(), 0, &[]).expect("the same file"));
        assert!(std::fs::read(&path).expect("the file").len() < until_10.len());
    }

    #[test]
    fn a_lost_file_is_made_anew_from_the_metrics() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(EVENTS_FILE);
        let recorded = [record(10), record(20)];
        let made = || {
            drop(EventLog::open(directory.path(), 20, &recorded).expect("space"));
            std::fs::read(&path).expect("the file")
        };
        let whole = made();
        assert!(kept(&whole, 10).bytes.len() < kept(&whole, 20).bytes.len());
        // What is there is not written twice.
        assert_eq!(made(), whole);
        std::fs::write(&path, &whole[..30]).expect("space");
        assert_eq!(made().len(), whole.len());
    }

    #[test]
    fn a_damaged_record_alone_is_lost_and_it_is_said() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(EVENTS_FILE);
        let mut log = EventLog::open(directory.path(), 0, &[]).expect("a new file");
        let mut ends = Vec::new();
        for step in [10, 20, 30] {
            log.append(&record(step)).expect("space");
            ends.push(std::fs::metadata(&path).expect("the file").len() as usize);
        }
        assert_eq!(log.damage(), None);
        let mut bytes = std::fs::read(&path).expect("the file");
        bytes[ends[0] + 30] ^= 4;
        std::fs::write(&path, &bytes).expect("space");
        let mut log = EventLog::open(directory.path(), 30, &[]).expect("the same file");
        let damage = log.damage().expect("one record");
        let lost = ends[1] - ends[0];
        assert!(damage.contains(&format!("{lost} bytes")), "{damage}");
        let kept = [&bytes[..ends[0]], &bytes[ends[1]..]].concat();
        assert_eq!(std::fs::read(&path).expect("the file"), kept);
        log.append(&record(40)).expect("space");
        assert!(std::fs::read(&path).expect("the file").starts_with(&kept));
        assert_eq!(
            EventLog::open(directory.path(), 40, &[])
                .expect("the same file")
                .damage(),
            None
        );
    }
}
