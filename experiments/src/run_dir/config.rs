//! Comparing configurations, and writing a command line that can be pasted.

use super::RunError;
use crate::config::Layers;
use std::{collections::BTreeSet, path::Path};
use toml::{Table, Value};

/// Checks that the stored configuration equals the one wanted now.
pub(super) fn check_same(path: &Path, stored: &str, wanted: &Table) -> Result<(), RunError> {
    let stored: Table = stored.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        RunError::Damaged {
            path: path.to_owned(),
            line: 1 + stored[..offset].matches('\n').count(),
            reason: error.message().to_owned(),
        }
    })?;
    // What a run wrote before some settings existed says what it did in their place.
    let stored = match Layers::defaults().recorded(stored.clone()) {
        Ok(config) if config.identity() == stored.to_string() => config.to_table(),
        _ => stored,
    };
    match first_difference(&stored, wanted) {
        None => Ok(()),
        Some((key, stored, wanted)) => Err(RunError::ConfigMismatch {
            path: path.to_owned(),
            key,
            stored,
            wanted,
        }),
    }
}

type Difference = (String, Option<String>, Option<String>);

/// The first key, in alphabetical order, whose values differ.
fn first_difference(stored: &Table, wanted: &Table) -> Option<Difference> {
    let keys: BTreeSet<&String> = stored.keys().chain(wanted.keys()).collect();
    keys.into_iter()
        .find_map(|key| match (stored.get(key), wanted.get(key)) {
            (Some(Value::Table(stored)), Some(Value::Table(wanted))) => {
                first_difference(stored, wanted)
                    .map(|(inner, stored, wanted)| (format!("{key}.{inner}"), stored, wanted))
            }
            (stored, wanted) if stored == wanted => None,
            (stored, wanted) => Some((
                key.clone(),
                stored.map(Value::to_string),
                wanted.map(Value::to_string),
            )),
        })
}

/// The arguments as one line for a POSIX shell, the first without its directory.
pub fn shell_line(args: &[String]) -> String {
    let mut words: Vec<String> = args.iter().map(|arg| shell_word(arg)).collect();
    if let (Some(word), Some(program)) = (words.first_mut(), args.first()) {
        let name = Path::new(program)
            .file_name()
            .and_then(|name| name.to_str());
        *word = shell_word(name.unwrap_or(program));
    }
    words.join(" ")
}

/// A word as a POSIX shell reads it back.
pub fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=+:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_are_quoted() {
        let args = ["/usr/bin/experiments", "--corpus", "my text's.txt", ""].map(str::to_owned);
        assert_eq!(
            shell_line(&args),
            r"experiments --corpus 'my text'\''s.txt' ''"
        );
    }
}
