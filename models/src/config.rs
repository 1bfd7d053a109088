//! Configuration that several networks share: feed-forward layers, and checks of settings.

use nn::{
    moe::MoeConfig,
    settings::{Section, Setting, SettingError, Value, kind},
};
use serde::{Deserialize, Serialize};

/// A feed-forward layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FfnConfig {
    /// `down(silu(gate x) * up x)`.
    SwiGlu {
        /// The width between the projections.
        hidden: usize,
    },
    /// `down(gelu(up x))`, the exact error function.
    Gelu {
        /// The width between the projections.
        hidden: usize,
    },
    /// A mixture of SwiGLU experts.
    Moe(MoeConfig),
}

impl Setting for FfnConfig {
    fn read(value: &Value) -> Result<Self, SettingError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Kind {
            SwiGlu,
            Gelu,
            Moe,
        }
        let (kind, settings) = kind(value)?;
        let hidden = || Section::of(&settings, &["hidden"])?.required("hidden");
        Ok(match kind {
            Kind::SwiGlu => Self::SwiGlu { hidden: hidden()? },
            Kind::Gelu => Self::Gelu { hidden: hidden()? },
            Kind::Moe => Self::Moe(MoeConfig::read(&settings)?),
        })
    }
}

impl FfnConfig {
    /// The width between the projections, of one expert where there are several.
    pub fn hidden(&self) -> usize {
        match self {
            FfnConfig::SwiGlu { hidden } | FfnConfig::Gelu { hidden } => *hidden,
            FfnConfig::Moe(moe) => moe.hidden,
        }
    }

    /// Sets the width between the projections.
    pub fn set_hidden(&mut self, width: usize) {
        match self {
            FfnConfig::SwiGlu { hidden } | FfnConfig::Gelu { hidden } => *hidden = width,
            FfnConfig::Moe(moe) => moe.hidden = width,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        match self {
            FfnConfig::Moe(moe) => {
                let invalid = |message| ConfigError(format!("ffn.{message}"));
                moe.validate().map_err(invalid)?;
                sizes(&[("ffn.experts", moe.experts), ("ffn.hidden", moe.hidden)])
            }
            FfnConfig::SwiGlu { hidden } | FfnConfig::Gelu { hidden } => {
                sizes(&[("ffn.hidden", *hidden)])
            }
        }
    }

    /// The elements of its matrices between vectors of this width, for sizes that need not be
    /// reasonable.
    pub(crate) fn rough_parameters(&self, dim: f64) -> f64 {
        let hidden = self.hidden() as f64;
        match self {
            FfnConfig::SwiGlu { .. } => 3.0 * dim * hidden,
            FfnConfig::Gelu { .. } => 2.0 * dim * hidden,
            FfnConfig::Moe(moe) => moe.experts as f64 * dim * (3.0 * hidden + 1.0),
        }
    }
}

/// More parameters have no place in any machine's memory; sizes of networks with fewer can be
/// computed without overflow.
pub const MOST_PARAMETERS: f64 = (1_u64 << 40) as f64;

/// The reason why a configuration cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

pub(crate) fn fail(message: String) -> Result<(), ConfigError> {
    Err(ConfigError(message))
}

fn at_least_one(sizes: &[(&str, usize)]) -> Result<(), ConfigError> {
    match sizes.iter().find(|(_, value)| *value == 0) {
        Some((key, _)) => fail(format!("{key} is 0, expected at least 1")),
        None => Ok(()),
    }
}

/// Below these no size that is computed from several of them overflows.
const LARGEST: usize = 1 << 31;
const LARGEST_IMAGE: usize = 1 << 14;
const MOST_CHANNELS: usize = 1 << 10;

pub(crate) fn at_most(sizes: &[(&str, usize, usize)]) -> Result<(), ConfigError> {
    match sizes.iter().find(|(_, value, most)| value > most) {
        Some((key, value, most)) => fail(format!("{key} is {value}, expected at most {most}")),
        None => Ok(()),
    }
}

/// Sizes that are at least 1 and reasonable.
pub(crate) fn sizes(sizes: &[(&str, usize)]) -> Result<(), ConfigError> {
    at_least_one(sizes)?;
    at_most(
        &sizes
            .iter()
            .map(|&(key, value)| (key, value, LARGEST))
            .collect::<Vec<_>>(),
    )
}

pub(crate) fn image(side: usize, channels: usize, patch: usize) -> Result<(), ConfigError> {
    at_least_one(&[("image", side), ("channels", channels), ("patch", patch)])?;
    at_most(&[
        ("image", side, LARGEST_IMAGE),
        ("channels", channels, MOST_CHANNELS),
    ])?;
    if side.is_multiple_of(patch) {
        return Ok(());
    }
    fail(format!(
        "image {side} is not divisible by patch {patch}: patches tile the image"
    ))
}

/// A number of parameters, roughly, that can be counted.
pub(crate) fn countable(parameters: f64) -> Result<(), ConfigError> {
    if parameters <= MOST_PARAMETERS {
        return Ok(());
    }
    fail(format!(
        "its sizes make {parameters:.1e} parameters: choose a smaller dim, ffn or vocabulary"
    ))
}

pub(crate) fn positive(numbers: &[(&str, f64)]) -> Result<(), ConfigError> {
    let bad = |&&(_, value): &&(&str, f64)| !(value.is_finite() && value > 0.0);
    match numbers.iter().find(bad) {
        Some((key, value)) => fail(format!("{key} is {value}, expected a positive number")),
        None => Ok(()),
    }
}
