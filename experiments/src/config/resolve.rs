//! From TOML to a configuration, with errors that name the key.
//!
//! serde says what is wrong but, inside tables that are read by their `type`, not
//! where. The key is found by taking settings away one at a time: the one without
//! which the complaint vanishes is the one complained about.

use super::{ConfigError, RunConfig, nearest::nearest_word};
use toml::{Table, Value};

/// The configuration that the settings describe. `replaced` holds settings to fall
/// back on where a required one is missing.
pub(super) fn resolve(mut settings: Table, replaced: &Table) -> Result<RunConfig, ConfigError> {
    loop {
        let complaint = match read(&settings) {
            Ok(config) => return Ok(config),
            Err(complaint) => complaint,
        };
        let missing = quoted_after(&complaint, "missing field ");
        let restored = missing
            .first()
            .is_some_and(|field| restore(&mut settings, replaced, field, &complaint));
        if !restored {
            return Err(explain(&settings, &complaint));
        }
    }
}

fn read(settings: &Table) -> Result<RunConfig, String> {
    settings
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Puts a replaced setting back whose absence is what the complaint is about.
fn restore(settings: &mut Table, replaced: &Table, field: &str, complaint: &str) -> bool {
    for path in paths(replaced)
        .into_iter()
        .filter(|path| last(path) == field)
    {
        let mut attempt = settings.clone();
        let value = get(replaced, &path).expect("a path of the table");
        if insert(&mut attempt, &path, value.clone())
            && read(&attempt).err().as_deref() != Some(complaint)
        {
            *settings = attempt;
            return true;
        }
    }
    false
}

fn explain(settings: &Table, complaint: &str) -> ConfigError {
    let unknown = quoted_after(complaint, "unknown field ");
    let culprit = paths(settings)
        .into_iter()
        .filter(|path| unknown.first().is_none_or(|field| last(path) == field))
        .filter_map(|path| {
            let mut without = settings.clone();
            remove(&mut without, &path);
            let rank = match read(&without) {
                Ok(_) => 0,
                // Taking a required setting away only exchanges one complaint for another.
                Err(other) if other.starts_with("missing field") => 2,
                Err(other) if other != complaint => 1,
                Err(_) => return None,
            };
            // Rather a setting than the whole section around it.
            let is_section = get(settings, &path).is_some_and(Value::is_table);
            Some(((is_section, rank), path))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, path)| path);
    let Some(path) = culprit else {
        return ConfigError::Invalid {
            reason: complaint.to_owned(),
        };
    };
    let key = path.join(".");
    if unknown.is_empty() {
        return ConfigError::BadValue {
            key,
            reason: complaint.to_owned(),
        };
    }
    let section = &path[..path.len() - 1];
    let siblings = quoted_after(complaint, "expected ")
        .into_iter()
        .map(|name| [section, &[name]].concat().join("."));
    ConfigError::UnknownKey {
        nearest: nearest(&key, siblings.collect()),
        key,
    }
}

/// The existing key most like `key`: among its siblings or, if none is close, anywhere.
fn nearest(key: &str, siblings: Vec<String>) -> Option<String> {
    let name = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let wanted = name(key);
    let distance = |other: &String| strsim::damerau_levenshtein(&wanted, &name(other));
    let names: Vec<String> = siblings.iter().map(|key| name(key)).collect();
    let close = nearest_word(&wanted, names.iter().map(String::as_str))
        .and_then(|close| siblings.iter().find(|key| name(key) == close));
    let all = || {
        let mut all: Vec<String> = paths(&RunConfig::default().to_table())
            .iter()
            .map(|path| path.join("."))
            .collect();
        // Sections after settings: `dim` is rather model.dim than a section.
        all.sort_by_key(|path| distance(path));
        let best = all.first().filter(|other| distance(other) <= 1);
        best.cloned()
    };
    close
        .cloned()
        .or_else(all)
        .or_else(|| siblings.iter().min_by_key(|other| distance(other)).cloned())
}

/// The words in backticks after `introduction`.
fn quoted_after(complaint: &str, introduction: &str) -> Vec<String> {
    let Some((_, rest)) = complaint.split_once(introduction) else {
        return Vec::new();
    };
    let words = rest.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn last(path: &[String]) -> &str {
    path.last().map_or("", String::as_str)
}

/// Every setting and section, inner ones before the section that holds them.
fn paths(table: &Table) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (key, value) in table {
        if let Value::Table(inner) = value {
            for mut path in paths(inner) {
                path.insert(0, key.clone());
                all.push(path);
            }
        }
        all.push(vec![key.clone()]);
    }
    all
}

fn get<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (key, sections) = path.split_last()?;
    let mut table = table;
    for section in sections {
        table = table.get(section)?.as_table()?;
    }
    table.get(key)
}

fn insert(table: &mut Table, path: &[String], value: Value) -> bool {
    let Some(table) = section_of(table, path) else {
        return false;
    };
    let key = last(path);
    !table.contains_key(key) && table.insert(key.to_owned(), value).is_none()
}

fn remove(table: &mut Table, path: &[String]) {
    if let Some(table) = section_of(table, path) {
        table.remove(last(path));
    }
}

fn section_of<'a>(table: &'a mut Table, path: &[String]) -> Option<&'a mut Table> {
    let (_, sections) = path.split_last()?;
    let mut table = table;
    for section in sections {
        table = table.get_mut(section)?.as_table_mut()?;
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::super::Layers;
    use crate::config::RunConfig;
    use models::model::ModelConfig;
    use nn::connection::ConnectionConfig;

    fn set(overrides: &[&str]) -> Result<RunConfig, String> {
        Layers::defaults()
            .set(overrides)
            .and_then(Layers::resolve)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_one() {
        for (given, message) in [
            (
                "model.dimm=8",
                "no setting model.dimm: did you mean model.dim?",
            ),
            ("model.conection.rate=2", "did you mean model.connection?"),
            ("trian.steps=8", "did you mean train?"),
            ("train.learning_rat=1", "did you mean train.learning_rate?"),
            ("dim=8", "no setting dim: did you mean model.dim?"),
            ("model.rate=8", "no setting model.rate: did you mean"),
        ] {
            let error = set(&[given]).unwrap_err();
            assert!(error.contains(message), "{given}: {error}");
        }
    }

    #[test]
    fn keys_inside_a_connection_are_checked_and_named() {
        let hyper = "model.connection.type=hyper";
        let error = set(&[hyper, "model.connection.rat=2"]).unwrap_err();
        assert!(
            error.contains("did you mean model.connection.rate?"),
            "{error}"
        );
        let error = set(&[hyper, "model.connection.rate=two"]).unwrap_err();
        assert!(
            error.starts_with("model.connection.rate: invalid type"),
            "{error}"
        );
        let error = set(&["model.connection.type=hyperr"]).unwrap_err();
        assert!(
            error.starts_with("model.connection.type: unknown variant"),
            "{error}"
        );
        let error = set(&[hyper, "model.connection.rate=0"]).unwrap_err();
        assert!(error.contains("rate is 0"), "{error}");
    }

    #[test]
    fn a_new_type_forgets_the_settings_of_the_old_one() {
        let hyper = set(&["model.connection.rate=2", "model.connection.type=hyper"]).unwrap();
        let ConnectionConfig::Hyper(connection) = hyper.model.connection() else {
            panic!("{:?}", hyper.model.connection());
        };
        assert_eq!(connection.rate, 2);
        let plain = hyper
            .with_overrides(&["model.connection.type=pre_norm"])
            .unwrap();
        assert_eq!(plain.model.connection(), &ConnectionConfig::default());
    }

    #[test]
    fn a_new_type_keeps_what_it_has_no_default_for() {
        let hidden = |config: &RunConfig| config.model.transformer().unwrap().ffn.hidden();
        let gelu = set(&["model.ffn.type=gelu"]).unwrap();
        assert_eq!(hidden(&gelu), hidden(&RunConfig::default()));
    }

    #[test]
    fn another_network_has_its_own_settings() {
        let vit = set(&["model.type=vit", "model.patch=7", "model.dropout=0"]).unwrap();
        let ModelConfig::Vit(config) = &vit.model else {
            panic!("{:?}", vit.model);
        };
        assert_eq!((config.patch, config.dropout), (7, 0.0));
        let error = set(&["model.type=vit", "model.vocab_size=7"]).unwrap_err();
        assert!(error.contains("no setting model.vocab_size"), "{error}");
    }

    #[test]
    fn values_are_toml_or_plain_text() {
        let config = set(&["data.path=some text.txt", "train.learning_rate=3e-4"]).unwrap();
        assert_eq!(config.data.path, "some text.txt");
        assert_eq!(config.train.learning_rate, 3e-4);
        let quoted = set(&["data.path=\"a b\""]).unwrap();
        assert_eq!(quoted.data.path, "a b");
        assert!(set(&["model.dim"]).unwrap_err().contains("there is no ="));
        assert!(
            set(&["model.dim=256.5"])
                .unwrap_err()
                .starts_with("model.dim:")
        );
    }

    #[test]
    fn what_is_written_back_is_the_same_configuration() {
        let config = set(&["model.connection.type=hyper", "optim.beta2=0.99"]).unwrap();
        let text = config.to_table().to_string();
        assert!(text.contains("weight_decay"), "{text}");
        let again = Layers::defaults().table(text.parse().unwrap());
        assert_eq!(again.resolve().unwrap(), config);
    }

    #[test]
    fn impossible_settings_name_their_keys() {
        for (given, message) in [
            ("model.heads=3", "model.dim 64 is not divisible by heads 3"),
            (
                "train.micro_batch=3",
                "train.batch 16 is not a multiple of train.micro_batch 3",
            ),
            ("train.shards=9", "train.shards is 9"),
            ("train.learning_rate=0", "train.learning_rate is 0"),
            ("optim.beta2=1", "optim.beta2 is 1"),
        ] {
            let error = set(&[given]).unwrap_err();
            assert!(error.contains(message), "{given}: {error}");
        }
    }
}
