//! One arm of an ablation.

use crate::{config::insert, paper::PaperRow};
use nn::connection::ConnectionConfig;
use toml::{Table, Value};

/// A name, and the settings in which it differs from the other arms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arm {
    /// Name in paths.
    pub name: String,
    /// Name in tables.
    pub label: String,
    /// Settings laid over those that all arms share.
    pub settings: Table,
    /// Name of the arm it is compared with; `None` for a baseline.
    pub baseline: Option<String>,
    /// The paper's numbers for the same arm.
    pub paper: Option<PaperRow>,
    /// Length of the training as a multiple of that of the settings, in a sweep over several.
    pub horizon: Option<u64>,
    /// Feed-forward layers are made narrower or wider until the arm has as many trained parameters
    /// as its baseline.
    pub matched: bool,
}

/// Name of the usual baseline.
const PRE_NORM: &str = "pre-norm";

impl Arm {
    /// The usual baseline: a pre-norm network.
    pub fn pre_norm() -> Self {
        Self {
            baseline: None,
            ..Self::of(PRE_NORM, PRE_NORM, &ConnectionConfig::default())
        }
    }

    /// A connection, compared with [`Arm::pre_norm`].
    pub fn of(name: &str, label: &str, connection: &ConnectionConfig) -> Self {
        let connection = Value::try_from(connection).expect("a configuration becomes TOML");
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            baseline: Some(PRE_NORM.to_owned()),
            ..Self::default()
        }
        .with("model.connection", connection)
    }

    /// Adds one setting, `section.key = value`.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        insert(&mut self.settings, key, value.into()).expect("a section is a table");
        self
    }

    /// Trained this many times as long, beside a baseline of that length.
    pub fn at_horizon(&self, times: u64) -> Self {
        Self {
            name: name_at(&self.name, times),
            label: format!("{}{}", self.label, label_end(times)),
            baseline: self.baseline.as_ref().map(|name| name_at(name, times)),
            horizon: Some(times),
            ..self.clone()
        }
    }

    /// Name in paths without a length of the training.
    pub fn base_name(&self) -> &str {
        let end = self.horizon.map(|times| name_at("", times));
        let name = end.and_then(|end| self.name.strip_suffix(&end));
        name.unwrap_or(&self.name)
    }

    /// Name in tables without a length of the training.
    pub fn base_label(&self) -> &str {
        let label = self.horizon.map(label_end);
        let label = label.and_then(|end| self.label.strip_suffix(&end));
        label.unwrap_or(&self.label)
    }

    /// Returns whether others are compared with it.
    pub fn is_baseline(&self) -> bool {
        self.baseline.is_none()
    }
}

/// Name in paths of an arm that is trained this many times as long, `dhc-x4_h8`.
pub(super) fn name_at(arm: &str, times: u64) -> String {
    format!("{arm}_h{times}")
}

fn label_end(times: u64) -> String {
    format!(", ×{times}")
}

/// Choice of tanh in the predictors of dynamic arms.
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
