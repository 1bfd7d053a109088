//! Checksums in files of JSON: an object with the SHA-256 of its values behind them.

use super::RunError;
use models::weights::hex;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Key of the checksum.
const SHA256: &str = "sha256";

/// Appends a value to an object.
pub(super) fn append(text: &mut String, name: &str, sum: &str) {
    text.truncate(text.trim_end_matches(['}', '\n']).len());
    text.push_str(&format!(",\n  \"{name}\": \"{sum}\"\n}}"));
}

/// An object of JSON with the checksum of its values behind them.
pub(super) fn sealed(mut text: String) -> String {
    let own = checksum(&serde_json::from_str(&text).expect("what was just written"));
    append(&mut text, SHA256, &own);
    text.push('\n');
    text
}

/// The object in a file, and its values without its own checksum, if it has one, which is checked.
///
/// # Errors
/// [`RunError::Damaged`] if it is no such object, [`RunError::Disagree`] if it was changed.
pub(super) fn unsealed<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    advice: &'static str,
) -> Result<(T, Map<String, Value>), RunError> {
    let damaged = |error: serde_json::Error| RunError::Damaged {
        line: error.line(),
        reason: error.to_string(),
        path: path.to_owned(),
    };
    let read = serde_json::from_str(text).map_err(damaged)?;
    let mut values: Map<String, Value> = serde_json::from_str(text).map_err(damaged)?;
    let sum = values.remove(SHA256);
    match sum.is_some_and(|sum| sum != checksum(&values)) {
        false => Ok((read, values)),
        true => Err(RunError::Disagree {
            path: path.to_owned(),
            other: "its checksum",
            reason: "it was changed after it was written".to_owned(),
            advice,
        }),
    }
}

/// The SHA-256 of the values without spaces, so that a file may be laid out anew.
fn checksum(values: &Map<String, Value>) -> String {
    let text = serde_json::to_string(values).expect("JSON stays JSON");
    hex(&Sha256::digest(text))
}
