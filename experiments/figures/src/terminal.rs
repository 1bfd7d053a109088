//! What a terminal takes: how wide, with colour or without, and text in lines.

use console::Term;
use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
};
use unicode_width::UnicodeWidthStr;

/// Width of what is no terminal: a file or a pipe.
const USUAL_WIDTH: usize = 80;
/// Nothing is made for less.
const LEAST_WIDTH: usize = 20;
/// Longer lines are hard to read.
const MOST_WIDTH: usize = 120;

/// Columns to write standard output for: `COLUMNS` where it is set, else those of the terminal,
/// else 80.
pub fn stdout_width() -> usize {
    width_of(&Term::stdout())
}

/// Columns to write standard error for.
pub fn stderr_width() -> usize {
    width_of(&Term::stderr())
}

fn width_of(term: &Term) -> usize {
    let set = env::var("COLUMNS").ok();
    let columns = term.size_checked().map(|(_, columns)| columns);
    decide_width(set.as_deref(), columns)
}

fn decide_width(set: Option<&str>, columns: Option<u16>) -> usize {
    let set = set.and_then(|text| text.trim().parse::<usize>().ok());
    let mut known = [set, columns.map(usize::from)].into_iter().flatten();
    let width = known.find(|width| *width > 0);
    width.unwrap_or(USUAL_WIDTH).clamp(LEAST_WIDTH, MOST_WIDTH)
}

/// Use of colour.
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

/// A text with its control characters as escapes: names of files may hold line breaks, and
/// sequences that a terminal obeys.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => printable.extend(c.escape_default()),
            false => printable.push(c),
        }
    }
    printable
}

/// As [`printable`], but lines stay lines.
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// A paragraph of such lines, later ones indented. Control characters are shown as escapes.
pub fn wrapped(text: &str, width: usize) -> String {
    lines(&printable_lines(text), width, "  ").join("\n") + "\n"
}

/// The first of the parts and as many more as fit on one line of `width`, with commas between.
pub fn fitting(parts: &[String], width: usize) -> String {
    let mut line = parts.first().cloned().unwrap_or_default();
    for part in parts.iter().skip(1) {
        if line.width() + 2 + part.width() > width {
            break;
        }
        line.push_str(", ");
        line.push_str(part);
    }
    line
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
    fn the_width_is_what_was_set_or_that_of_the_terminal_or_usual() {
        assert_eq!(decide_width(Some("40"), Some(100)), 40);
        assert_eq!(decide_width(Some("x"), Some(100)), 100);
        assert_eq!(decide_width(Some("0"), None), USUAL_WIDTH);
        assert_eq!(decide_width(None, Some(7)), LEAST_WIDTH);
        assert_eq!(decide_width(None, Some(500)), MOST_WIDTH);
    }

    #[test]
    fn what_does_not_fit_on_a_line_is_left_out_from_its_end() {
        let parts = ["loss 2.1", "1:05 left", "31.4k tok/s"].map(str::to_owned);
        assert_eq!(fitting(&parts, 80), "loss 2.1, 1:05 left, 31.4k tok/s");
        assert_eq!(fitting(&parts, 31), "loss 2.1, 1:05 left");
        assert_eq!(fitting(&parts, 7), "loss 2.1");
        assert_eq!(fitting(&[], 7), "");
    }

    #[test]
    fn a_paragraph_gives_the_terminal_no_orders() {
        assert_eq!(wrapped("a\x1b[31m b\n c", 80), "a\\u{1b}[31m b\n c\n");
    }

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
