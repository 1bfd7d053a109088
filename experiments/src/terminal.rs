//! What a terminal takes: how wide, with colour or without, and text in lines.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
};
use unicode_width::UnicodeWidthStr;

/// Width of a terminal that everything fits.
pub const TERMINAL_WIDTH: usize = 80;

/// Whether to write colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Text only.
    Off,
    /// ANSI escape sequences.
    On,
}

impl Colour {
    /// On if standard output is a terminal that can do it and `NO_COLOR` is unset or empty.
    pub fn for_stdout() -> Self {
        Self::decide(
            io::stdout().is_terminal(),
            env::var_os("NO_COLOR").as_deref(),
            env::var_os("TERM").as_deref(),
        )
    }

    fn decide(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        let dumb = term.is_some_and(|term| term == "dumb");
        if is_terminal && !refused && !dumb {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// The words of a text on lines of at most `width`, later lines after `indent`. A word that is
/// wider has a line of its own.
pub fn lines(text: &str, width: usize, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("{indent}{word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A paragraph of such lines, later ones indented.
pub fn wrapped(text: &str, width: usize) -> String {
    lines(text, width, "  ").join("\n") + "\n"
}

/// A number as `1.2e-7`, with this many decimals; zero as `0`.
pub fn scientific(x: impl Into<f64>, decimals: usize) -> String {
    match x.into() {
        0.0 => "0".to_owned(),
        x => format!("{x:.decimals$e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_exponent() {
        assert_eq!(scientific(0.0_f32, 1), "0");
        assert_eq!(scientific(-0.0, 0), "0");
        assert_eq!(scientific(1.25e-7, 1), "1.2e-7");
        assert_eq!(scientific(f64::NAN, 1), "NaN");
    }

    #[test]
    fn colour_is_only_for_terminals_of_people_who_did_not_refuse_it() {
        let decide = |terminal, no_color: Option<&str>, term: Option<&str>| {
            Colour::decide(terminal, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert_eq!(decide(true, None, Some("xterm")), Colour::On);
        assert_eq!(decide(true, Some(""), None), Colour::On);
        assert_eq!(decide(true, Some("1"), None), Colour::Off);
        assert_eq!(decide(true, None, Some("dumb")), Colour::Off);
        assert_eq!(decide(false, None, None), Colour::Off);
    }
}
