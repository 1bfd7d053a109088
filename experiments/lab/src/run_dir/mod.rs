//! The files of one run: `<root>/<sweep>/<arm>/seed<k>/`.
//!
//! | file            | content                                                        |
//! |-----------------|----------------------------------------------------------------|
//! | `config.toml`   | the resolved configuration, every default explicit             |
//! | `command.txt`   | the command line                                               |
//! | `env.json`      | code version, compiler, CPU, threads, crate versions           |
//! | `metrics.jsonl` | one [`MetricsRecord`] a line, appended and never rewritten     |
//! | `coefficients.jsonl` | one [`CoefficientRecord`] a line, if `train.record_every` is set |
//! | `events.out.tfevents.*` | the metrics for TensorBoard, if `train.tensorboard` is set |
//! | `state.bin`     | what a run goes on from ([`TrainState`](crate::state::TrainState)) |
//! | `model.safetensors` | the weights, when it has ended or was stopped             |
//! | `summary.json`  | how it ended ([`Summary`]); its absence means it has not       |
//! | `validation.csv` | loss of every validation window or image after the last step   |
//! | `probes.json`   | results of the [probes](crate::probes) after the last step       |
//! | `warnings.txt`  | what it was warned of, a line each                             |
//! | `.lock`         | held by the process that writes here                           |
//!
//! Whole files are written under a temporary name, synced and renamed, so a reader sees the old
//! content or the new. State, weights, probes and summary carry checksums, the state those of the logs too.
//! Reports are made from these files alone.

mod contents;
mod environment;
mod error;
mod event_log;
mod event_record;
mod lock;
mod log;
mod metrics;
mod names;
mod probes;
mod seal;
mod summary;
mod validation;
mod write;

pub use contents::{check_config, read_warnings};
pub use environment::{Build, Environment, Git, version_of};
pub use error::RunError;
pub use event_log::{EVENTS_FILE, EventLog};
pub use log::{Log, LogMark, Record};
pub use metrics::{
    CoefficientLog, CoefficientRecord, LossByNoiseLevel, MetricsLog, MetricsRecord, NOISE_LEVELS,
    read_coefficients, read_metrics,
};
pub(crate) use names::STATE_MAGIC;
pub use names::{
    COEFFICIENTS_FILE, COMMAND_FILE, CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE,
    PREVIOUS_STATE_FILE, PROBES_FILE, RunId, STATE_FILE, SUMMARY_FILE, SWEEP_FILE, VALIDATION_FILE,
    WARNINGS_FILE, WEIGHTS_FILE,
};
pub use probes::{ProbeScores, read_probes};
pub use summary::{Ended, RouterSummary, Status, Summary, read_summary};
pub use validation::{UnitScore, ValidationUnits};
pub(crate) use write::Replacement;
pub use write::{remove_stale, write_atomically};

pub use lock::Lock;
use log::read_log;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A run directory that this process alone writes to, until the value is dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: Lock,
}

impl RunDir {
    /// Creates the directory if need be and locks it. What a killed process has left of
    /// unfinished files is removed.
    ///
    /// # Errors
    /// [`RunError::Locked`] if a living process holds it; [`RunError::NotARun`] if it holds a file
    /// of something else under the name of one of a run's; [`RunError::Unwritable`] or
    /// [`RunError::DiskFull`] if it cannot be created.
    pub fn open(run: &RunId) -> Result<Self, RunError> {
        let path = run.path.clone();
        contents::check_free(&path)?;
        fs::create_dir_all(&path).map_err(|error| RunError::writing(&path, error))?;
        let lock = Lock::take(&path)?;
        remove_stale(&path)?;
        Ok(Self { path, lock })
    }

    /// As [`RunDir::open`], but removes the files of an earlier attempt, so that the run starts
    /// afresh. Files of other names and directories stay.
    ///
    /// # Errors
    /// As [`RunDir::open`], and [`RunError::NotARun`] if the directory is neither a run nor empty.
    pub fn open_afresh(run: &RunId) -> Result<Self, RunError> {
        contents::check_removable(&run.path)?;
        let directory = Self::open(run)?;
        contents::clear(&run.path)?;
        Ok(directory)
    }

    /// Checks that this process still holds the lock. What writes to files of the run by itself
    /// asks before.
    ///
    /// # Errors
    /// [`RunError::LockLost`] if the lock file or the directory was moved or replaced, and another
    /// process can have taken the run.
    pub fn check_lock(&self) -> Result<(), RunError> {
        self.lock.check()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the resolved configuration or, if there is one from before, checks that it is the
    /// same.
    ///
    /// # Errors
    /// [`RunError::ConfigMismatch`] naming the first key that differs; [`RunError::Damaged`] if
    /// the stored file is not TOML; errors of reading and writing.
    pub fn set_config(&self, config: &toml::Table) -> Result<(), RunError> {
        if check_config(&self.path, config)? {
            return Ok(());
        }
        self.write(CONFIG_FILE, config.to_string().as_bytes())
    }

    /// Writes the command line, quoted for a POSIX shell. The program is named without its
    /// directory.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_command(&self, args: &[String]) -> Result<(), RunError> {
        let mut line = crate::invocation::shell_line(args);
        line.push('\n');
        self.write(COMMAND_FILE, line.as_bytes())
    }

    /// Writes the environment.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_environment(&self, environment: &Environment) -> Result<(), RunError> {
        let mut text = serde_json::to_string_pretty(environment).expect("plain data becomes JSON");
        text.push('\n');
        self.write(ENVIRONMENT_FILE, text.as_bytes())
    }

    /// Writes the results on every validation unit, a window or an image, with the file that it is
    /// from.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_validation(&self, sources: &[String], scores: &[UnitScore]) -> Result<(), RunError> {
        let text = validation::to_csv(sources, scores);
        self.write(VALIDATION_FILE, text.as_bytes())
    }

    /// Writes the results of the probes. Nothing else of the run depends on them.
    ///
    /// # Errors
    /// Errors of writing, and of reading the metrics.
    pub fn set_probes(&self, probes: &[ProbeScores]) -> Result<(), RunError> {
        let text = probes::to_json(&self.path, probes)?;
        self.write(PROBES_FILE, text.as_bytes())
    }

    /// Writes the summary, with checksums of the metrics, of the results on the validation units, if
    /// they were written, and of itself.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_summary(&self, summary: &Summary) -> Result<(), RunError> {
        let (_, metrics) = read_log::<MetricsRecord>(&self.path.join(METRICS_FILE))?;
        let units = match summary.status {
            Status::Ok => validation::read(&self.path)?.map(|(_, sum)| sum),
            Status::Diverged | Status::Interrupted => None,
        };
        let text = summary::to_json(summary, &metrics, units);
        self.write(SUMMARY_FILE, text.as_bytes())
    }

    /// The summary, if the run has ended before.
    ///
    /// # Errors
    /// As [`read_summary`].
    pub fn summary(&self) -> Result<Option<Summary>, RunError> {
        read_summary(&self.path)
    }

    /// Replaces a file of the run as [`write_atomically`] does.
    ///
    /// # Errors
    /// Errors of writing, and [`RunError::LockLost`].
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), RunError> {
        self.check_lock()?;
        write_atomically(&self.path.join(name), content)
    }
}

/// Returns whether a directory is one run, or a sweep that has written its results.
pub fn is_run_directory(path: &Path) -> bool {
    let has = |name: &str| path.join(name).is_file();
    contents::is_run(path) || has(SWEEP_FILE) && has("results.json")
}
