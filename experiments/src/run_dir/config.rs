//! Comparing configurations, and writing a command line that can be pasted.

use super::{CONFIG_FILE, RunError, read_if_there};
use std::{collections::BTreeSet, path::Path};
use toml::{Table, Value};

/// Checks that the configuration stored in a run directory equals the one wanted now; `false` if
/// there is none. Takes no lock and writes nothing.
///
/// # Errors
/// [`RunError::ConfigMismatch`] naming the first key that differs; [`RunError::Damaged`] if the
/// stored file is not TOML; [`RunError::Unreadable`].
pub fn check_config(directory: &Path, wanted: &Table) -> Result<bool, RunError> {
    let path = directory.join(CONFIG_FILE);
    let Some(stored) = read_if_there(&path)? else {
        return Ok(false);
    };
    let stored: Table = stored.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        RunError::Damaged {
            path: path.clone(),
            line: 1 + stored[..offset].matches('\n').count(),
            reason: error.message().to_owned(),
        }
    })?;
    match first_difference(&stored, wanted) {
        None => Ok(true),
        Some((key, stored, wanted)) => Err(RunError::ConfigMismatch {
            path,
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
