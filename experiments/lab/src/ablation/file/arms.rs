//! Arms that are written down one by one.

use super::{
    error::{SweepFileError, check_count, meant, wrong},
    grid, known_keys, published_name, take,
};
use crate::{
    ablation::{Arm, Tanh},
    config::{Layers, nearest_word, setting},
    paper::{PaperRow, PaperTable},
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

/// Stands for the names of the connection in the names of an arm.
const CONNECTION: &str = "{connection}";

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
pub(super) fn all_of(
    sections: Vec<Table>,
    tanh: Tanh,
    paper: Option<&PaperTable>,
) -> Result<Vec<Arm>, SweepFileError> {
    check_count("arm", Some(sections.len()))?;
    let mut all = Vec::new();
    for section in sections {
        all.extend(Section::read(section)?);
        check_count("arm", Some(all.len()))?;
    }
    let mut arms = Vec::with_capacity(all.len());
    for group in all.chunk_by(|one, next| one.leaves_tanh_open() && next.leaves_tanh_open()) {
        let values: Vec<Option<bool>> = match group[0].leaves_tanh_open() {
            true => tanh.values().iter().copied().map(Some).collect(),
            false => vec![None],
        };
        for tanh in values {
            for section in group {
                arms.push(section.arm(tanh, paper)?);
            }
        }
    }
    Ok(arms)
}

impl Section {
    /// The section, once for each connection if it is of all.
    fn read(mut table: Table) -> Result<Vec<Self>, SweepFileError> {
        known_keys("arm.", &table, &KEYS)?;
        let settings: Option<Table> = take(&mut table, "set", "a section [arm.set]")?;
        let section = Self {
            name: take(&mut table, "name", "a text")?,
            label: take(&mut table, "label", "a text")?,
            connection: None,
            settings: grid::settings(&settings.unwrap_or_default())?,
            baseline: take(&mut table, "baseline", "a text")?,
            paper: take(&mut table, "paper", "a text")?,
            matched: take(&mut table, "matched", "true or false")?.unwrap_or_default(),
        };
        let of = |connection| Self {
            connection: Some(connection),
            ..section.clone()
        };
        Ok(match table.remove("connection") {
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
        self.connection.as_ref().is_some_and(|given| {
            given.get("type").and_then(Value::as_str) == Some("hyper")
                && given.get("dynamic") != Some(&Value::Boolean(false))
                && !given.contains_key("tanh")
        })
    }

    /// The arm, with tanh as given where the section leaves it open.
    fn arm(&self, tanh: Option<bool>, paper: Option<&PaperTable>) -> Result<Arm, SweepFileError> {
        let mut arm = Arm {
            settings: self.settings.clone(),
            baseline: self.baseline.clone(),
            matched: self.matched,
            ..Arm::default()
        };
        let [name, label] = match &self.connection {
            None => {
                let reason = "every arm needs a name, or a connection to be named after";
                let name = self.name.clone().ok_or_else(|| wrong("arm.name", reason))?;
                [name.clone(), name]
            }
            Some(connection) => {
                let mut connection = connection.clone();
                connection.extend(tanh.map(|tanh| ("tanh".to_owned(), tanh.into())));
                let connection = whole(connection)?;
                let is_free = |model: &Value| {
                    let model = model.as_table();
                    model.is_some_and(|model| !model.contains_key("connection"))
                };
                if !arm.settings.get("model").is_none_or(is_free) {
                    return Err(wrong(
                        "arm.connection",
                        "set gives the arm another: leave one out",
                    ));
                }
                let value = Value::try_from(&connection).expect("a configuration becomes TOML");
                arm = arm.with("model.connection", value);
                names(&connection)
            }
        };
        let filled = |template: &Option<String>, with: &str| {
            let template = template.as_deref().unwrap_or(CONNECTION);
            template.replace(CONNECTION, with)
        };
        arm.name = filled(&self.name, &name);
        arm.label = filled(&self.label, &label);
        arm.paper = match &self.paper {
            None => paper.and_then(|paper| paper.row(&published_name(&arm.label))),
            Some(row) => Some(row_of(
                paper,
                &row.replace(CONNECTION, &published_name(&label)),
            )?),
        };
        Ok(arm)
    }
}

/// The row of a published table that an arm names.
fn row_of(paper: Option<&PaperTable>, name: &str) -> Result<PaperRow, SweepFileError> {
    let reason = "the sweep names no table with a key paper";
    let paper = paper.ok_or_else(|| wrong("arm.paper", reason))?;
    paper.row(name).ok_or_else(|| {
        let nearest = nearest_word(name, paper.rows.iter().map(|row| &*row.method));
        let reason = format!("{} has no row {name}{}", paper.place, meant(&nearest));
        wrong("arm.paper", reason)
    })
}

/// Every connection, hyper-connections static before dynamic.
fn every_connection() -> impl Iterator<Item = Table> {
    ConnectionConfig::all().into_iter().flat_map(|connection| {
        let usual = setting("type", kind_of(&connection).into());
        let mut fixed = usual.clone();
        fixed.insert("dynamic".to_owned(), false.into());
        let is_hyper = matches!(connection, ConnectionConfig::Hyper(_));
        is_hyper.then_some(fixed).into_iter().chain([usual])
    })
}

/// The whole of a connection: an arm inherits nothing from what is laid under it.
fn whole(given: Table) -> Result<ConnectionConfig, SweepFileError> {
    let layers = Layers::defaults().table(setting("model.connection", given.into()));
    let config = layers.read();
    let config = config.map_err(|error| wrong("arm.connection", error.to_string()))?;
    Ok(config.model.connection().clone())
}

/// Name in paths and name in tables, `dhc-x4-no-tanh` and `DHC x4 w/o tanh`.
fn names(connection: &ConnectionConfig) -> [String; 2] {
    let name = match connection {
        ConnectionConfig::Hyper(config) => {
            let kind = if config.dynamic { "dhc" } else { "shc" };
            let tanh = config.dynamic && !config.tanh;
            format!(
                "{kind}-x{}{}",
                config.rate,
                if tanh { "-no-tanh" } else { "" }
            )
        }
        other => kind_of(other).replace('_', "-"),
    };
    [name, connection.spec().label()]
}

fn kind_of(connection: &ConnectionConfig) -> String {
    let table = Table::try_from(connection).expect("a configuration becomes TOML");
    let kind = table.get("type").and_then(Value::as_str);
    kind.expect("a connection has a type").to_owned()
}
