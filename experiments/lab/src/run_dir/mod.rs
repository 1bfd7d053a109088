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
//! | `warnings.txt`  | what it was warned of, a line each                             |
//! | `.lock`         | held by the process that writes here                           |
//!
//! Whole files are written under a temporary name, synced and renamed, so a reader sees the old
//! content or the new. State, weights and summary carry checksums, the state those of the logs too.
//! Reports are made from these files alone.

mod contents;
mod environment;
mod error;
mod event_log;
mod event_record;
mod lock;
mod log;
mod metrics;
mod summary;
mod write;

pub use contents::check_config;
pub use environment::{Build, Environment, Git, version_of};
pub use error::RunError;
pub use event_log::{EVENTS_FILE, EventLog};
pub use log::{Log, LogMark, Record};
pub use metrics::{
    CoefficientLog, CoefficientRecord, LossByNoiseLevel, MetricsLog, MetricsRecord, NOISE_LEVELS,
    read_coefficients, read_metrics,
};
pub use summary::{Ended, RouterSummary, Status, Summary, read_summary};
pub(crate) use write::Replacement;
pub use write::{remove_stale, write_atomically};

pub use lock::Lock;
use log::read_log;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Name of the configuration file.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the file with the command line.
pub const COMMAND_FILE: &str = "command.txt";
/// Name of the environment file.
pub const ENVIRONMENT_FILE: &str = "env.json";
/// Name of the metrics file.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// Name of the file with recorded coefficients.
pub const COEFFICIENTS_FILE: &str = "coefficients.jsonl";
/// Name of the file with the settings of a sweep.
pub const SWEEP_FILE: &str = "sweep.toml";
/// Name of the file with the state that a run goes on from.
pub const STATE_FILE: &str = "state.bin";
/// Name of the state file before it.
pub const PREVIOUS_STATE_FILE: &str = "state.previous.bin";
/// First bytes of a state file.
pub(crate) const STATE_MAGIC: &[u8; 8] = b"HCSTATE\n";
/// Name of the file with the weights of a run that has ended or was stopped.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the summary file.
pub const SUMMARY_FILE: &str = "summary.json";

/// Name of the file with what a run was warned of, a line each.
pub const WARNINGS_FILE: &str = "warnings.txt";

/// Warnings of a run.
pub fn read_warnings(directory: &Path) -> Vec<String> {
    let path = directory.join(WARNINGS_FILE);
    let text = crate::files::read_text(&path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Which run of a sweep: its arm, its seed, and where its files are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId {
    /// Name of the arm.
    pub arm: String,
    /// Seed.
    pub seed: u64,
    /// The run directory.
    pub path: PathBuf,
}

impl RunId {
    /// The run of `arm` and `seed` below `<root>/<sweep>`. Touches no file.
    ///
    /// # Errors
    /// [`RunError::BadName`] unless both names consist of ASCII letters, digits and `-_.+`, do
    /// not begin with a dot and have 1 to 100 characters.
    pub fn new(root: &Path, sweep: &str, arm: &str, seed: u64) -> Result<Self, RunError> {
        check_name(sweep)?;
        check_name(arm)?;
        Ok(Self {
            arm: arm.to_owned(),
            seed,
            path: root.join(sweep).join(arm).join(format!("seed{seed}")),
        })
    }

    /// All runs of a sweep directory, sorted by arm and seed.
    ///
    /// # Errors
    /// [`RunError::Unreadable`] if a directory cannot be listed.
    pub fn find_all(sweep: &Path) -> Result<Vec<Self>, RunError> {
        let mut runs = Vec::new();
        for (arm, arm_path) in subdirectories(sweep)? {
            if check_name(&arm).is_err() {
                continue;
            }
            for (name, path) in subdirectories(&arm_path)? {
                let seed = name.strip_prefix("seed").and_then(|seed| seed.parse().ok());
                if let Some(seed) = seed {
                    let arm = arm.clone();
                    runs.push(Self { arm, seed, path });
                }
            }
        }
        runs.sort();
        Ok(runs)
    }
}

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

    /// Writes the summary, with checksums of the metrics and of itself.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_summary(&self, summary: &Summary) -> Result<(), RunError> {
        let (_, metrics) = read_log::<MetricsRecord>(&self.path.join(METRICS_FILE))?;
        let text = summary::to_json(summary, &metrics);
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

fn check_name(name: &str) -> Result<(), RunError> {
    let good = (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
    if good {
        Ok(())
    } else {
        Err(RunError::BadName {
            name: name.to_owned(),
        })
    }
}

fn subdirectories(path: &Path) -> Result<Vec<(String, PathBuf)>, RunError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| RunError::reading(path, error))? {
        let path = entry
            .map_err(|error| RunError::reading(path, error))?
            .path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let (Some(name), true) = (name, path.is_dir()) {
            found.push((name.to_owned(), path));
        }
    }
    Ok(found)
}

fn read_if_there(path: &Path) -> Result<Option<String>, RunError> {
    match crate::files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::reading(path, error)),
    }
}
