//! Finding runs, and reading their settings and the arms that were compared.

use crate::{
    ablation::{ABLATIONS, Ablation, Arm, Subject, Tanh},
    config::{Layers, RunConfig},
    files::read_text,
    paper::PaperTable,
    run_dir::{CONFIG_FILE, RunError, RunId, SWEEP_FILE},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use thiserror::Error;
use toml::{Table, Value};

/// Why there is nothing to report.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordedError {
    /// The directory cannot be listed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no run in it.
    #[error(
        "{} holds no runs: expected ARM/seedN/{CONFIG_FILE}, as ablations, sweeps and train write \
         them below runs/NAME",
        path.display()
    )]
    NoRuns {
        /// The directory.
        path: PathBuf,
    },
    /// No run has a configuration that this program understands.
    #[error("no run in {} has a configuration that can be read: {reason}", path.display())]
    NoConfiguration {
        /// The directory.
        path: PathBuf,
        /// Fault of the first.
        reason: String,
    },
    /// An arm that was asked for is not there.
    #[error("there is no arm {name}; there are {}", known.join(", "))]
    NoSuchArm {
        /// The name that was asked for.
        name: String,
        /// Names of the arms that are there.
        known: Vec<String>,
    },
}

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
    let mut runs = RunId::find_all(directory)?;
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
            (own, config.map_or(0, |(config, _)| config.train.seed))
        }
    };
    let path = directory.to_owned();
    Some(RunId { arm, seed, path })
}

/// The configuration of a run. One of another version of the program, with settings that this
/// one does not know, is read without the sections that decide no table; why, is said beside it.
pub(super) fn read_config(path: &Path) -> Result<(RunConfig, Option<String>), String> {
    let fail = |error: &dyn std::fmt::Display| format!("{CONFIG_FILE}: {error}");
    let text = read_text(&path.join(CONFIG_FILE)).map_err(|error| fail(&error))?;
    let table: Result<Table, _> = text.parse();
    let mut table = table.map_err(|_| format!("{CONFIG_FILE} is damaged: it is not TOML"))?;
    let error = match Layers::recorded(table.clone()).resolve() {
        Ok(config) => return Ok((config, None)),
        Err(error) => error,
    };
    table.retain(|section, _| !OTHER_SECTIONS.contains(&section));
    match Layers::recorded(table).resolve() {
        Ok(config) => Ok((config, Some(error.to_string()))),
        Err(_) => Err(fail(&error)),
    }
}

/// The file of a sweep; empty if there is none.
pub(super) fn read_sweep_file(directory: &Path, remarks: &mut Vec<String>) -> Table {
    let Ok(text) = read_text(&directory.join(SWEEP_FILE)) else {
        return Table::new();
    };
    text.parse().unwrap_or_else(|_| {
        remarks.push(format!("{SWEEP_FILE} is damaged and was not used"));
        Table::new()
    })
}

/// The ablation that the sweep file or else a command line names.
pub(super) fn ablation_of(made_by: &Table, commands: &[String]) -> Option<&'static Ablation> {
    let name = made_by.get("ablation").and_then(Value::as_str);
    let words = commands.iter().flat_map(|command| command.split(' '));
    let mut names = name.into_iter().chain(words);
    names.find_map(|name| ABLATIONS.iter().find(|ablation| ablation.name == name))
}

/// The subject of the comparison, named by the sweep file, the ablation or the directory.
pub(super) fn subject(directory: &Path, ablation: Option<&Ablation>, made_by: &Table) -> Subject {
    let text = |key| Some(made_by.get(key)?.as_str()?.to_owned());
    let folder = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let folder = folder.file_name().map(|name| name.to_string_lossy());
    let unknown = || Subject {
        name: folder.map_or_else(|| "runs".into(), |name| name.into_owned()),
        title: "arms by the names of their directories".to_owned(),
        paper: None,
    };
    let known = ablation.map_or_else(unknown, Subject::from);
    Subject {
        name: text("ablation").unwrap_or(known.name),
        title: text("title").unwrap_or(known.title),
        paper: known.paper.or_else(|| paper(made_by)),
    }
}

/// The published table that a user's sweep was set beside.
fn paper(made_by: &Table) -> Option<PaperTable> {
    PaperTable::of(made_by.get("paper")?).ok()
}

/// The arms with a configuration, in the order of the ablation; others after them by name,
/// baselines first.
pub(super) fn arms(
    ablation: Option<&Ablation>,
    made_by: &Table,
    baseline: Option<&str>,
    configs: &BTreeMap<String, (u64, RunConfig)>,
) -> Result<Vec<(Arm, RunConfig)>, RecordedError> {
    if let Some(name) = baseline.filter(|name| !configs.contains_key(*name)) {
        return Err(RecordedError::NoSuchArm {
            name: name.to_owned(),
            known: configs.keys().cloned().collect(),
        });
    }
    let known: Vec<Arm> = ablation.map_or_else(Vec::new, |a| a.arms(Tanh::Both));
    let said = |section: &str, name: &str| made_by.get(section)?.get(name)?.as_str();
    let paper = paper(made_by);
    let usual = Some(Arm::pre_norm().name).filter(|usual| configs.contains_key(usual));
    let mut arms = Vec::new();
    for (name, (_, config)) in configs {
        let horizon = made_by.get("horizons").and_then(|all| all.get(name));
        let horizon = horizon.and_then(Value::as_integer);
        let horizon = horizon.and_then(|times| u64::try_from(times).ok());
        let mut arm = Arm {
            baseline: usual.clone().filter(|usual| usual != name),
            horizon,
            ..Arm::of(name, name, &Default::default())
        };
        let place = known.iter().position(|known| known.name == arm.base_name());
        if let Some(place) = place {
            arm = Arm {
                name: arm.name,
                horizon,
                ..known[place].clone()
            };
        }
        if let Some(label) = said("labels", name) {
            arm.label = label.to_owned();
        }
        if let Some(row) = said("paper_rows", name) {
            arm.paper = paper.as_ref().and_then(|paper| paper.row(row));
        }
        if made_by.contains_key("baselines") {
            arm.baseline = said("baselines", name).map(str::to_owned);
        }
        if let Some(baseline) = baseline {
            arm.baseline = (name != baseline).then(|| baseline.to_owned());
        }
        let place = place.unwrap_or(usize::MAX);
        let order = (arm.horizon, place, arm.baseline.is_some());
        arms.push((order, (arm, config.clone())));
    }
    arms.sort_by_key(|(order, _)| *order);
    Ok(arms.into_iter().map(|(_, arm)| arm).collect())
}

/// Settings under their dotted names.
type Flat = BTreeMap<String, String>;

/// The settings that all configurations have in common, and what is left of each.
pub(super) fn common_and_own(configs: &[RunConfig]) -> (Flat, Vec<Flat>) {
    let mut own: Vec<Flat> = configs
        .iter()
        .map(|config| flat(&config.to_table()))
        .collect();
    let names: BTreeSet<String> = own.iter().flat_map(|one| one.keys().cloned()).collect();
    let mut common = Flat::new();
    for name in names {
        let mut values = own.iter().map(|one| one.get(&name));
        let first = values.next().flatten().cloned();
        if let Some(value) = first.filter(|first| values.all(|other| other == Some(first))) {
            own.iter_mut().for_each(|one| {
                one.remove(&name);
            });
            common.insert(name, value);
        }
    }
    (common, own)
}

/// The first setting, other than the seed, in which two configurations differ.
pub(super) fn first_difference(one: &RunConfig, other: &RunConfig) -> Option<String> {
    let (_, own) = common_and_own(&[one.clone(), other.clone()]);
    let mut names = own.into_iter().flat_map(Flat::into_keys);
    names.find(|name| name != "train.seed")
}

fn flat(table: &Table) -> Flat {
    let mut flat = Flat::new();
    flatten("", table, &mut flat);
    flat
}

fn flatten(prefix: &str, table: &Table, flat: &mut Flat) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => flatten(&format!("{name}."), inner, flat),
            value => drop(flat.insert(name, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_arms_share_is_said_once_and_the_rest_of_each() {
        let mut other = RunConfig::default();
        other.train.learning_rate = 0.5;
        other.train.seed = 7;
        let (common, own) = common_and_own(&[RunConfig::default(), other.clone()]);
        assert!(common.contains_key("train.steps") && !common.contains_key("train.learning_rate"));
        assert_eq!(own[1]["train.learning_rate"], "0.5");
        assert_eq!(own[0].len(), 2);
        let found = first_difference(&RunConfig::default(), &other);
        assert_eq!(found.as_deref(), Some("train.learning_rate"));
        assert_eq!(first_difference(&other, &other), None);
    }
}
