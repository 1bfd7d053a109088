//! Arms that are written down one by one.

use super::{
    SweepFileError, check_count, grid, known_keys, published_name, take_bool, take_table,
    take_text, wrong,
};
use crate::{
    ablation::{Arm, Tanh},
    config::Layers,
};
use nn::connection::ConnectionConfig;
use toml::{Table, Value};

const KEYS: [&str; 7] = [
    "name",
    "label",
    "connection",
    "set",
    "baseline",
    "paper",
    "matched",
];

/// An arm with what is decided once all arms are known.
pub(super) struct Written {
    pub(super) arm: Arm,
    /// Name of the row of the published table, if it is not the label.
    pub(super) paper: Option<String>,
}

impl From<Arm> for Written {
    fn from(arm: Arm) -> Self {
        Self { arm, paper: None }
    }
}

/// A section `[[arm]]`, of one connection at most.
#[derive(Clone)]
struct Section {
    name: Option<String>,
    label: Option<String>,
    connection: Option<Table>,
    settings: Table,
    baseline: Option<String>,
    paper: Option<String>,
    matched: bool,
}

/// The arms of all sections. Sections of dynamic hyper-connections that stand together and leave
/// tanh open are repeated together for each of its values.
pub(super) fn all_of(sections: Vec<Table>, tanh: Tanh) -> Result<Vec<Written>, SweepFileError> {
    check_count("arm", Some(sections.len()))?;
    let mut all = Vec::new();
    for section in sections {
        all.extend(Section::read(section)?);
        check_count("arm", Some(all.len()))?;
    }
    let mut arms = Vec::with_capacity(all.len());
    for group in all.chunk_by(|one, next| one.leaves_tanh_open() && next.leaves_tanh_open()) {
        if !group[0].leaves_tanh_open() {
            arms.push(group[0].arm(None)?);
            continue;
        }
        for &tanh in tanh.values() {
            for section in group {
                arms.push(section.arm(Some(tanh))?);
            }
        }
    }
    Ok(arms)
}

impl Section {
    /// The section, once for each connection if it is of all.
    fn read(mut table: Table) -> Result<Vec<Self>, SweepFileError> {
        known_keys("arm.", &table, &KEYS)?;
        let connection = table.remove("connection");
        let section = Self {
            name: take_text(&mut table, "name")?,
            label: take_text(&mut table, "label")?,
            connection: None,
            settings: grid::settings(&take_table(&mut table, "set")?.unwrap_or_default())?,
            baseline: take_text(&mut table, "baseline")?,
            paper: take_text(&mut table, "paper")?,
            matched: take_bool(&mut table, "matched")?,
        };
        let of = |connection| Self {
            connection: Some(connection),
            ..section.clone()
        };
        Ok(match connection {
            None => vec![section],
            Some(Value::Table(connection)) => vec![of(connection)],
            Some(Value::String(all)) if all == "all" => every_connection().map(of).collect(),
            Some(_) => {
                let reason =
                    "expected a section such as { type = \"hyper\", rate = 2 }, or \"all\"";
                return Err(wrong("arm.connection", reason));
            }
        })
    }

    fn leaves_tanh_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| {
            let given = |key| connection.get(key);
            given("type").and_then(Value::as_str) == Some("hyper")
                && given("dynamic") != Some(&Value::Boolean(false))
                && given("tanh").is_none()
        })
    }

    fn arm(&self, tanh: Option<bool>) -> Result<Written, SweepFileError> {
        let mut arm = Arm {
            name: String::new(),
            label: String::new(),
            settings: self.settings.clone(),
            baseline: self.baseline.clone(),
            paper: None,
            matched: self.matched,
        };
        let Some(connection) = &self.connection else {
            let name = self.name.clone();
            let reason = "every arm needs a name, or a connection to be named after";
            arm.name = name.ok_or_else(|| wrong("arm.name", reason))?;
            arm.label = self.label.clone().unwrap_or_else(|| arm.name.clone());
            return Ok(Written {
                arm,
                paper: self.paper.clone(),
            });
        };
        let mut connection = connection.clone();
        connection.extend(tanh.map(|tanh| ("tanh".to_owned(), tanh.into())));
        let connection = whole(connection)?;
        let (name, label) = names(&connection);
        let filled = |template: &Option<String>, with: &str| {
            let template = template.as_deref().unwrap_or("{connection}");
            template.replace("{connection}", with)
        };
        arm.name = filled(&self.name, &name);
        arm.label = filled(&self.label, &label);
        let is_section = |value: &Value| value.is_table();
        if !self.settings.get("model").is_none_or(is_section)
            || self
                .settings
                .get("model")
                .and_then(|model| model.get("connection"))
                .is_some()
        {
            return Err(wrong(
                "arm.connection",
                "set gives the arm another: leave one out",
            ));
        }
        let value = Value::try_from(&connection).expect("a configuration becomes TOML");
        let paper = self
            .paper
            .as_ref()
            .map(|row| row.replace("{connection}", &published_name(&label)));
        Ok(Written {
            arm: arm.with("model", "connection", value),
            paper,
        })
    }
}

/// Every connection, hyper-connections static before dynamic.
fn every_connection() -> impl Iterator<Item = Table> {
    ConnectionConfig::all().into_iter().flat_map(|connection| {
        let kind = ("type".to_owned(), kind_of(&connection).into());
        let usual = Table::from_iter([kind.clone()]);
        let fixed = matches!(connection, ConnectionConfig::Hyper(_));
        let fixed = fixed.then(|| Table::from_iter([kind, ("dynamic".to_owned(), false.into())]));
        fixed.into_iter().chain([usual])
    })
}

/// The whole of a connection: an arm inherits nothing from what is laid under it.
fn whole(given: Table) -> Result<ConnectionConfig, SweepFileError> {
    let under =
        |section: &str, value: Table| Table::from_iter([(section.to_owned(), value.into())]);
    let config = Layers::defaults()
        .table(under("model", under("connection", given)))
        .read();
    let config = config.map_err(|error| wrong("arm.connection", error.to_string()))?;
    Ok(config.model.connection().clone())
}

/// Name in paths and name in tables, `dhc-x4` and `DHC x4 w/o tanh`.
fn names(connection: &ConnectionConfig) -> (String, String) {
    let name = match connection {
        ConnectionConfig::Hyper(config) => {
            let kind = if config.dynamic { "dhc" } else { "shc" };
            let tanh = if config.dynamic && !config.tanh {
                "-no-tanh"
            } else {
                ""
            };
            format!("{kind}-x{}{tanh}", config.rate)
        }
        other => kind_of(other).replace('_', "-"),
    };
    (name, connection.spec().label())
}

fn kind_of(connection: &ConnectionConfig) -> String {
    let table = Table::try_from(connection).expect("a configuration becomes TOML");
    let kind = table.get("type").and_then(Value::as_str);
    kind.expect("a connection has a type").to_owned()
}
