//! What a lesson writes on: steps with their equations, numbers from the tape beside
//! numbers worked out by hand, and claims that are checked as they are made.

use figures::terminal::{lines, wrapped};
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// Columns of a page, if nobody says otherwise.
const WIDTH: usize = 80;
/// Before every line of a step.
const INDENT: &str = "   ";
/// Width of the label of a row, and of a number.
const LABEL: usize = 9;
const NUMBER: usize = 8;

/// Something that a lesson says about its numbers.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Text.
    pub text: String,
    /// True if the numbers bear it out.
    pub holds: bool,
}

/// A piece of a lesson's words, without its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The title of the next step.
    Step(String),
    /// A formula and its number in the paper.
    Equation(String, String),
    /// A paragraph.
    Text(String),
    /// A statement that the numbers have borne out.
    Claim(String),
    /// The question at the end and its answer.
    Question(String, String),
}

/// The page of a lesson; its methods fail where the output does.
pub struct Board<'a> {
    out: &'a mut dyn Write,
    pause: Option<&'a mut dyn FnMut() -> io::Result<()>>,
    colour: bool,
    width: usize,
    steps: usize,
    claims: Vec<Claim>,
    words: Vec<Passage>,
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Equation,
    Good,
    Bad,
}

impl<'a> Board<'a> {
    /// Plain text to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            pause: None,
            colour: false,
            width: WIDTH,
            steps: 0,
            claims: Vec::new(),
            words: Vec::new(),
        }
    }

    /// With colour.
    pub fn with_colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// With lines of so many columns at most, if a number and its label fit into them.
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Calls `pause` before every step but the first.
    pub fn with_pause(mut self, pause: &'a mut dyn FnMut() -> io::Result<()>) -> Self {
        self.pause = Some(pause);
        self
    }

    /// Claims, and whether they held.
    pub fn into_claims(self) -> Vec<Claim> {
        self.claims
    }

    /// The words of the lesson, for other places that tell the same.
    pub fn into_words(self) -> Vec<Passage> {
        self.words
    }

    fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.colour => return text.to_owned(),
            Style::Bold => "1",
            Style::Equation => "36",
            Style::Good => "32",
            Style::Bad => "31;1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The name of the lesson.
    pub fn title(&mut self, title: &str) -> io::Result<()> {
        let title = wrapped(title, self.width);
        let title = self.styled(Style::Bold, title.trim_end());
        writeln!(self.out, "{title}")
    }

    /// The next step.
    pub fn step(&mut self, title: &str) -> io::Result<()> {
        if self.steps > 0 {
            self.out.flush()?;
            if let Some(pause) = &mut self.pause {
                pause()?;
            }
        }
        self.steps += 1;
        self.words.push(Passage::Step(title.to_owned()));
        let title = wrapped(&format!("{}. {title}", self.steps), self.width);
        let title = self.styled(Style::Bold, title.trim_end());
        writeln!(self.out, "\n{title}")
    }

    /// A formula with its number in the paper.
    pub fn equation(&mut self, number: &str, formula: &str) -> io::Result<()> {
        self.words
            .push(Passage::Equation(number.to_owned(), formula.to_owned()));
        for line in self.broken(&format!("{number:<13} {formula}")) {
            let line = self.styled(Style::Equation, &line);
            writeln!(self.out, "{INDENT}{line}")?;
        }
        Ok(())
    }

    /// A text in lines beside the indent.
    fn broken(&self, text: &str) -> Vec<String> {
        lines(text, self.room(), INDENT)
    }

    /// Columns beside the indent.
    fn room(&self) -> usize {
        self.width.saturating_sub(INDENT.len())
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.words.push(Passage::Text(text.to_owned()));
        self.paragraph("", "", text)
    }

    /// A paragraph with a name before it.
    pub fn item(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.paragraph(&format!("{name:<8}"), "        ", text)
    }

    /// One line as it is, if it fits.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        for line in self.broken(line.trim_end()) {
            writeln!(self.out, "{INDENT}{}", line.trim_end())?;
        }
        Ok(())
    }

    fn paragraph(&mut self, first: &str, rest: &str, text: &str) -> io::Result<()> {
        let (mut line, mut start) = (first.to_owned(), true);
        for word in text.split_whitespace() {
            if !start && line.width() + 1 + word.width() > self.room() {
                writeln!(self.out, "{INDENT}{line}")?;
                (line, start) = (rest.to_owned(), true);
            }
            if !start {
                line.push(' ');
            }
            line.push_str(word);
            start = false;
        }
        writeln!(self.out, "{INDENT}{line}")
    }

    /// Returns whether two times so many numbers fit beside each other.
    fn holds_both(&self, columns: usize) -> bool {
        LABEL + 2 * NUMBER * columns + 2 <= self.room()
    }

    /// The heads of the two columns of [`Board::both`], or, where they stand below each other,
    /// what stands above.
    pub fn heads(&mut self, left: &str, right: &str, columns: usize) -> io::Result<()> {
        if !self.holds_both(columns) {
            return self.line(&format!("{left}, below it {right}:"));
        }
        let width = NUMBER * columns;
        writeln!(
            self.out,
            "{INDENT}{:<LABEL$}{left:>width$}  {right:>width$}",
            ""
        )
    }

    /// Rows of up to four numbers from the tape, and the same from elsewhere beside them or below.
    pub fn both(&mut self, labels: &[&str], tape: &[f32], other: &[f64]) -> io::Result<()> {
        let columns = tape.len() / labels.len();
        let fitting = (self.room().saturating_sub(LABEL) / NUMBER).max(1);
        for (r, label) in labels.iter().enumerate() {
            let here = r * columns..(r + 1) * columns;
            let left: Vec<String> = tape[here.clone()].iter().map(|&x| cell(x.into())).collect();
            let right: Vec<String> = other[here].iter().map(|&x| cell(x)).collect();
            let lines: Vec<String> = match self.holds_both(columns) {
                true => vec![format!("{}  {}", left.concat(), right.concat())],
                false => {
                    let chunks = left.chunks(fitting).chain(right.chunks(fitting));
                    chunks.map(<[String]>::concat).collect()
                }
            };
            for (at, line) in lines.iter().enumerate() {
                let label = if at == 0 { label } else { "" };
                writeln!(self.out, "{INDENT}{label:<LABEL$}{line}")?;
            }
        }
        Ok(())
    }

    /// A matrix with a caption and named rows and columns; columns that find no room follow below.
    pub fn matrix(
        &mut self,
        caption: &str,
        rows: &[String],
        columns: &[String],
        value: impl Fn(usize, usize) -> Option<f64>,
    ) -> io::Result<()> {
        const NAME: usize = 12;
        self.line(caption)?;
        let fitting = (self.room().saturating_sub(NAME) / NUMBER).max(1);
        for from in (0..columns.len()).step_by(fitting) {
            let shown = from..(from + fitting).min(columns.len());
            let heads = columns[shown.clone()].iter();
            let heads: String = heads.map(|column| format!("{column:>NUMBER$}")).collect();
            writeln!(self.out, "{INDENT}{:<NAME$}{heads}", "")?;
            for (r, row) in rows.iter().enumerate() {
                let cells: String = shown
                    .clone()
                    .map(|c| value(r, c).map_or_else(|| format!("{:>NUMBER$}", "."), cell))
                    .collect();
                writeln!(self.out, "{INDENT}{row:<NAME$}{cells}")?;
            }
        }
        Ok(())
    }

    /// Says whether `text` is so.
    pub fn claim(&mut self, holds: bool, text: &str) -> io::Result<()> {
        self.words.push(Passage::Claim(text.to_owned()));
        self.claims.push(Claim {
            text: text.to_owned(),
            holds,
        });
        let (style, mark) = match holds {
            true => (Style::Good, "[holds] "),
            false => (Style::Bad, "[FAILS] "),
        };
        // Only the mark is coloured: the width of the rest is measured.
        let mut written = Vec::new();
        let mut plain = Board::new(&mut written).with_width(self.width);
        plain.paragraph(mark, "        ", text)?;
        let written = String::from_utf8(written).expect("text");
        let coloured = written.replacen(mark, &self.styled(style, mark), 1);
        self.out.write_all(coloured.as_bytes())
    }

    /// Suggests what to try next. The answer is among the words only, for the lesson's page, which
    /// hides it until it is asked for.
    pub fn question(&mut self, text: &str, answer: &str) -> io::Result<()> {
        self.words
            .push(Passage::Question(text.to_owned(), answer.to_owned()));
        let head = self.styled(Style::Bold, "To try:");
        writeln!(self.out, "\n{head}")?;
        self.paragraph("", "", text)?;
        self.paragraph(
            "",
            "",
            "(`teach N --html FILE` writes a page with the answer.)",
        )
    }
}

/// A number in eight columns.
pub fn cell(x: f64) -> String {
    match x.abs() {
        small if small < 5e-5 => format!("{:>8}", if x == 0.0 { "0" } else { "~0" }),
        ..100.0 => format!("{x:>8.4}"),
        ..10_000.0 => format!("{x:>8.1}"),
        _ => format!("{x:>8.0e}"),
    }
}

/// The largest difference between numbers of the tape and others.
pub fn largest_difference(tape: &[f32], other: &[f64]) -> f64 {
    assert_eq!(tape.len(), other.len(), "as many numbers on both sides");
    let differences = tape
        .iter()
        .zip(other)
        .map(|(&a, &b)| (f64::from(a) - b).abs());
    differences.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Board<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Board::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paragraphs_are_wrapped_by_what_is_seen() {
        let text = written(|board| board.claim(true, &"Ĥᵀ word ".repeat(30)).unwrap());
        assert!(text.lines().count() > 2);
        assert!(text.lines().all(|line| line.width() <= WIDTH), "{text}");
    }

    #[test]
    fn steps_pause_from_the_second_on() {
        let (mut out, mut pauses) = (Vec::new(), 0);
        let mut pause = || {
            pauses += 1;
            Ok(())
        };
        let mut board = Board::new(&mut out).with_pause(&mut pause);
        for _ in 0..3 {
            board.step("step").unwrap();
        }
        drop(board);
        assert_eq!(pauses, 2);
    }

    #[test]
    fn a_claim_that_does_not_hold_is_kept_and_said() {
        let mut out = Vec::new();
        let mut board = Board::new(&mut out);
        board.claim(false, "two is three").unwrap();
        assert!(!board.into_claims()[0].holds);
        assert!(
            String::from_utf8(out)
                .unwrap()
                .contains("[FAILS] two is three")
        );
    }

    #[test]
    fn a_matrix_begins_with_its_caption() {
        let rows = ["a".into()];
        let text = written(|board| {
            board
                .matrix("C of a token", &rows, &rows, |_, _| Some(0.0))
                .unwrap();
        });
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["C of a token", "a", "a                  0"]);
    }

    #[test]
    fn numbers_keep_to_their_columns() {
        for x in [0.0, 1e-9, -0.5, -99.99, 123.4, -9_999.0, 1e12, -1e-3] {
            assert_eq!(cell(x).len(), 8, "{x}");
        }
    }
}
