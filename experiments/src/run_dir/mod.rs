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
//! content or the new. Reports are made from these files alone.

mod coefficients;
mod config;
mod environment;
mod error;
mod event_log;
mod lock;
mod log;
mod metrics;
mod summary;
mod write;

pub use coefficients::{CoefficientLog, CoefficientRecord, read_coefficients};
pub use config::{shell_line, shell_word};
pub use environment::{Environment, Git};
pub use error::RunError;
pub use event_log::{EVENTS_FILE, EventLog};
pub use log::{Log, Record};
pub use metrics::{LossByNoiseLevel, MetricsLog, MetricsRecord, NOISE_LEVELS, read_metrics};
pub use summary::{RouterSummary, Status, Summary, read_summary};
pub use write::write_atomically;

use lock::Lock;
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
/// Name of the summary file.
pub const SUMMARY_FILE: &str = "summary.json";

/// Name of the file with what a run was warned of, a line each.
pub const WARNINGS_FILE: &str = "warnings.txt";

/// What a run was warned of.
pub fn read_warnings(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join(WARNINGS_FILE)).unwrap_or_default();
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
    _lock: Lock,
}

impl RunDir {
    /// Creates the directory if need be and locks it.
    ///
    /// # Errors
    /// [`RunError::Locked`] if a living process holds it; [`RunError::Unwritable`] or
    /// [`RunError::DiskFull`] if it cannot be created.
    pub fn open(run: &RunId) -> Result<Self, RunError> {
        fs::create_dir_all(&run.path).map_err(|error| RunError::writing(&run.path, error))?;
        let lock = Lock::take(&run.path)?;
        Ok(Self {
            path: run.path.clone(),
            _lock: lock,
        })
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
        let path = self.path.join(CONFIG_FILE);
        match read_if_there(&path)? {
            Some(stored) => config::check_same(&path, &stored, config),
            None => write_atomically(&path, config.to_string().as_bytes()),
        }
    }

    /// Writes the command line, quoted for a POSIX shell. The program is named without its
    /// directory.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_command(&self, args: &[String]) -> Result<(), RunError> {
        let mut line = shell_line(args);
        line.push('\n');
        write_atomically(&self.path.join(COMMAND_FILE), line.as_bytes())
    }

    /// Writes the environment.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_environment(&self, environment: &Environment) -> Result<(), RunError> {
        self.write_json(ENVIRONMENT_FILE, environment)
    }

    /// Opens the metrics for appending; see [`Log::open`].
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn metrics(&self) -> Result<MetricsLog, RunError> {
        Log::open(&self.path.join(METRICS_FILE))
    }

    /// Opens the recorded coefficients for appending; see [`Log::open`].
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn coefficients(&self) -> Result<CoefficientLog, RunError> {
        Log::open(&self.path.join(COEFFICIENTS_FILE))
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn set_summary(&self, summary: &Summary) -> Result<(), RunError> {
        self.write_json(SUMMARY_FILE, summary)
    }

    /// The summary, if the run has ended before.
    ///
    /// # Errors
    /// As [`read_summary`].
    pub fn summary(&self) -> Result<Option<Summary>, RunError> {
        read_summary(&self.path)
    }

    /// Removes everything of an earlier attempt, so that the run starts afresh.
    ///
    /// # Errors
    /// [`RunError::Unwritable`] if something cannot be removed.
    pub fn clear(&self) -> Result<(), RunError> {
        let entries =
            fs::read_dir(&self.path).map_err(|error| RunError::reading(&self.path, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| RunError::reading(&self.path, error))?;
            if entry.file_name() == lock::LOCK_FILE {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type();
            let removed = kind.and_then(|kind| {
                if kind.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                }
            });
            removed.map_err(|error| RunError::writing(&path, error))?;
        }
        Ok(())
    }

    fn write_json(&self, name: &str, value: &impl serde::Serialize) -> Result<(), RunError> {
        let mut text = serde_json::to_string_pretty(value).expect("plain data becomes JSON");
        text.push('\n');
        write_atomically(&self.path.join(name), text.as_bytes())
    }
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
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::reading(path, error)),
    }
}
