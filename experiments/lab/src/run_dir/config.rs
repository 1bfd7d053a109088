//! Comparing configurations, and writing a command line that can be pasted.

use super::{CONFIG_FILE, RunError, read_if_there};
use crate::{
    config::{Layers, current_names},
    files::parse_toml,
};
use std::{collections::BTreeSet, ffi::OsStr, path::Path};
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
    let stored = parse_toml(&stored).map_err(|wrong| RunError::Damaged {
        path: path.clone(),
        line: wrong.line,
        reason: wrong.reason,
    })?;
    // What a run wrote before some settings existed says what it did in their place.
    let stored = current_names(stored);
    let stored = match Layers::recorded(stored.clone()).resolve() {
        Ok(config) if config.as_recorded_first() == stored => config.to_table(),
        _ => stored,
    };
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
    let mut words: Vec<String> = args.iter().map(shell_word).collect();
    if let (Some(word), Some(program)) = (words.first_mut(), args.first()) {
        let name = Path::new(program)
            .file_name()
            .and_then(|name| name.to_str());
        *word = shell_word(name.unwrap_or(program));
    }
    words.join(" ")
}

/// A word as a shell reads it back, in one line: bytes that are no text, line breaks and other
/// control characters as `$'\\n'` (POSIX 2024; bash, zsh and ksh before).
pub fn shell_word(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=+:,@%".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if !text.contains(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => format!("$'{}'", bytes.escape_ascii()),
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

    #[test]
    fn a_word_with_line_breaks_stays_in_one_line() {
        assert_eq!(shell_word("a\n'b'"), r"$'a\n\'b\''");
    }
}
