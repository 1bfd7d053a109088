//! Sweeps that a user writes down: a TOML file with axes, whose every combination is an arm,
//! and with arms of their own.
//!
//! ```toml
//! title = "does the learning rate suit the connection?"
//! preset = "small"                # where to begin; small
//! seeds = 3                       # how many, or which; the preset's
//! baseline = { "model.connection" = { type = "pre_norm" } }
//!
//! [set]                           # settings in common
//! train.steps = 400
//!
//! [grid]                          # every combination is an arm
//! train.learning_rate = [1e-3, 3e-3]
//! model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }]
//!
//! [[arm]]                         # one more
//! name = "wide"
//! baseline = "pre-norm_learning_rate-0.001"
//! set = { model.dim = 128 }
//! ```
//!
//! `baseline` is the name of an arm that all others are compared with, or values of some axes:
//! then each combination is compared with the one that has these values and is like it
//! otherwise.

mod error;
mod grid;

pub use error::SweepFileError;

use super::Arm;
use crate::{
    config::nearest_word,
    files::{parse_toml, read_text},
};
use grid::{Axis, Combination};
use std::path::Path;
use toml::{Table, Value};

/// What a sweep file says.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepFile {
    /// What it is about.
    pub title: Option<String>,
    /// The name of the preset to begin with.
    pub preset: Option<String>,
    /// Seeds, ascending; `None` for the preset's.
    pub seeds: Option<Vec<u64>>,
    /// Settings in common.
    pub common: Table,
    /// The arms, with their baselines.
    pub arms: Vec<Arm>,
}

const KEYS: [&str; 7] = ["title", "preset", "seeds", "baseline", "set", "grid", "arm"];
const ARM_KEYS: [&str; 4] = ["name", "label", "baseline", "set"];

impl SweepFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SweepFileError`] says what is wrong where.
    pub fn read(path: &Path) -> Result<Self, SweepFileError> {
        let text = read_text(path).map_err(|source| SweepFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        text.parse()
    }

    fn of(mut table: Table) -> Result<Self, SweepFileError> {
        known_keys("", &table, &KEYS)?;
        let axes = match take_table(&mut table, "grid")? {
            Some(grid) => Axis::all_of(&grid)?,
            None => Vec::new(),
        };
        let combinations = Combination::all_of(&axes)?;
        let mut arms: Vec<Arm> = combinations.iter().map(Combination::arm).collect();
        let mut compared_with = vec![None; arms.len()];
        let written = take_tables(&mut table, "arm")?;
        check_count("arm", Some(arms.len() + written.len()))?;
        for arm in written {
            let (arm, baseline) = explicit_arm(arm)?;
            arms.push(arm);
            compared_with.push(baseline);
        }
        if arms.is_empty() {
            return Err(wrong("grid", "there is neither a grid nor an arm"));
        }
        let baselines = match table.remove("baseline") {
            None => vec![None; combinations.len()],
            Some(Value::String(name)) => vec![Some(name); arms.len()],
            Some(Value::Table(values)) => grid::baselines(&axes, &combinations, &values)?,
            Some(_) => return Err(wrong("baseline", "expected a name, or values of axes")),
        };
        for (index, arm) in arms.iter_mut().enumerate() {
            let own = compared_with[index].take();
            let baseline = own.or_else(|| baselines.get(index).cloned().flatten());
            arm.baseline = baseline.filter(|name| *name != arm.name);
        }
        let common = take_table(&mut table, "set")?
            .map(|set| grid::settings(&set))
            .transpose()?
            .unwrap_or_default();
        let settings = arms.iter().map(|arm| &arm.settings);
        if settings.chain([&common]).any(sets_seed) {
            return Err(wrong("train.seed", SEEDS_ARE_NO_SETTING));
        }
        Ok(Self {
            title: take_text(&mut table, "title")?,
            preset: take_text(&mut table, "preset")?,
            seeds: table.remove("seeds").map(seeds).transpose()?,
            common,
            arms: in_order(arms)?,
        })
    }
}

impl std::str::FromStr for SweepFile {
    type Err = SweepFileError;

    fn from_str(text: &str) -> Result<Self, SweepFileError> {
        let table = parse_toml(text).map_err(|wrong| SweepFileError::NotToml {
            line: wrong.line,
            reason: wrong.reason,
        })?;
        Self::of(table)
    }
}

fn wrong(key: &str, reason: impl Into<String>) -> SweepFileError {
    SweepFileError::Wrong {
        key: key.to_owned(),
        reason: reason.into(),
    }
}

const SEEDS_ARE_NO_SETTING: &str = "seeds are no axis: write seeds = 5, or seeds = [0, 3, 7]";

/// Whether settings choose a seed, which every run has from the sweep.
fn sets_seed(settings: &Table) -> bool {
    let train = settings.get("train").and_then(Value::as_table);
    train.is_some_and(|train| train.contains_key("seed"))
}

fn known_keys(section: &str, table: &Table, known: &[&str]) -> Result<(), SweepFileError> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(SweepFileError::UnknownKey {
            key: format!("{section}{key}"),
            nearest: nearest_word(key, known.iter().copied()),
        }),
    }
}

/// Each arm is a network to configure and a row to read.
const MOST_ARMS: usize = 5000;

/// A number of arms, `None` if it is too large to be counted.
fn check_count(key: &str, arms: Option<usize>) -> Result<(), SweepFileError> {
    match arms {
        Some(..=MOST_ARMS) => Ok(()),
        Some(arms) => Err(wrong(
            key,
            format!("{arms} arms, expected at most {MOST_ARMS}"),
        )),
        None => Err(wrong(
            key,
            format!("more arms than can be counted, expected at most {MOST_ARMS}"),
        )),
    }
}

fn take_text(table: &mut Table, key: &str) -> Result<Option<String>, SweepFileError> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(key, "expected a text")),
    }
}

fn take_table(table: &mut Table, key: &str) -> Result<Option<Table>, SweepFileError> {
    match table.remove(key) {
        None => Ok(None),
        Some(Value::Table(inner)) => Ok(Some(inner)),
        Some(_) => Err(wrong(key, format!("expected a section [{key}]"))),
    }
}

fn take_tables(table: &mut Table, key: &str) -> Result<Vec<Table>, SweepFileError> {
    let wrong = || wrong(key, format!("expected sections [[{key}]]"));
    let Some(value) = table.remove(key) else {
        return Ok(Vec::new());
    };
    let Value::Array(values) = value else {
        return Err(wrong());
    };
    let table = |value| match value {
        Value::Table(table) => Ok(table),
        _ => Err(wrong()),
    };
    values.into_iter().map(table).collect()
}

fn explicit_arm(mut table: Table) -> Result<(Arm, Option<String>), SweepFileError> {
    known_keys("arm.", &table, &ARM_KEYS)?;
    let name = take_text(&mut table, "name")?;
    let name = name.ok_or_else(|| wrong("arm.name", "every arm needs a name"))?;
    let set = take_table(&mut table, "set")?.unwrap_or_default();
    let arm = Arm {
        label: take_text(&mut table, "label")?.unwrap_or_else(|| name.clone()),
        name,
        settings: grid::settings(&set)?,
        baseline: None,
        paper: None,
        matched: false,
    };
    Ok((arm, take_text(&mut table, "baseline")?))
}

fn seeds(value: Value) -> Result<Vec<u64>, SweepFileError> {
    let no_seeds = || {
        wrong(
            "seeds",
            "expected a number such as 5, or a list such as [0, 3, 7]",
        )
    };
    let seed = |value: &Value| value.as_integer().and_then(|seed| u64::try_from(seed).ok());
    let seeds: Vec<u64> = match &value {
        Value::Array(list) => list.iter().map(seed).collect::<Option<_>>(),
        value => seed(value).filter(|n| *n <= 1000).map(|n| (0..n).collect()),
    }
    .ok_or_else(no_seeds)?;
    distinct_seeds(seeds).map_err(|reason| wrong("seeds", reason))
}

/// A list of seeds in order.
///
/// # Errors
/// There is none, or one is there twice: the same seed is no second measurement.
pub fn distinct_seeds(mut seeds: Vec<u64>) -> Result<Vec<u64>, String> {
    seeds.sort_unstable();
    if seeds.is_empty() {
        return Err("expected at least one seed".into());
    }
    match seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(seeds),
        Some(pair) => Err(format!(
            "seed {} is given twice: the same seed gives the same run",
            pair[0]
        )),
    }
}

/// Baselines before what is compared with them, all names once, and no baseline of a baseline.
fn in_order(arms: Vec<Arm>) -> Result<Vec<Arm>, SweepFileError> {
    for (index, arm) in arms.iter().enumerate() {
        if arms[..index].iter().any(|other| other.name == arm.name) {
            return Err(wrong(
                "arm.name",
                format!("there are two arms with the name {}", arm.name),
            ));
        }
        let Some(baseline) = &arm.baseline else {
            continue;
        };
        let Some(found) = arms.iter().find(|other| &other.name == baseline) else {
            let names = arms.iter().map(|arm| arm.name.as_str());
            return Err(SweepFileError::UnknownArm {
                name: baseline.clone(),
                nearest: nearest_word(baseline, names),
            });
        };
        if !found.is_baseline() {
            return Err(wrong(
                "baseline",
                format!(
                    "arm {baseline} has a baseline itself, so {} cannot have it",
                    arm.name
                ),
            ));
        }
    }
    let (baselines, others): (Vec<Arm>, Vec<Arm>) = arms.into_iter().partition(Arm::is_baseline);
    Ok(baselines.into_iter().chain(others).collect())
}

#[cfg(test)]
mod tests;
