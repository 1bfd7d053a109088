//! What is in a run directory: what the program wrote there, and what it never touches.

use super::{
    COEFFICIENTS_FILE, COMMAND_FILE, CONFIG_FILE, ENVIRONMENT_FILE, EVENTS_FILE, Environment,
    METRICS_FILE, PREVIOUS_STATE_FILE, PROBES_FILE, RunError, STATE_FILE, STATE_MAGIC,
    SUMMARY_FILE, VALIDATION_FILE, WARNINGS_FILE, WEIGHTS_FILE, lock::LOCK_FILE, write::process_of,
};
use crate::{
    config::{Layers, RunConfig, current_names},
    files::{parse_toml, read_text},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};
use toml::{Table, Value};

/// Every file of a run but its lock, in the order in which they are removed: wherever that is
/// broken off, what is left is a run that goes on or begins again, and never one that has ended.
const RUN_FILES: [&str; 13] = [
    SUMMARY_FILE,
    VALIDATION_FILE,
    PROBES_FILE,
    STATE_FILE,
    PREVIOUS_STATE_FILE,
    WEIGHTS_FILE,
    METRICS_FILE,
    COEFFICIENTS_FILE,
    EVENTS_FILE,
    WARNINGS_FILE,
    COMMAND_FILE,
    ENVIRONMENT_FILE,
    CONFIG_FILE,
];

/// Checks that a run may be written to a directory: that no file of something else has the name
/// of one of its own. Other files may be there; they are left alone.
///
/// # Errors
/// [`RunError::NotARun`].
pub(super) fn check_free(directory: &Path) -> Result<(), RunError> {
    let taken = RUN_FILES
        .iter()
        .find(|name| is_there(&directory.join(name)));
    match taken {
        Some(entry) if !is_run(directory) => Err(not_a_run(directory, entry)),
        _ => Ok(()),
    }
}

/// Checks that a directory is a run, or empty, before anything in it is removed.
///
/// # Errors
/// [`RunError::NotARun`], or [`RunError::Unreadable`] if it cannot be listed.
pub(super) fn check_removable(directory: &Path) -> Result<(), RunError> {
    if is_run(directory) {
        return Ok(());
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(RunError::reading(directory, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| RunError::reading(directory, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != LOCK_FILE && process_of(&name).is_none() {
            return Err(not_a_run(directory, &name));
        }
    }
    Ok(())
}

/// Removes the files of a run. Whatever else is there stays: directories, links' targets, files
/// of other names.
///
/// # Errors
/// [`RunError::Unwritable`] if something cannot be removed.
pub(super) fn clear(directory: &Path) -> Result<(), RunError> {
    for name in RUN_FILES {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RunError::writing(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns whether the program has written a run there: a file that is there from its beginning, or
/// a saved state, has the content that this program gives it and nothing else does. A file of a few
/// settings is not enough.
pub(super) fn is_run(directory: &Path) -> bool {
    // Opening a pipe would wait for its other end.
    let file = |name: &str| Some(directory.join(name)).filter(|path| path.is_file());
    let text = |name: &str| read_text(&file(name)?).ok();
    let environment = || serde_json::from_str::<Environment>(&text(ENVIRONMENT_FILE)?).ok();
    let settings = || {
        let table = text(CONFIG_FILE)?.parse::<Table>().ok()?;
        let config = RunConfig::from_file(&directory.join(CONFIG_FILE)).ok()?;
        (config.to_table() == current_names(table)).then_some(())
    };
    let state = |name: &str| {
        let mut start = [0; STATE_MAGIC.len()];
        let opened = file(name).and_then(|path| File::open(path).ok());
        opened.is_some_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *STATE_MAGIC
    };
    environment().is_some()
        || settings().is_some()
        || state(STATE_FILE)
        || state(PREVIOUS_STATE_FILE)
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn not_a_run(directory: &Path, entry: &str) -> RunError {
    RunError::NotARun {
        path: directory.to_owned(),
        entry: entry.to_owned(),
    }
}

/// Checks that the configuration stored in a run directory equals the one wanted now; `false` if
/// there is none. Takes no lock and writes nothing.
///
/// # Errors
/// [`RunError::ConfigMismatch`] naming the first key that differs; [`RunError::Damaged`] if the
/// stored file is not TOML; [`RunError::Unreadable`].
pub fn check_config(directory: &Path, wanted: &Table) -> Result<bool, RunError> {
    let path = directory.join(CONFIG_FILE);
    let Some(stored) = read_if_there(&path)? else {
        return Ok(false);
    };
    let stored = parse_toml(&stored).map_err(|wrong| RunError::Damaged {
        path: path.clone(),
        line: wrong.line,
        reason: wrong.reason,
    })?;
    // What a run wrote before some settings existed says what it did in their place.
    let stored = current_names(stored);
    let stored = match Layers::recorded(stored.clone()).resolve() {
        Ok(config) if config.as_recorded_first() == stored => config.to_table(),
        _ => stored,
    };
    match first_difference(&stored, wanted) {
        None => Ok(true),
        Some((key, stored, wanted)) => Err(RunError::ConfigMismatch {
            path,
            key,
            stored,
            wanted,
        }),
    }
}

type Difference = (String, Option<String>, Option<String>);

/// The first key, in alphabetical order, whose values differ.
fn first_difference(stored: &Table, wanted: &Table) -> Option<Difference> {
    let keys: BTreeSet<&String> = stored.keys().chain(wanted.keys()).collect();
    keys.into_iter()
        .find_map(|key| match (stored.get(key), wanted.get(key)) {
            (Some(Value::Table(stored)), Some(Value::Table(wanted))) => {
                first_difference(stored, wanted)
                    .map(|(inner, stored, wanted)| (format!("{key}.{inner}"), stored, wanted))
            }
            (stored, wanted) if stored == wanted => None,
            (stored, wanted) => Some((
                key.clone(),
                stored.map(Value::to_string),
                wanted.map(Value::to_string),
            )),
        })
}

/// Warnings of a run.
pub fn read_warnings(directory: &Path) -> Vec<String> {
    let path = directory.join(WARNINGS_FILE);
    let text = read_text(&path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Text of a file; `None` if it is not there.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, RunError> {
    match read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::reading(path, error)),
    }
}
