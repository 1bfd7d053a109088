//! Axes of settings and their combinations.

use super::error::{SEEDS_ARE_NO_SETTING, SweepFileError, check_count, wrong};
use crate::{
    ablation::Arm,
    config::{DEEPEST, insert, nearest_word},
};
use nn::{connection::ConnectionConfig, settings::Setting};
use toml::{Table, Value};

const MOST_AXES: usize = 64;

/// A setting with the values it takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// `train.learning_rate`.
    key: String,
    /// Last part of the key, or the whole where another axis has the same last part.
    short: String,
    values: Vec<Value>,
}

/// One value of every axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Combination<'a>(Vec<(&'a Axis, &'a Value)>);

impl Axis {
    /// The axes of a section: every list in it, under its full key.
    pub(super) fn all_of(grid: &Table) -> Result<Vec<Self>, SweepFileError> {
        let mut axes = Vec::new();
        for (key, value) in leaves(grid, &|_| false) {
            let values = match value {
                Value::Array(values) if !values.is_empty() => values.clone(),
                _ => return Err(wrong(&format!("grid.{key}"), "expected a list of values")),
            };
            check_depth(&key)?;
            if key == "train.seed" {
                return Err(wrong("grid.train.seed", SEEDS_ARE_NO_SETTING));
            }
            axes.push(Self {
                short: key.rsplit('.').next().unwrap_or(&key).to_owned(),
                key,
                values,
            });
        }
        if axes.len() > MOST_AXES {
            let reason = format!("{} settings, expected at most {MOST_AXES}", axes.len());
            return Err(wrong("grid", reason));
        }
        // `train = [..]` beside `"train.steps" = [..]`, or one key twice.
        for (index, one) in axes.iter().enumerate() {
            let within = |other: &Axis| {
                let rest = other.key.strip_prefix(one.key.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let others = axes.iter().enumerate().filter(|(other, _)| *other != index);
            if let Some((_, other)) = others.into_iter().find(|(_, other)| within(other)) {
                let reason = format!("{} gives it values too", one.key);
                return Err(wrong(&format!("grid.{}", other.key), reason));
            }
        }
        let shorts: Vec<String> = axes.iter().map(|axis| axis.short.clone()).collect();
        for axis in &mut axes {
            if shorts.iter().filter(|short| **short == axis.short).count() > 1 {
                axis.short.clone_from(&axis.key);
            }
        }
        Ok(axes)
    }
}

impl<'a> Combination<'a> {
    /// Every combination, the last axis moving fastest; none without an axis.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn all_of(axes: &'a [Axis]) -> Result<Vec<Self>, SweepFileError> {
        if axes.is_empty() {
            return Ok(Vec::new());
        }
        let count = axes
            .iter()
            .try_fold(1_usize, |n, axis| n.checked_mul(axis.values.len()));
        check_count("grid", count)?;
        Ok(axes.iter().fold(vec![Self(Vec::new())], |all, axis| {
            let with = |one: &Self, value| {
                let mut longer = one.clone();
                longer.0.push((axis, value));
                longer
            };
            let longer = |one: Self| axis.values.iter().map(move |value| with(&one, value));
            all.into_iter().flat_map(longer).collect()
        }))
    }

    /// As an arm without a baseline.
    pub(super) fn arm(&self) -> Arm {
        let mut settings = Table::new();
        for (axis, value) in &self.0 {
            insert(&mut settings, &axis.key, (*value).clone())
                .expect("axes have keys of their own");
        }
        Arm {
            name: self.name(),
            label: self.join(" ", ", "),
            settings,
            ..Arm::default()
        }
    }

    fn name(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        let mut name = String::new();
        for c in self.join("-", "_").to_lowercase().chars() {
            match plain(c) {
                true => name.push(c),
                false if !name.ends_with('-') => name.push('-'),
                false => {}
            }
        }
        name
    }

    fn join(&self, after_key: &str, between: &str) -> String {
        let parts = self.0.iter().map(|(axis, value)| {
            match (ConnectionConfig::read(value), value) {
                // A connection has a name of its own.
                (Ok(connection), _) => connection.spec().label(),
                (Err(_), Value::String(text)) => format!("{}{after_key}{text}", axis.short),
                (Err(_), value) => format!("{}{after_key}{value}", axis.short),
            }
        });
        parts.collect::<Vec<_>>().join(between)
    }
}

/// The baseline of every combination: the one that has these values and is like it otherwise.
pub(super) fn baselines(
    axes: &[Axis],
    combinations: &[Combination<'_>],
    values: &Table,
) -> Result<Vec<Option<String>>, SweepFileError> {
    let is_axis = |key: &str| axes.iter().any(|axis| axis.key == key);
    let wanted = leaves(values, &is_axis);
    for (key, value) in &wanted {
        let Some(axis) = axes.iter().find(|axis| &axis.key == key) else {
            return Err(SweepFileError::UnknownKey {
                key: format!("baseline.{key}"),
                nearest: nearest_word(key, axes.iter().map(|axis| axis.key.as_str())),
            });
        };
        if !axis.values.contains(value) {
            let reason = format!("{value} is none of the values of this axis");
            return Err(wrong(&format!("baseline.{key}"), reason));
        }
    }
    let value_in = |key: &str| wanted.iter().find(|(wanted, _)| wanted == key);
    let baseline = |combination: &Combination<'_>| {
        let parts = combination.0.iter().map(|&(axis, value)| {
            let value = value_in(&axis.key).map_or(value, |(_, value)| *value);
            (axis, value)
        });
        Some(Combination(parts.collect()).name())
    };
    Ok(combinations.iter().map(baseline).collect())
}

/// A section whose keys may be paths, `"train.steps" = 400`, as nested tables.
pub(super) fn settings(table: &Table) -> Result<Table, SweepFileError> {
    let mut nested = Table::new();
    for (key, value) in leaves(table, &|_| false) {
        check_depth(&key)?;
        insert(&mut nested, &key, value.clone())
            .ok_or_else(|| wrong(&key, "it is given both a value and settings below it"))?;
    }
    Ok(nested)
}

fn check_depth(key: &str) -> Result<(), SweepFileError> {
    match key.split('.').count() {
        ..=DEEPEST => Ok(()),
        parts => Err(wrong(
            &key.chars().take(40).collect::<String>(),
            format!("a key of {parts} parts, expected at most {DEEPEST}"),
        )),
    }
}

/// Every value that is no table, and every table that `is_leaf` by its key, with the whole key.
fn leaves<'a>(table: &'a Table, is_leaf: &dyn Fn(&str) -> bool) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !is_leaf(key) => {
                let inner = leaves(inner, &|rest| is_leaf(&format!("{key}.{rest}")));
                found.extend(
                    inner
                        .into_iter()
                        .map(|(rest, v)| (format!("{key}.{rest}"), v)),
                );
            }
            value => found.push((key.clone(), value)),
        }
    }
    found
}
