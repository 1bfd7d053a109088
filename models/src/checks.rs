//! What the configurations of all networks must fulfil.

use crate::{block::TrunkConfig, config::ConfigError};

fn fail(message: String) -> Result<(), ConfigError> {
    Err(ConfigError(message))
}

pub(crate) fn at_least_one(sizes: &[(&str, usize)]) -> Result<(), ConfigError> {
    match sizes.iter().find(|(_, value)| *value == 0) {
        Some((key, _)) => fail(format!("{key} is 0, expected at least 1")),
        None => Ok(()),
    }
}

pub(crate) fn positive(numbers: &[(&str, f64)]) -> Result<(), ConfigError> {
    let bad = |&&(_, value): &&(&str, f64)| !(value.is_finite() && value > 0.0);
    match numbers.iter().find(bad) {
        Some((key, value)) => fail(format!("{key} is {value}, expected a positive number")),
        None => Ok(()),
    }
}

pub(crate) fn patches_tile(image: usize, patch: usize) -> Result<(), ConfigError> {
    if image.is_multiple_of(patch) {
        return Ok(());
    }
    fail(format!(
        "image {image} is not divisible by patch {patch}: patches tile the image"
    ))
}

/// What the blocks of any network must fulfil.
pub(crate) fn trunk(trunk: &TrunkConfig<'_>) -> Result<(), ConfigError> {
    let (dim, heads) = (trunk.dim, trunk.heads);
    at_least_one(&[("dim", dim), ("layers", trunk.layers), ("heads", heads)])?;
    if !dim.is_multiple_of(heads) {
        return fail(format!(
            "dim {dim} is not divisible by heads {heads}: each head takes dim / heads columns"
        ));
    }
    positive(&[
        ("init_std", trunk.init_std.into()),
        ("norm.eps", trunk.norm.eps.into()),
    ])?;
    trunk.ffn.validate()?;
    let of_connection = trunk.connection.validate(dim);
    of_connection.map_err(|message| ConfigError(format!("connection: {message}")))
}
