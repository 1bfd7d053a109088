//! The contrasts of a sweep directory, and whether they were declared before its first results.

use super::{
    Contrast, Quantity,
    read::{Mistake, read_all},
};
use crate::{
    files::{parse_toml, read_text},
    run_dir::{RunError, RunId, read_summary, write_atomically},
};
use figures::stats::MIN_SEEDS;
use std::{fmt, fs, io, path::Path};
use toml::{Table, Value};

/// Name of the file with the contrasts of a sweep.
pub const CONTRASTS_FILE: &str = "contrasts.toml";

const DECLARED: &str = "declared";
const SEEDS: &str = "seeds";

/// A contrast in a sweep directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The contrast.
    pub contrast: Contrast,
    /// `true` if it was recorded before any run of the sweep had ended; otherwise it is exploratory
    /// and stays so.
    pub declared: bool,
    /// Seeds of the sweep when it was declared; none in records of earlier versions.
    pub seeds: Option<Vec<u64>>,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contrast {
            statement, source, ..
        } = &self.contrast;
        let kind = if self.declared {
            "declared"
        } else {
            "exploratory"
        };
        write!(f, "{kind}: {statement}")?;
        if let Some(source) = source {
            write!(f, " ({source})")?;
        }
        write!(
            f,
            ": {} is {}",
            self.contrast.sum(),
            self.contrast.expected()
        )
    }
}

/// The contrasts of a sweep directory when its file has those of `now` and these seeds: those recorded
/// before, and the new ones, declared if no run there has ended yet. Before that, contrasts no longer in
/// the file are dropped and the seeds are replaced; afterwards both stay, but for seeds so few
/// that they decide nothing.
///
/// # Errors
/// Files that cannot be read or are damaged.
pub fn contrasts_of(
    directory: &Path,
    now: &[Contrast],
    seeds: &[u64],
) -> Result<Vec<Recorded>, RunError> {
    let mut all = recorded_contrasts(directory)?;
    if all.is_empty() && now.is_empty() {
        return Ok(all);
    }
    let declared = !has_results(directory)?;
    if declared {
        all.retain(|one| !one.declared || now.contains(&one.contrast));
    }
    for one in all.iter_mut().filter(|one| one.declared) {
        let few = |seeds: &Vec<u64>| seeds.len() < MIN_SEEDS;
        if declared || one.seeds.as_ref().is_some_and(few) {
            one.seeds = Some(seeds.to_vec());
        }
    }
    let seeds = declared.then(|| seeds.to_vec());
    for contrast in now {
        if !all.iter().any(|one| one.contrast == *contrast) {
            let contrast = contrast.clone();
            all.push(Recorded {
                contrast,
                declared,
                seeds: seeds.clone(),
            });
        }
    }
    Ok(all)
}

/// Records the contrasts of a sweep that is about to begin or go on.
///
/// # Errors
/// As [`contrasts_of`], and errors of writing.
pub(in crate::ablation) fn record(
    directory: &Path,
    now: &[Contrast],
    seeds: &[u64],
) -> Result<(), RunError> {
    let all = contrasts_of(directory, now, seeds)?;
    if all == recorded_contrasts(directory)? {
        return Ok(());
    }
    fs::create_dir_all(directory).map_err(|error| RunError::writing(directory, error))?;
    write_atomically(&directory.join(CONTRASTS_FILE), to_toml(&all).as_bytes())
}

/// Returns whether a run of the sweep has ended, or there is a table of such.
fn has_results(directory: &Path) -> Result<bool, RunError> {
    if !directory.is_dir() {
        return Ok(false);
    }
    if directory.join("results.json").exists() {
        return Ok(true);
    }
    for id in RunId::find_all(directory)? {
        if read_summary(&id.path)?.is_some_and(|summary| summary.status.is_final()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The contrasts that are recorded in a sweep directory.
///
/// # Errors
/// [`RunError::Unreadable`], [`RunError::Damaged`].
pub fn recorded_contrasts(directory: &Path) -> Result<Vec<Recorded>, RunError> {
    let path = directory.join(CONTRASTS_FILE);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::reading(&path, error)),
    };
    let damaged = |line: usize, reason: String| RunError::Damaged {
        path: path.clone(),
        line,
        reason,
    };
    let mut table = parse_toml(&text).map_err(|wrong| damaged(wrong.line, wrong.reason))?;
    let mut declared = Vec::new();
    let sections = table.get_mut("contrast").and_then(Value::as_array_mut);
    for section in sections.into_iter().flatten() {
        let mut take = |key| section.as_table_mut().and_then(|one| one.remove(key));
        let flag = take(DECLARED)
            .and_then(|flag| flag.as_bool())
            .unwrap_or(false);
        let seeds = take(SEEDS).map(Value::try_into::<Vec<u64>>).transpose();
        let seeds = seeds.map_err(|error| damaged(1, format!("{SEEDS}: {error}")))?;
        declared.push((flag, seeds));
    }
    let none = Value::Array(Vec::new());
    let sections = table.get("contrast").unwrap_or(&none);
    let contrasts = read_all(sections)
        .map_err(|Mistake { key, reason }| damaged(1, format!("{key}: {reason}")))?;
    let both = contrasts.into_iter().zip(declared);
    Ok(both
        .map(|(contrast, (declared, seeds))| Recorded {
            contrast,
            declared,
            seeds,
        })
        .collect())
}

fn to_toml(all: &[Recorded]) -> String {
    let section = |one: &Recorded| {
        let Recorded {
            contrast,
            declared,
            seeds,
        } = one;
        let arms = contrast.arms.iter();
        let arms: Table = arms
            .map(|(arm, weight)| (arm.clone(), (*weight).into()))
            .collect();
        let mut section = Table::new();
        let mut insert = |key: &str, value: Value| section.insert(key.to_owned(), value);
        insert("statement", contrast.statement.clone().into());
        contrast
            .source
            .clone()
            .map(|source| insert("source", source.into()));
        // Records of earlier versions are of losses and do not say so.
        if contrast.of != Quantity::default() {
            insert("of", contrast.of.to_string().into());
        }
        insert("arms", arms.into());
        insert("expect", contrast.expect.to_string().into());
        contrast
            .margin
            .map(|margin| insert("margin", margin.into()));
        insert(DECLARED, (*declared).into());
        let seeds = seeds.clone().and_then(|seeds| Value::try_from(seeds).ok());
        seeds.map(|seeds| insert(SEEDS, seeds));
        Value::Table(section)
    };
    let sections: Vec<Value> = all.iter().map(section).collect();
    Table::from_iter([("contrast".to_owned(), sections.into())]).to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::Expect, *};
    use std::collections::BTreeMap;

    fn contrast(statement: &str, margin: Option<f64>) -> Contrast {
        Contrast {
            statement: statement.into(),
            source: Some("Table 1".into()),
            of: Quantity::Accuracy,
            arms: BTreeMap::from([("a".into(), 1.0), ("b".into(), -1.0)]),
            expect: Expect::Higher,
            margin,
        }
    }

    fn flags(directory: &Path, now: &[Contrast]) -> Vec<(String, bool)> {
        record(directory, now, &[1, 2]).expect("space");
        let all = recorded_contrasts(directory).expect("sound");
        let flag = |one: Recorded| (one.contrast.statement, one.declared);
        all.into_iter().map(flag).collect()
    }

    #[test]
    fn what_comes_or_changes_after_the_first_result_is_exploratory_for_ever() {
        let place = tempfile::tempdir().expect("a directory");
        let sweep = place.path().join("sweep");
        let (first, changed) = (contrast("first", None), contrast("first", Some(0.1)));
        assert!(flags(&sweep, &[]).is_empty() && !sweep.exists());
        assert_eq!(
            flags(&sweep, std::slice::from_ref(&first)),
            [("first".into(), true)]
        );
        fs::write(sweep.join("results.json"), "{}").expect("space");
        let expected = [("first".to_owned(), true), ("first".to_owned(), false)];
        assert_eq!(flags(&sweep, std::slice::from_ref(&changed)), expected);
        // What is left out of the file is not forgotten, and nothing becomes declared.
        assert_eq!(flags(&sweep, &[]), expected);
        fs::remove_file(sweep.join("results.json")).expect("it was there");
        assert_eq!(flags(&sweep, &[first, changed]), expected);
    }

    #[test]
    fn the_seeds_are_those_of_the_declaration() {
        let place = tempfile::tempdir().expect("a directory");
        let now = [contrast("first", None)];
        let seeds = |seeds: &[u64]| {
            record(place.path(), &now, seeds).expect("space");
            recorded_contrasts(place.path())
                .expect("sound")
                .remove(0)
                .seeds
        };
        let largest = u64::MAX >> 1;
        assert_eq!(seeds(&[1, 2, 3]), Some(vec![1, 2, 3]));
        assert_eq!(seeds(&[1, largest]), Some(vec![1, largest]));
        fs::write(place.path().join("results.json"), "{}").expect("space");
        // Two seeds show nothing: three are another declaration, more than those are not.
        assert_eq!(seeds(&[1, 2, 3]), Some(vec![1, 2, 3]));
        assert_eq!(seeds(&[1, 2, 3, 4]), Some(vec![1, 2, 3]));
    }

    #[test]
    fn before_the_first_result_the_file_may_change() {
        let place = tempfile::tempdir().expect("a directory");
        let (first, other) = (contrast("first", None), contrast("other", Some(0.1)));
        assert_eq!(flags(place.path(), &[first]), [("first".into(), true)]);
        assert_eq!(flags(place.path(), &[other]), [("other".into(), true)]);
        assert!(flags(place.path(), &[]).is_empty());
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let place = tempfile::tempdir().expect("a directory");
        for text in [
            "contrast = [",
            "[[contrast]]\nstatement = \"a\"\n",
            "contrast = 1",
            "[[contrast]]\nstatement = \"a\"\nexpect = \"lower\"\nseeds = [-1]\narms = { a = 1.0, b = -1.0 }\n",
        ] {
            fs::write(place.path().join(CONTRASTS_FILE), text).expect("space");
            let error = recorded_contrasts(place.path()).expect_err("damaged");
            assert!(matches!(error, RunError::Damaged { .. }), "{error}");
        }
    }
}
