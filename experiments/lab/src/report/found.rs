//! Finding runs and reading what they were made from.

use super::RecordedError;
use crate::{
    config::{Layers, RunConfig},
    files::read_text,
    run_dir::{CONFIG_FILE, RunId},
};
use std::{fs, path::Path};

/// Sections of a configuration that a report can do without.
const OTHER_SECTIONS: [&str; 2] = ["data", "optim"];

/// The runs of a sweep directory (`ARM/seedN`), of a folder of run directories (`ARM`), or the one
/// run whose directory it is.
///
/// # Errors
/// [`RecordedError::Run`] if it cannot be listed, [`RecordedError::NoRuns`].
pub fn runs_in(directory: &Path) -> Result<Vec<RunId>, RecordedError> {
    if let Some(run) = single_run(directory) {
        return Ok(vec![run]);
    }
    let mut runs = RunId::find_all(directory).map_err(RecordedError::Run)?;
    if runs.is_empty() {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        runs.extend(entries.filter_map(|entry| single_run(&entry.path())));
        runs.sort();
    }
    if runs.is_empty() {
        let path = directory.to_owned();
        return Err(RecordedError::NoRuns { path });
    }
    Ok(runs)
}

fn single_run(directory: &Path) -> Option<RunId> {
    if !directory.join(CONFIG_FILE).is_file() {
        return None;
    }
    let full = fs::canonicalize(directory).ok()?;
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let own = name(&full)?;
    let seed = own.strip_prefix("seed").and_then(|seed| seed.parse().ok());
    let (arm, seed) = match (seed, full.parent().and_then(name)) {
        (Some(seed), Some(arm)) => (arm, seed),
        _ => {
            let config = read_config(directory);
            (own, config.map_or(0, |read| read.config.train.seed))
        }
    };
    let path = directory.to_owned();
    Some(RunId { arm, seed, path })
}

/// A configuration that was read.
pub(super) struct ReadConfig {
    pub(super) config: RunConfig,
    /// Why parts of it were left out, if they were.
    pub(super) left_out: Option<String>,
}

/// The configuration of a run. One of another version of the program, with settings that this
/// one does not know, is read without the sections that decide no table.
pub(super) fn read_config(path: &Path) -> Result<ReadConfig, String> {
    let text = read_text(&path.join(CONFIG_FILE));
    let text = text.map_err(|error| format!("{CONFIG_FILE}: {error}"))?;
    let mut table: toml::Table = text
        .parse()
        .map_err(|_| format!("{CONFIG_FILE} is damaged: it is not TOML"))?;
    let whole = Layers::recorded(table.clone()).resolve();
    let error = match whole {
        Ok(config) => {
            let left_out = None;
            return Ok(ReadConfig { config, left_out });
        }
        Err(error) => error.to_string(),
    };
    OTHER_SECTIONS.iter().for_each(|section| {
        table.remove(*section);
    });
    let rest = Layers::recorded(table).resolve();
    let config = rest.map_err(|_| format!("{CONFIG_FILE}: {error}"))?;
    let left_out = Some(error);
    Ok(ReadConfig { config, left_out })
}
