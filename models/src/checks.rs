//! Checks that the configurations of several networks share.

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
