//! Settings over settings: defaults, a file, the command line.

use super::{ConfigError, RunConfig, resolve::resolve};
use crate::files::{parse_toml, read_text};
use std::path::Path;
use toml::{Table, Value};

/// The key that says which kind of thing a table describes.
const TYPE: &str = "type";

/// Parts of a key at most.
const DEEPEST: usize = 16;

/// A configuration in the making.
#[derive(Clone, Debug)]
pub struct Layers {
    settings: Table,
    /// Settings of a kind that a later layer has replaced: used again only where the
    /// new kind has no default of its own.
    replaced: Table,
}

impl Layers {
    /// The defaults.
    pub fn defaults() -> Self {
        Self::over(&RunConfig::default())
    }

    /// What is given, to be laid over.
    pub fn over(config: &RunConfig) -> Self {
        Self {
            settings: config.to_table(),
            replaced: Table::new(),
        }
    }

    /// Lays the settings of a TOML file over these.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], [`ConfigError::NotToml`].
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let layer = parse_toml(&text).map_err(|wrong| ConfigError::NotToml {
            path: path.to_owned(),
            line: wrong.line,
            reason: wrong.reason,
        })?;
        Ok(self.table(layer))
    }

    /// Lays `key.path=value` settings over these, all at once: their order does not
    /// matter. A value that is not TOML is taken as text.
    ///
    /// # Errors
    /// [`ConfigError::BadOverride`].
    pub fn set<S: AsRef<str>>(self, overrides: &[S]) -> Result<Self, ConfigError> {
        let mut layer = Table::new();
        for text in overrides {
            let text = text.as_ref();
            let bad = |reason: &str| ConfigError::BadOverride {
                text: text.to_owned(),
                reason: reason.to_owned(),
            };
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| bad("there is no = in it"))?;
            let mut parts: Vec<&str> = key.trim().split('.').map(str::trim).collect();
            if parts.iter().any(|part| part.is_empty()) {
                return Err(bad("a part of the key is empty"));
            }
            if parts.len() > DEEPEST {
                return Err(bad("the key has more parts than any setting"));
            }
            let last = parts.pop().expect("a split has one part at least");
            let mut table = &mut layer;
            for part in parts {
                table = table
                    .entry(part)
                    .or_insert_with(|| Value::Table(Table::new()))
                    .as_table_mut()
                    .ok_or_else(|| bad("a part of the key has been given a value already"))?;
            }
            table.insert(last.to_owned(), value_of(value.trim()));
        }
        Ok(self.table(layer))
    }

    /// Lays a table over these.
    pub fn table(mut self, layer: Table) -> Self {
        merge(&mut self.settings, &mut self.replaced, layer);
        self
    }

    /// The finished configuration, valid as a whole.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`], [`ConfigError::BadValue`], [`ConfigError::Invalid`].
    pub fn resolve(self) -> Result<RunConfig, ConfigError> {
        let config = resolve(self.settings, &self.replaced)?;
        config.validate()?;
        Ok(config)
    }
}

/// A value in TOML, or plain text.
fn value_of(text: &str) -> Value {
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value").expect("the only key"),
        _ => Value::String(text.to_owned()),
    }
}

fn merge(below: &mut Table, replaced: &mut Table, layer: Table) {
    let changes = |below: &Table| {
        layer
            .get(TYPE)
            .is_some_and(|new| below.get(TYPE) != Some(new))
    };
    if below.contains_key(TYPE) && changes(below) {
        *replaced = std::mem::take(below);
    }
    for (key, value) in layer {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(layer)) => {
                let replaced = replaced
                    .entry(key)
                    .or_insert_with(|| Value::Table(Table::new()));
                if !replaced.is_table() {
                    *replaced = Value::Table(Table::new());
                }
                merge(below, replaced.as_table_mut().expect("a table"), layer);
            }
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}
