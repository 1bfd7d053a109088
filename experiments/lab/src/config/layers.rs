//! Settings over settings: defaults, a file, the command line.

use super::{
    ConfigError, RunConfig,
    earlier::current_names,
    resolve::{resolve, section_mut},
    types::change_type,
};
use crate::{
    data::{Builtin, images::Drawn},
    files::{parse_toml, read_text},
};
use nn::settings::TYPE;
use std::path::Path;
use toml::{Table, Value};

/// Parts of a key at most.
pub(crate) const DEEPEST: usize = 16;

/// A configuration in the making.
///
/// Every setting is explicit at any time, so that a layer changes what it names and nothing
/// else. A layer that names a `type` changes what hangs on it, see `types`.
#[derive(Clone, Debug)]
pub struct Layers {
    settings: Table,
}

impl Layers {
    /// The defaults.
    pub fn defaults() -> Self {
        Self::over(&RunConfig::default())
    }

    /// The settings that a run has written, none of them filled in; see [`RunConfig::of_run`].
    pub fn recorded(settings: Table) -> Self {
        let settings = current_names(settings);
        Self { settings }
    }

    /// No settings at all: to hold those that somebody chooses.
    pub fn none() -> Self {
        Self {
            settings: Table::new(),
        }
    }

    /// Returns whether these layers give a value to `key.path`.
    pub fn sets(&self, key: &str) -> bool {
        let mut parts = key.split('.');
        let last = parts.next_back().expect("a split has one part at least");
        let table = parts.try_fold(&self.settings, |table, part| table.get(part)?.as_table());
        table.is_some_and(|table| table.contains_key(last))
    }

    /// A configuration, to lay other settings over.
    pub fn over(config: &RunConfig) -> Self {
        Self {
            settings: config.to_table(),
        }
    }

    /// Lays the settings of a TOML file over these.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`], [`ConfigError::NotToml`].
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        Ok(self.table(read(path)?))
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
            let parts: Vec<&str> = key.trim().split('.').map(str::trim).collect();
            if parts.iter().any(|part| part.is_empty()) {
                return Err(bad("a part of the key is empty"));
            }
            if parts.len() > DEEPEST {
                return Err(bad("the key has more parts than any setting"));
            }
            insert(&mut layer, &parts.join("."), value_of(value.trim()))
                .ok_or_else(|| bad("a part of the key has been given a value already"))?;
        }
        Ok(self.table(layer))
    }

    /// Lays a table over these.
    pub fn table(mut self, layer: Table) -> Self {
        merge(&mut self.settings, &mut Vec::new(), current_names(layer));
        self
    }

    /// The configuration as far as it is, which may not be valid as a whole yet.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`], [`ConfigError::BadValue`].
    pub fn read(self) -> Result<RunConfig, ConfigError> {
        let mut config = resolve(&self.settings)?;
        let reads_builtin =
            config.data.path.is_empty() && config.model.objective().patches().is_none();
        if !reads_builtin {
            config.data.builtin = Builtin::of_earlier_runs();
        }
        if !config.data.path.is_empty() {
            config.data.drawn = Drawn::Shapes;
        }
        Ok(config)
    }

    /// The finished configuration, valid as a whole.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`], [`ConfigError::BadValue`], [`ConfigError::Invalid`].
    pub fn resolve(self) -> Result<RunConfig, ConfigError> {
        let config = self.read()?;
        config.validate()?;
        Ok(config)
    }
}

/// The settings in a TOML file.
pub(super) fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = read_text(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse_toml(&text).map_err(|wrong| ConfigError::NotToml {
        path: path.to_owned(),
        line: wrong.line,
        reason: wrong.reason,
    })
}

/// The settings that give one `key.path` a value.
pub fn setting(key: &str, value: Value) -> Table {
    let mut settings = Table::new();
    insert(&mut settings, key, value).expect("nothing has a value yet");
    settings
}

/// Gives `key.path` a value; `None` if a part of the path has one.
pub(crate) fn insert(table: &mut Table, key: &str, value: Value) -> Option<()> {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Some(());
    };
    let section = table.entry(section);
    let section = section.or_insert_with(|| Value::Table(Table::new()));
    insert(section.as_table_mut()?, rest, value)
}

/// A value in TOML, or plain text.
fn value_of(text: &str) -> Value {
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value").expect("the only key"),
        _ => Value::String(text.to_owned()),
    }
}

/// Lays `layer` over the section of `settings` at `path`.
fn merge(settings: &mut Table, path: &mut Vec<String>, layer: Table) {
    if let Some(kind) = layer.get(TYPE) {
        change_type(settings, path, kind);
    }
    for (key, value) in layer {
        let section = section_mut(settings, path).expect("merged sections exist");
        match (section.get(&key), value) {
            (Some(Value::Table(_)), Value::Table(inner)) => {
                path.push(key);
                merge(settings, path, inner);
                path.pop();
            }
            (_, value) => {
                section.insert(key, value);
            }
        }
    }
}
