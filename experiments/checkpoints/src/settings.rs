//! Settings of a checkpoint: from its configuration, or assumed.

use crate::CheckpointError;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, path::Path};

/// A setting that a family has.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name in reports.
    pub name: &'static str,
    /// The keys of the configuration, the first found counts; a GGUF file has the architecture
    /// before a key that begins with a dot.
    pub keys: &'static [&'static str],
    /// The value if no key is there.
    pub default: f64,
}

/// The most iterations, streams or layers that a configuration may ask for.
const MOST: f64 = 10_000.0;

/// Iterations of Sinkhorn.
pub(crate) const ITERATIONS: Setting = Setting {
    name: "iterations",
    keys: &[
        "hc_sinkhorn_iters",
        "mhc_sinkhorn_iters",
        "mhc_sinkhorn_iterations",
        "mhc_recur_norm",
        "sinkhorn_iters",
        "mhc_num_iters",
        ".hyper_connection.sinkhorn_iterations",
    ],
    default: 20.0,
};

/// The eps of the connection.
pub(crate) const EPS: Setting = Setting {
    name: "eps",
    keys: &["hc_eps", "mhc_epsilon", ".hyper_connection.epsilon"],
    default: 1e-6,
};

/// The eps of the root mean square norm.
pub(crate) const NORM_EPS: Setting = Setting {
    name: "norm eps",
    keys: &[
        "rms_norm_eps",
        "norm_eps",
        "layernorm_epsilon",
        ".attention.layer_norm_rms_epsilon",
    ],
    default: 1e-6,
};

/// The same where the released configuration has 1e-5.
pub(crate) const NORM_EPS_5: Setting = Setting {
    default: 1e-5,
    ..NORM_EPS
};

/// A setting with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The name in reports.
    pub name: &'static str,
    /// The value.
    pub value: f64,
    /// The key that it was read from; `None` if it is assumed.
    pub key: Option<String>,
}

/// The configuration of a checkpoint.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    path: &'a Path,
    values: &'a Map<String, Value>,
}

impl<'a> Config<'a> {
    pub(crate) fn new(path: &'a Path, values: &'a Map<String, Value>) -> Self {
        Self { path, values }
    }

    /// The value of a key: at the top, or in a part for the language model.
    fn find(&self, key: &str) -> Option<&'a Value> {
        if key.starts_with('.') {
            let architecture = self.values.get("general.architecture")?.as_str()?;
            return self.values.get(&format!("{architecture}{key}"));
        }
        let parts = [
            "text_config",
            "llm_config",
            "language_config",
            "thinker_config",
        ];
        let mut places = vec![self.values];
        let mut at = 0;
        while at < places.len() && places.len() < 16 {
            let inner = parts
                .iter()
                .filter_map(|part| places[at].get(*part)?.as_object());
            let inner: Vec<_> = inner.collect();
            places.extend(inner);
            at += 1;
        }
        places
            .into_iter()
            .find_map(|place| place.get(key).filter(|value| !value.is_null()))
    }

    /// The names by which the configuration says what the network is.
    pub(crate) fn families(&self) -> Vec<String> {
        let mut names = Vec::new();
        let text = self.values.get("text_config").and_then(Value::as_object);
        for place in text.into_iter().chain([self.values]) {
            for key in ["model_type", "general.architecture"] {
                names.extend(place.get(key).and_then(Value::as_str).map(str::to_owned));
            }
            let classes = place.get("architectures").and_then(Value::as_array);
            let classes = classes.into_iter().flatten().filter_map(Value::as_str);
            names.extend(classes.map(str::to_owned));
        }
        names
    }

    /// A number of at least `least`; `None` if no key is there.
    pub(crate) fn number(
        &self,
        keys: &[&str],
        least: f64,
        most: f64,
    ) -> Result<Option<(String, f64)>, CheckpointError> {
        let found = keys.iter().find_map(|key| Some((*key, self.find(key)?)));
        let Some((key, value)) = found else {
            return Ok(None);
        };
        let number = value
            .as_f64()
            .or(value.as_bool().map(|yes| f64::from(u8::from(yes))));
        let number = number.filter(|x| (least..=most).contains(x));
        let number = number.ok_or_else(|| CheckpointError::Setting {
            key: key.to_owned(),
            path: self.path.to_owned(),
            reason: format!("it is {value}, expected a number from {least} to {most}"),
        })?;
        Ok(Some((key.to_owned(), number)))
    }

    /// A number that counts something.
    pub(crate) fn count(&self, keys: &[&str]) -> Result<Option<(String, usize)>, CheckpointError> {
        let found = self.number(keys, 0.0, f64::from(u32::MAX))?;
        Ok(found.map(|(key, number)| (key, number as usize)))
    }

    /// Whether a key is there and true.
    pub(crate) fn says(&self, key: &str) -> bool {
        self.find(key).and_then(Value::as_bool) == Some(true)
    }

    /// The settings of a family.
    pub(crate) fn choose(&self, all: &[Setting]) -> Result<Vec<Chosen>, CheckpointError> {
        let chosen = all.iter().map(|setting| {
            let (least, most) = match setting.name {
                "iterations" => (1.0, MOST),
                _ => (0.0, 1e3),
            };
            let found = self.number(setting.keys, least, most)?;
            let (key, value) = match found {
                Some((key, value)) => (Some(key), value),
                None => (None, setting.default),
            };
            Ok(Chosen {
                name: setting.name,
                value,
                key,
            })
        });
        chosen.collect()
    }
}

/// Settings by name.
#[derive(Debug, Default)]
pub(crate) struct Values(BTreeMap<&'static str, f64>);

impl Values {
    pub(crate) fn new(chosen: &[Chosen]) -> Self {
        Self(chosen.iter().map(|one| (one.name, one.value)).collect())
    }

    /// The value of a setting that the family has.
    pub(crate) fn of(&self, setting: &Setting) -> f64 {
        self.0.get(setting.name).copied().unwrap_or(setting.default)
    }

    pub(crate) fn iterations(&self) -> usize {
        self.of(&ITERATIONS) as usize
    }
}
