//! One arm of an ablation.

use crate::paper::{PaperRow, PaperTable};
use nn::connection::{ConnectionConfig, HyperConfig};
use toml::{Table, Value};

/// What is compared: a name, and the settings in which it differs from the other arms.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// Its name in paths.
    pub name: String,
    /// Its name in tables.
    pub label: String,
    /// Settings laid over those that all arms share.
    pub settings: Table,
    /// The name of the arm it is compared with; `None` for a baseline.
    pub baseline: Option<String>,
    /// The paper's numbers for the same arm.
    pub paper: Option<PaperRow>,
    /// Whether its feed-forward layers are made narrower or wider until it has as many trained
    /// parameters as its baseline.
    pub matched: bool,
}

/// The name of the usual baseline.
const PRE_NORM: &str = "pre-norm";

impl Arm {
    /// The usual baseline: a pre-norm network.
    pub fn pre_norm() -> Self {
        let connection = ConnectionConfig::default();
        Self {
            baseline: None,
            ..Self::of(PRE_NORM, PRE_NORM, &connection)
        }
    }

    /// A connection, compared with [`Arm::pre_norm`].
    pub fn of(name: &str, label: &str, connection: &ConnectionConfig) -> Self {
        let connection = Value::try_from(connection).expect("a configuration becomes TOML");
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            settings: Table::new(),
            baseline: Some(PRE_NORM.to_owned()),
            paper: None,
            matched: false,
        }
        .with("model", "connection", connection)
    }

    /// Hyper-connections under their usual names, `dhc-x4` and `DHC x4 w/o tanh`.
    pub fn hyper(config: &HyperConfig) -> Self {
        use nn::connection::Spec;
        let kind = if config.dynamic { "dhc" } else { "shc" };
        let mut name = format!("{kind}-x{}", config.rate);
        if config.dynamic && !config.tanh {
            name.push_str("-no-tanh");
        }
        let connection = ConnectionConfig::Hyper(config.clone());
        Self::of(&name, &config.label(), &connection)
    }

    /// Adds a suffix to both names.
    pub fn named(mut self, name: &str, label: &str) -> Self {
        self.name = format!("{}-{name}", self.name);
        self.label = format!("{} {label}", self.label);
        self
    }

    /// Adds one setting, `section.key = value`.
    pub fn with(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        let section = self.settings.entry(section);
        let section = section.or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().expect("a section is a table");
        section.insert(key.to_owned(), value.into());
        self
    }

    /// Adds the paper's numbers.
    pub fn paper(mut self, row: Option<PaperRow>) -> Self {
        self.paper = row;
        self
    }

    /// Adds the numbers of the row that the paper calls as this arm: `DHC×4` for `DHC x4`.
    pub fn beside(self, table: &PaperTable) -> Self {
        let row = table.row(&paper_name(&self.label));
        self.paper(row)
    }

    /// Whether it is what others are compared with.
    pub fn is_baseline(&self) -> bool {
        self.baseline.is_none()
    }
}

/// Whether dynamic arms predict their coefficients through tanh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Tanh {
    /// With tanh.
    #[default]
    On,
    /// Without.
    Off,
    /// Each dynamic arm once with and once without.
    Both,
}

impl Tanh {
    /// The values asked for, in the order of the paper's tables: without before with.
    pub fn values(self) -> &'static [bool] {
        match self {
            Self::On => &[true],
            Self::Off => &[false],
            Self::Both => &[false, true],
        }
    }
}

/// Dynamic hyper-connections of a rate.
pub(super) fn dhc(rate: usize, tanh: bool) -> HyperConfig {
    HyperConfig {
        rate,
        tanh,
        ..HyperConfig::default()
    }
}

/// Static hyper-connections of a rate.
pub(super) fn shc(rate: usize) -> HyperConfig {
    HyperConfig {
        dynamic: false,
        ..dhc(rate, true)
    }
}

/// The paper's name of an arm with the label `DHC x4`.
pub(super) fn paper_name(label: &str) -> String {
    label.replace(" x", "×")
}
