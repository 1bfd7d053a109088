//! From TOML to a configuration, with errors that name the key.

use super::{
    ConfigError, RunConfig,
    nearest::{nearest_word, under_other_name},
};
use nn::settings::{Mistake, Setting, SettingError, TYPE, Table, Value};

/// The configuration that the settings describe.
pub(super) fn resolve(settings: &Table) -> Result<RunConfig, ConfigError> {
    read(settings).map_err(|error| explain(settings, error))
}

/// The configuration, or the first setting that cannot be used.
pub(super) fn read(settings: &Table) -> Result<RunConfig, SettingError> {
    RunConfig::read(&Value::Table(settings.clone()))
}

/// The error with the names and words that may have been meant.
fn explain(settings: &Table, error: SettingError) -> ConfigError {
    let key = error.key.join(".");
    let reason = match &error.mistake {
        Mistake::Unknown { known } => return unknown(settings, &error.key, known),
        Mistake::NoSuchWord { given, words } => {
            let given = given.as_str().unwrap_or_default();
            let nearest = nearest_word(given, words.iter().copied());
            let hint = nearest.map(|nearest| format!(": did you mean {nearest}?"));
            format!("{}{}", error.mistake, hint.unwrap_or_default())
        }
        mistake => mistake.to_string(),
    };
    ConfigError::BadValue { key, reason }
}

/// A setting that does not exist, in a section of these.
fn unknown(settings: &Table, path: &[String], known: &[&str]) -> ConfigError {
    let in_section = |name: &str| [&path[..path.len() - 1], &[name.to_owned()]].concat();
    let kind = in_section(TYPE);
    let of_type = get(settings, &kind).and_then(Value::as_str);
    let siblings = known.iter().copied().chain(of_type.map(|_| TYPE));
    let siblings = siblings.map(|name| in_section(name).join("."));
    let key = path.join(".");
    ConfigError::UnknownKey {
        nearest: nearest(settings, &key, siblings.collect()),
        key,
        of_type: of_type.map(|word| format!("{} is {word}", kind.join("."))),
    }
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
