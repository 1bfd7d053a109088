//! From TOML to a configuration, with errors that name the key.
//!
//! serde says what is wrong but, inside tables that are read by their `type`, not
//! where. The key is found by taking settings away one at a time: the one without
//! which the complaint vanishes is the one complained about.

use super::{
    ConfigError, RunConfig,
    nearest::{nearest_word, under_other_name},
};
use toml::{Table, Value};

/// The key that says which kind of thing a table describes.
pub(super) const TYPE: &str = "type";

/// The configuration that the settings describe.
pub(super) fn resolve(settings: &Table) -> Result<RunConfig, ConfigError> {
    read(settings).map_err(|complaint| explain(settings, &complaint))
}

/// The configuration, or serde's complaint.
pub(super) fn read(settings: &Table) -> Result<RunConfig, String> {
    settings
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| error.message().to_owned())
}

/// The setting whose absence a complaint is about.
pub(super) fn missing_field(complaint: &str) -> Option<String> {
    quoted_after(complaint, "missing field ").into_iter().next()
}

fn explain(settings: &Table, complaint: &str) -> ConfigError {
    let unknown = quoted_after(complaint, "unknown field ");
    let no_word = quoted_after(complaint, "unknown variant ");
    let is_word = |path: &[String], word: &str| {
        get(settings, path).is_some_and(|value| value.as_str() == Some(word))
    };
    let culprit = paths(settings)
        .into_iter()
        .filter(|path| unknown.first().is_none_or(|field| last(path) == field))
        .filter(|path| no_word.first().is_none_or(|word| is_word(path, word)))
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
            // Rather a setting than the whole section around it, unless a section stands where
            // a value should.
            let is_section = get(settings, &path).is_some_and(Value::is_table);
            let section_meant = complaint.starts_with("invalid type: map");
            Some(((is_section != section_meant, rank), path))
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
        let value = get(settings, &path).expect("a path of the settings");
        let reason = unfit(value, complaint);
        return ConfigError::BadValue { key, reason };
    }
    let section = &path[..path.len() - 1];
    let in_section = |name: &String| [section, std::slice::from_ref(name)].concat();
    let mut siblings = quoted_after(complaint, "expected ");
    let kind = in_section(&"type".to_owned());
    let of_type = get(settings, &kind).and_then(Value::as_str);
    if of_type.is_some() {
        siblings.push("type".to_owned());
    }
    let siblings = siblings.iter().map(|name| in_section(name).join("."));
    ConfigError::UnknownKey {
        nearest: nearest(settings, &key, siblings.collect()),
        key,
        of_type: of_type.map(|word| format!("{} is {word}", kind.join("."))),
    }
}

/// Mistake in a value, in words for people who do not program.
fn unfit(value: &Value, complaint: &str) -> String {
    let Some((_, expected)) = complaint.rsplit_once("expected ") else {
        return complaint.to_owned();
    };
    let expected = match expected {
        "usize" | "u64" | "u32" => "a whole number, 0 or more",
        "i64" | "i32" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        _ if expected.starts_with("internally tagged") || expected.starts_with("struct") => {
            "a section of settings"
        }
        _ if complaint.starts_with("unknown variant") => return no_such_word(value, complaint),
        _ => return complaint.to_owned(),
    };
    match value {
        Value::Table(_) => format!("expected {expected}, not a section of settings"),
        Value::Float(x)
            if expected.starts_with("a whole") && x.fract() == 0.0 && x.abs() < 1e18 =>
        {
            format!("expected {expected}, in digits only: {x}, not {value}")
        }
        value => format!("expected {expected}, not {value}"),
    }
}

/// A word that is none of those that a setting takes.
fn no_such_word(value: &Value, complaint: &str) -> String {
    let words = quoted_after(complaint, "expected ");
    let given = value.as_str().unwrap_or_default();
    let hint = match nearest_word(given, words.iter().map(String::as_str)) {
        Some(nearest) => format!(": did you mean {nearest}?"),
        None => String::new(),
    };
    format!("expected {}, not {value}{hint}", words.join(", "))
}

/// The key that was meant: under the name that other programs have for it, among the siblings
/// or, if none is close, anywhere.
fn nearest(settings: &Table, key: &str, siblings: Vec<String>) -> Option<String> {
    let exists = |key: &str| {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        get(settings, &path).is_some()
    };
    let name = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let wanted = name(key);
    if let Some(known) = under_other_name(&wanted).filter(|known| *known != key && exists(known)) {
        return Some(known.to_owned());
    }
    let distance = |other: &String| strsim::damerau_levenshtein(&wanted, &name(other));
    let names: Vec<String> = siblings.iter().map(|key| name(key)).collect();
    let close = nearest_word(&wanted, names.iter().map(String::as_str))
        .and_then(|close| siblings.iter().find(|key| name(key) == close));
    let all = || {
        let mut all: Vec<String> = paths(&RunConfig::default().to_table())
            .iter()
            .map(|path| path.join("."))
            .filter(|path| path != key)
            .collect();
        // Sections after settings: `dim` is rather model.dim than a section.
        all.sort_by_key(|path| distance(path));
        let best = all.first().filter(|other| distance(other) <= 1);
        best.cloned()
    };
    close.cloned().or_else(all)
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

fn remove(table: &mut Table, path: &[String]) {
    if let Some((key, sections)) = path.split_last()
        && let Some(section) = section_mut(table, sections)
    {
        section.remove(key);
    }
}

/// The section at a path.
pub(super) fn section_mut<'a>(table: &'a mut Table, path: &[String]) -> Option<&'a mut Table> {
    path.iter()
        .try_fold(table, |table, key| table.get_mut(key)?.as_table_mut())
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
                "no setting model.dimm where model.type is transformer: did you mean model.dim?",
            ),
            ("model.conection.rate=2", "did you mean model.connection?"),
            ("trian.steps=8", "did you mean train?"),
            ("train.learning_rat=1", "did you mean train.learning_rate?"),
            ("dim=8", "no setting dim: did you mean model.dim?"),
            (
                "model.rate=8",
                "no setting model.rate where model.type is transformer: train --dry-run lists those there are",
            ),
            ("train.lr=1", "did you mean train.learning_rate?"),
            ("lr=1", "did you mean train.learning_rate?"),
            ("optim.wd=1", "did you mean optim.weight_decay?"),
            ("train.weight_decay=1", "did you mean optim.weight_decay?"),
            ("train.batch_size=1", "did you mean train.batch?"),
            ("model.d_model=8", "did you mean model.dim?"),
            ("model.n_layer=8", "did you mean model.layers?"),
            ("train.epochs=8", "did you mean train.steps?"),
            ("train.sed=8", "did you mean train.seed?"),
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
            error.starts_with(
                "model.connection.rate: expected a whole number, 0 or more, not \"two\""
            ),
            "{error}"
        );
        let error = set(&["model.connection.type=hyperr"]).unwrap_err();
        assert!(
            error.starts_with("model.connection.type: expected pre_norm, post_norm,")
                && error.ends_with("not \"hyperr\": did you mean hyper?"),
            "{error}"
        );
        let error = set(&[hyper, "model.connection.rate=0"]).unwrap_err();
        assert!(error.contains("rate is 0"), "{error}");
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_in_plain_words() {
        for (given, message) in [
            (
                "model.dim=1e9",
                "model.dim: expected a whole number, 0 or more, in digits only: 1000000000, not \
                 1000000000.0",
            ),
            (
                "model.dim=256.5",
                "model.dim: expected a whole number, 0 or more, not 256.5",
            ),
            (
                "train.steps=-5",
                "train.steps: expected a whole number, 0 or more, not -5",
            ),
            (
                "train.seed=one",
                "train.seed: expected a whole number, 0 or more, not \"one\"",
            ),
            (
                "optim.eps=small",
                "optim.eps: expected a number, not \"small\"",
            ),
            (
                "model.qk_norm=1",
                "model.qk_norm: expected true or false, not 1",
            ),
            ("data.path=5", "data.path: expected a text, not 5"),
            (
                "model.dim.a=5",
                "model.dim: expected a whole number, 0 or more, not a section of settings",
            ),
            ("optim=5", "optim: expected a section of settings, not 5"),
            ("model=5", "model: expected a section of settings, not 5"),
            (
                "train.schedule=linear",
                "train.schedule: expected constant, cosine, not \"linear\"",
            ),
        ] {
            assert_eq!(set(&[given]).unwrap_err(), message);
        }
    }

    #[test]
    fn a_new_type_forgets_what_it_does_not_have() {
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
