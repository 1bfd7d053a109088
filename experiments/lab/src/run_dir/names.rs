//! Names of the directory of a run and of the files in it.

use super::RunError;
use std::{
    fs,
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
/// Name of the file with the loss of every validation unit after the last step.
pub const VALIDATION_FILE: &str = "validation.csv";
/// Name of the file with the results of the probes after the last step.
pub const PROBES_FILE: &str = "probes.json";
/// Name of the file with what a run was warned of, a line each.
pub const WARNINGS_FILE: &str = "warnings.txt";

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
