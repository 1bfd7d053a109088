//! Settings that arms share, and those in which they differ.

use crate::config::RunConfig;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

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
