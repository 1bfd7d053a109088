//! What was compared, as the sweep file, the ablations and the directory name it.

use super::RecordedError;
use crate::{
    ablation::{ABLATIONS, Ablation, Arm, Subject, Tanh},
    config::RunConfig,
    files::read_text,
    paper::PaperTable,
    run_dir::SWEEP_FILE,
};
use std::{collections::BTreeMap, fs, path::Path};

pub(super) fn read_sweep_file(directory: &Path, remarks: &mut Vec<String>) -> toml::Table {
    let Ok(text) = read_text(&directory.join(SWEEP_FILE)) else {
        return toml::Table::new();
    };
    text.parse().unwrap_or_else(|_| {
        remarks.push(format!("{SWEEP_FILE} is damaged and was not used"));
        toml::Table::new()
    })
}

fn text<'t>(table: &'t toml::Table, section: &str, key: &str) -> Option<&'t str> {
    table.get(section)?.get(key)?.as_str()
}

/// The ablation that the sweep file or else a command line names.
pub(super) fn ablation_of(made_by: &toml::Table, commands: &[String]) -> Option<&'static Ablation> {
    let name = made_by.get("ablation").and_then(toml::Value::as_str);
    let words = commands.iter().flat_map(|command| command.split(' '));
    let mut names = name.into_iter().chain(words);
    names.find_map(|name| ABLATIONS.iter().find(|ablation| ablation.name == name))
}

pub(super) fn subject(
    directory: &Path,
    ablation: Option<&Ablation>,
    made_by: &toml::Table,
) -> Subject {
    let text = |key| made_by.get(key).and_then(toml::Value::as_str);
    let folder = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let folder = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let known = ablation.map(Subject::from);
    Subject {
        name: (text("ablation").map(str::to_owned))
            .or(known.as_ref().map(|known| known.name.clone()))
            .or(folder)
            .unwrap_or_else(|| "runs".to_owned()),
        title: (text("title").map(str::to_owned))
            .or(known.as_ref().map(|known| known.title.clone()))
            .unwrap_or_else(|| "arms by the names of their directories".to_owned()),
        paper: known
            .and_then(|known| known.paper)
            .or_else(|| paper(made_by)),
    }
}

/// The published table that a user's sweep was set beside.
fn paper(made_by: &toml::Table) -> Option<PaperTable> {
    let table = made_by.get("paper")?.as_table()?;
    PaperTable::of(table.clone()).ok()
}

/// The arms with a configuration, in the order of the ablation; others after them by name,
/// baselines first.
pub(super) fn arms(
    ablation: Option<&Ablation>,
    made_by: &toml::Table,
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
    let (usual, paper) = (Arm::pre_norm().name, paper(made_by));
    let mut arms = Vec::new();
    for (name, (_, config)) in configs {
        let place = known.iter().position(|arm| &arm.name == name);
        let mut arm = match place {
            Some(place) => known[place].clone(),
            None => Arm {
                baseline: configs
                    .contains_key(&usual)
                    .then(|| usual.clone())
                    .filter(|usual| usual != name),
                ..Arm::of(name, name, &Default::default())
            },
        };
        if let Some(label) = text(made_by, "labels", name) {
            arm.label = label.to_owned();
        }
        if let Some(row) = text(made_by, "paper_rows", name) {
            arm.paper = paper.as_ref().and_then(|paper| paper.row(row));
        }
        if made_by.contains_key("baselines") {
            arm.baseline = text(made_by, "baselines", name).map(str::to_owned);
        }
        if let Some(baseline) = baseline {
            arm.baseline = (name != baseline).then(|| baseline.to_owned());
        }
        let order = (place.unwrap_or(usize::MAX), arm.baseline.is_some());
        arms.push((order, arm, config.clone()));
    }
    arms.sort_by_key(|(order, ..)| *order);
    Ok(arms
        .into_iter()
        .map(|(_, arm, config)| (arm, config))
        .collect())
}
