//! Comparisons that are written down, the built-in ones too: a TOML file with axes, whose every
//! combination is an arm, and with arms one by one.
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
//! otherwise. docs/experiments.md has every key.

mod arms;
mod error;
mod grid;

pub use error::SweepFileError;

use super::{
    Arm, Cost, Tanh,
    arm::name_at,
    contrast::{Contrast, check, read_all},
};
use crate::{
    config::nearest_word,
    files::{parse_toml, read_text},
    paper::{PAPER_TABLES, PaperTable},
};
use clap::ValueEnum;
use error::{SEEDS_ARE_NO_SETTING, check_count, wrong};
use grid::{Axis, Combination};
use nn::settings::Setting;
use std::path::Path;
use toml::{Table, Value};

/// A comparison as a file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepFile {
    /// First line of the table.
    pub title: Option<String>,
    /// Name of the preset to begin with.
    pub preset: Option<String>,
    /// Seeds, ascending; `None` for the preset's.
    pub seeds: Option<Vec<u64>>,
    /// The cost that arms have in common with their baselines.
    pub by: Option<Cost>,
    /// Lengths of training, multiples of those of the settings, ascending; empty for one.
    pub horizons: Vec<u64>,
    /// The published table of the same comparison.
    pub paper: Option<PaperTable>,
    /// Settings in common.
    pub common: Table,
    /// The arms, with their baselines.
    pub arms: Vec<Arm>,
    /// Statements about these arms.
    pub contrasts: Vec<Contrast>,
    /// Seeds that settings of the arms were chosen on: the comparison has to do without them.
    pub chosen_on: Vec<u64>,
}

const KEYS: [&str; 13] = [
    "title",
    "preset",
    "seeds",
    "chosen_on",
    "match",
    "horizons",
    "baseline",
    "paper",
    "tanh",
    "set",
    "grid",
    "arm",
    "contrast",
];

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
        Self::parse(&text, None)
    }

    /// Parses a text, with the arms of `tanh`, which the text chooses otherwise.
    ///
    /// # Errors
    /// As [`SweepFile::read`].
    pub fn parse(text: &str, tanh: Option<Tanh>) -> Result<Self, SweepFileError> {
        let mut table = table_of(text)?;
        let mut file = Self::head(&mut table)?;
        let choice = take_word::<Tanh>(&mut table, "tanh", "on, off or both")?;
        let tanh = tanh.or(choice).unwrap_or_default();
        let contrasts = table.remove("contrast");
        let every_tanh = contrasts
            .is_some()
            .then(|| compared(&mut table.clone(), Tanh::Both, file.paper.as_ref()));
        let (arms, in_grid) = compared(&mut table, tanh, file.paper.as_ref())?;
        let settings = arms.iter().map(|arm| &arm.settings);
        if settings.chain([&file.common]).any(sets_seed) {
            return Err(wrong("train.seed", SEEDS_ARE_NO_SETTING));
        }
        file.arms = in_order(arms, in_grid)?;
        if let (Some(contrasts), Some(every_tanh)) = (contrasts, every_tanh) {
            file.contrasts = of_arms(&contrasts, &every_tanh?.0, &file.arms, &file.horizons)?;
        }
        Ok(file)
    }

    /// Parses a text without its arms, which it may lack.
    ///
    /// # Errors
    /// As [`SweepFile::read`].
    pub fn without_arms(text: &str) -> Result<Self, SweepFileError> {
        Self::head(&mut table_of(text)?)
    }

    fn head(table: &mut Table) -> Result<Self, SweepFileError> {
        known_keys("", table, &KEYS)?;
        let common = take::<Table>(table, "set", "a section [set]")?.unwrap_or_default();
        Ok(Self {
            title: take(table, "title", "a text")?,
            preset: take(table, "preset", "a text")?,
            seeds: seeds(table, "seeds")?,
            chosen_on: seeds(table, "chosen_on")?.unwrap_or_default(),
            by: take_word(table, "match", "time or flops")?,
            horizons: match table.remove("horizons") {
                None => Vec::new(),
                Some(value) => horizons(&value).map_err(|reason| wrong("horizons", reason))?,
            },
            paper: table.remove("paper").map(paper).transpose()?,
            common: grid::settings(&common)?,
            arms: Vec::new(),
            contrasts: Vec::new(),
        })
    }
}

impl std::str::FromStr for SweepFile {
    type Err = SweepFileError;

    fn from_str(text: &str) -> Result<Self, SweepFileError> {
        Self::parse(text, None)
    }
}

fn table_of(text: &str) -> Result<Table, SweepFileError> {
    parse_toml(text).map_err(|wrong| SweepFileError::NotToml {
        line: wrong.line,
        reason: wrong.reason,
    })
}

/// The arms with their baselines and rows of the published table, and whether some are of a grid.
fn compared(
    table: &mut Table,
    tanh: Tanh,
    paper: Option<&PaperTable>,
) -> Result<(Vec<Arm>, bool), SweepFileError> {
    let grid: Option<Table> = take(table, "grid", "a section [grid]")?;
    let axes = Axis::all_of(&grid.unwrap_or_default())?;
    let combinations = Combination::all_of(&axes)?;
    let mut arms: Vec<Arm> = combinations.iter().map(Combination::arm).collect();
    for arm in &mut arms {
        arm.paper = paper.and_then(|paper| paper.row(&published_name(&arm.label)));
    }
    let sections: Option<Vec<Table>> = take(table, "arm", "sections [[arm]]")?;
    arms.extend(arms::all_of(sections.unwrap_or_default(), tanh, paper)?);
    check_count("arm", Some(arms.len()))?;
    if arms.is_empty() {
        return Err(wrong("grid", "there is neither a grid nor an arm"));
    }
    let baselines = match table.remove("baseline") {
        None => Vec::new(),
        Some(Value::String(name)) => vec![Some(name); arms.len()],
        Some(Value::Table(values)) => grid::baselines(&axes, &combinations, &values)?,
        Some(_) => return Err(wrong("baseline", "expected a name, or values of axes")),
    };
    for (index, arm) in arms.iter_mut().enumerate() {
        let for_all = || baselines.get(index).cloned().flatten();
        let baseline = arm.baseline.take().or_else(for_all);
        if arm.matched && baseline.is_none() {
            let reason = format!(
                "arm {} has no baseline with whose parameters to match",
                arm.name
            );
            return Err(wrong("arm.matched", reason));
        }
        arm.baseline = baseline.filter(|name| *name != arm.name);
        arm.matched &= !arm.is_baseline();
    }
    Ok((arms, !combinations.is_empty()))
}

/// The contrasts of these arms, or of arms of these lengths of training; those of arms that only another
/// choice of tanh has are left out.
fn of_arms(
    sections: &Value,
    every_tanh: &[Arm],
    arms: &[Arm],
    horizons: &[u64],
) -> Result<Vec<Contrast>, SweepFileError> {
    let names = |arms: &[Arm]| -> Vec<String> {
        let mut names: Vec<String> = arms.iter().map(|arm| arm.name.clone()).collect();
        for times in horizons {
            names.extend(arms.iter().map(|arm| name_at(&arm.name, *times)));
        }
        names
    };
    let mut contrasts = read_all(sections)?;
    let (known, there) = (names(every_tanh), names(arms));
    check(&contrasts, known.iter().map(String::as_str))?;
    contrasts.retain(|contrast| contrast.arms.keys().all(|name| there.contains(name)));
    Ok(contrasts)
}

/// A published table, by its name or written out.
fn paper(value: Value) -> Result<PaperTable, SweepFileError> {
    match &value {
        Value::Table(_) => PaperTable::of(&value).map_err(|reason| wrong("paper", reason)),
        Value::String(place) => {
            let found = PAPER_TABLES.iter().find(|table| table.place == *place);
            found.cloned().ok_or_else(|| {
                let places: Vec<&str> = PAPER_TABLES.iter().map(|table| &*table.place).collect();
                let known = places.join(", ");
                wrong(
                    "paper",
                    format!(
                        "there is no table {place}: expected one of {known}, or a section [paper]"
                    ),
                )
            })
        }
        _ => Err(wrong(
            "paper",
            "expected the name of a table, or a section [paper]",
        )),
    }
}

/// The paper's name of an arm, `DHC×4` for `DHC x4`.
fn published_name(label: &str) -> String {
    label.replace(" x", "×")
}

/// Returns whether settings choose a seed, which every run has from the sweep.
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

/// The value of a key, `expected` in words.
fn take<T: Setting>(
    table: &mut Table,
    key: &str,
    expected: &str,
) -> Result<Option<T>, SweepFileError> {
    let value = table.remove(key).map(|value| T::read(&value));
    value
        .transpose()
        .map_err(|_| wrong(key, format!("expected {expected}")))
}

/// The value of a key that is one of a few words, `expected`.
fn take_word<T: ValueEnum>(
    table: &mut Table,
    key: &str,
    expected: &str,
) -> Result<Option<T>, SweepFileError> {
    let word: Option<String> = take(table, key, expected)?;
    let word = word.map(|text| T::from_str(&text, false)).transpose();
    word.map_err(|_| wrong(key, format!("expected {expected}")))
}

/// How many seeds, or which.
fn seeds(table: &mut Table, key: &str) -> Result<Option<Vec<u64>>, SweepFileError> {
    let Some(value) = table.remove(key) else {
        return Ok(None);
    };
    let no_seeds = || {
        let reason = "expected a number such as 5, or a list such as [0, 3, 7]";
        wrong(key, reason)
    };
    let seed = |value: &Value| value.as_integer().and_then(|seed| u64::try_from(seed).ok());
    let seeds: Vec<u64> = match &value {
        Value::Array(list) => list.iter().map(seed).collect::<Option<_>>(),
        value => seed(value).filter(|n| *n <= 1000).map(|n| (0..n).collect()),
    }
    .ok_or_else(no_seeds)?;
    let seeds = distinct_seeds(seeds).map_err(|reason| wrong(key, reason))?;
    Ok(Some(seeds))
}

fn horizons(value: &Value) -> Result<Vec<u64>, String> {
    let length = |value: &Value| u64::try_from(value.as_integer()?).ok();
    let lengths = value
        .as_array()
        .map(|list| list.iter().map(length).collect());
    distinct_horizons(lengths.flatten().unwrap_or_default())
}

/// Lengths of training in order.
///
/// # Errors
/// There is none, one is 0, or one is there twice.
pub fn distinct_horizons(mut lengths: Vec<u64>) -> Result<Vec<u64>, String> {
    lengths.sort_unstable();
    let distinct = lengths.windows(2).all(|pair| pair[0] < pair[1]);
    match distinct && lengths.first().is_some_and(|least| *least > 0) {
        true => Ok(lengths),
        false => Err("expected multiples of the steps, each once, such as 1, 2, 4, 8".into()),
    }
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

/// Baselines before what is compared with them, all names once, and no baseline of a baseline. Arms
/// that are written down in such an order stay in it.
fn in_order(arms: Vec<Arm>, in_grid: bool) -> Result<Vec<Arm>, SweepFileError> {
    let mut ordered = !in_grid;
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
        let place = arms.iter().position(|other| &other.name == baseline);
        ordered &= place.is_none_or(|place| place < index);
        let Some(found) = place.map(|place| &arms[place]) else {
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
    if ordered {
        return Ok(arms);
    }
    let (baselines, others): (Vec<Arm>, Vec<Arm>) = arms.into_iter().partition(Arm::is_baseline);
    Ok(baselines.into_iter().chain(others).collect())
}

#[cfg(test)]
mod tests;
