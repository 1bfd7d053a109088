//! Tables: one set of rows, shown on a terminal, as Markdown and as CSV.

use crate::plot::escaped;
use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
};
use unicode_width::UnicodeWidthStr;

/// Width of a terminal that every table fits.
pub const TERMINAL_WIDTH: usize = 80;
/// Blanks between columns.
const GAP: usize = 2;

/// On which side the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For names.
    Left,
    /// For numbers.
    Right,
}

/// How a cell is coloured where there is colour. It never carries meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Not at all.
    #[default]
    Plain,
    /// Green.
    Good,
    /// Red.
    Bad,
    /// Faint.
    Faint,
}

impl Tone {
    /// The SGR parameter that starts it.
    fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Good => Some(32),
            Self::Bad => Some(31),
            Self::Faint => Some(2),
        }
    }

    /// Its class in a page.
    fn class(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("good"),
            Self::Bad => Some("bad"),
            Self::Faint => Some("faint"),
        }
    }
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell of some tone. Control characters become blanks.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        let visible = |c: char| if c.is_control() { ' ' } else { c };
        Self {
            text: text.as_ref().chars().map(visible).collect(),
            tone,
        }
    }
}

impl<S: AsRef<str>> From<S> for Cell {
    fn from(text: S) -> Self {
        Self::new(text, Tone::Plain)
    }
}

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

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    header: String,
    align: Align,
}

/// A table. Units belong into the headers: `step (ms)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with the headers of its columns.
    ///
    /// # Panics
    /// If there is no column.
    #[track_caller]
    pub fn new<'h>(columns: impl IntoIterator<Item = (&'h str, Align)>) -> Self {
        let columns: Vec<Column> = columns
            .into_iter()
            .map(|(header, align)| Column {
                header: header.to_owned(),
                align,
            })
            .collect();
        assert!(
            !columns.is_empty(),
            "table: 0 columns, expected at least one"
        );
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it does not have one cell for each column.
    #[track_caller]
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = row.into_iter().collect();
        assert_eq!(
            row.len(),
            self.columns.len(),
            "table: the row has {} cells, expected {}",
            row.len(),
            self.columns.len()
        );
        self.rows.push(row);
    }

    /// The table for a terminal of `width` columns. Headers are broken at blanks; columns that
    /// find no room follow in further blocks, each beginning with the first column again.
    pub fn to_text(&self, width: usize, colour: Colour) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|i| self.width_of(i)).collect();
        let mut text = String::new();
        for block in blocks(&widths, width) {
            if !text.is_empty() {
                text.push('\n');
            }
            self.write_block(&mut text, &block, &widths, colour);
        }
        text
    }

    /// The table in Markdown, with padded cells so that it reads well as plain text too.
    pub fn to_markdown(&self) -> String {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|");
        let headers: Vec<String> = self.columns.iter().map(|c| escaped(&c.header)).collect();
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| escaped(&cell.text)).collect())
            .collect();
        let width_of = |column: usize| {
            let cells = rows.iter().map(|row| row[column].width());
            // Three dashes are the shortest rule, with its colon four.
            cells.fold(headers[column].width().max(4), usize::max)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width_of).collect();
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            for ((cell, column), &width) in cells.iter().zip(&self.columns).zip(&widths) {
                text.push_str("| ");
                text.push_str(&padded(cell, width, column.align));
                text.push(' ');
            }
            text.push_str("|\n");
        };
        line(&headers);
        let rule: Vec<String> = self
            .columns
            .iter()
            .zip(&widths)
            .map(|(column, &width)| match column.align {
                Align::Left => "-".repeat(width),
                Align::Right => "-".repeat(width - 1) + ":",
            })
            .collect();
        line(&rule);
        rows.iter().for_each(|row| line(row));
        text
    }

    /// The table as an element of a page. Cells on the left have the class `left`, others that of
    /// their tone.
    pub fn to_html(&self) -> String {
        let cell = |kind: &str, column: &Column, cell: &Cell| {
            let left = (column.align == Align::Left).then_some("left");
            let classes: Vec<&str> = left.into_iter().chain(cell.tone.class()).collect();
            let text = escaped(&cell.text);
            format!("<{kind} class=\"{}\">{text}</{kind}>", classes.join(" "))
        };
        let row = |kind: &str, cells: &[Cell]| -> String {
            let cells = self.columns.iter().zip(cells);
            cells.map(|(column, one)| cell(kind, column, one)).collect()
        };
        let headers: Vec<Cell> = self.columns.iter().map(|c| Cell::from(&c.header)).collect();
        let rows = self
            .rows
            .iter()
            .map(|cells| format!("<tr>{}</tr>\n", row("td", cells)));
        format!(
            "<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table>",
            row("th", &headers),
            rows.collect::<String>()
        )
    }

    /// The table as comma-separated values (RFC 4180, with plain line feeds).
    pub fn to_csv(&self) -> String {
        let headers = self.columns.iter().map(|column| column.header.as_str());
        let rows = self
            .rows
            .iter()
            .map(|row| csv_line(row.iter().map(|cell| cell.text.as_str())));
        std::iter::once(csv_line(headers)).chain(rows).collect()
    }

    /// The width of a column: of its widest cell or of the longest word of its header.
    fn width_of(&self, column: usize) -> usize {
        let words = self.columns[column].header.split(' ').map(str::width);
        let cells = self.rows.iter().map(|row| row[column].text.width());
        words.chain(cells).max().unwrap_or(0)
    }

    fn write_block(&self, text: &mut String, block: &[usize], widths: &[usize], colour: Colour) {
        let headers: Vec<Vec<String>> = block
            .iter()
            .map(|&column| wrapped(&self.columns[column].header, widths[column]))
            .collect();
        let height = headers.iter().map(Vec::len).max().unwrap_or(0);
        let blank = Cell::from("");
        for line in 0..height {
            // Headers stand on the rule, short ones with empty lines above.
            let cells: Vec<Cell> = headers
                .iter()
                .map(|header| {
                    (line + header.len())
                        .checked_sub(height)
                        .map_or(blank.clone(), |line| Cell::from(&header[line]))
                })
                .collect();
            self.write_line(text, block, widths, cells.iter(), colour);
        }
        let rule: usize = block.iter().map(|&column| widths[column] + GAP).sum();
        text.push_str(&"─".repeat(rule - GAP));
        text.push('\n');
        for row in &self.rows {
            let cells = block.iter().map(|&column| &row[column]);
            self.write_line(text, block, widths, cells, colour);
        }
    }

    fn write_line<'c>(
        &self,
        text: &mut String,
        block: &[usize],
        widths: &[usize],
        cells: impl Iterator<Item = &'c Cell>,
        colour: Colour,
    ) {
        let mut line = String::new();
        for (position, (cell, &column)) in cells.zip(block).enumerate() {
            if position > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let cell_text = padded(&cell.text, widths[column], self.columns[column].align);
            match (colour, cell.tone.code()) {
                (Colour::On, Some(code)) => {
                    line.push_str(&format!("\x1b[{code}m{cell_text}\x1b[0m"));
                }
                _ => line.push_str(&cell_text),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Columns of each block: as many as fit beside the first column, but at least one more.
fn blocks(widths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut blocks = vec![vec![0]];
    let mut used = widths[0];
    for (column, &width) in widths.iter().enumerate().skip(1) {
        let block = blocks.last_mut().expect("never empty");
        if used + GAP + width > limit && block.len() > 1 {
            blocks.push(vec![0, column]);
            used = widths[0] + GAP + width;
        } else {
            block.push(column);
            used += GAP + width;
        }
    }
    blocks
}

/// The words of a header on lines of at most `width`.
fn wrapped(header: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in header.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn padded(text: &str, width: usize, align: Align) -> String {
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => format!("{text}{blanks}"),
        Align::Right => format!("{blanks}{text}"),
    }
}

fn csv_line<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let fields: Vec<String> = texts
        .map(|text| {
            if text.contains(['"', ',', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        })
        .collect();
    fields.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new([
            ("arm", Align::Left),
            ("validation loss (nats)", Align::Right),
            ("step (ms)", Align::Right),
        ]);
        table.push(["pre-norm", "1.8200", "12.5"].map(Cell::from));
        table.push([
            Cell::from("DHC×4"),
            Cell::new("1.7931", Tone::Good),
            Cell::from("1025.5"),
        ]);
        table
    }

    #[test]
    fn numbers_end_in_one_column_and_headers_stand_on_the_rule() {
        let text = sample().to_text(TERMINAL_WIDTH, Colour::Off);
        let expected = [
            "          validation",
            "                loss    step",
            "arm           (nats)    (ms)",
            "────────────────────────────",
            "pre-norm      1.8200    12.5",
            "DHC×4         1.7931  1025.5",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn wide_characters_count_twice() {
        let mut table = Table::new([("名前", Align::Left), ("n", Align::Right)]);
        table.push(["超接続", "4"].map(Cell::from));
        table.push(["ab", "12"].map(Cell::from));
        assert_eq!(
            table.to_text(80, Colour::Off),
            "名前     n\n──────────\n超接続   4\nab      12\n"
        );
    }

    #[test]
    fn a_table_too_wide_is_broken_into_blocks_that_repeat_the_first_column() {
        let headers: Vec<String> = (0..12).map(|i| format!("column{i:02}")).collect();
        let mut table = Table::new(headers.iter().map(|h| (h.as_str(), Align::Right)));
        table.push((0..12).map(|i| Cell::from(format!("value-{i:02}"))));
        for width in [20, 40, 80] {
            let text = table.to_text(width, Colour::Off);
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
            for i in 1..12 {
                assert_eq!(text.matches(&format!("value-{i:02}")).count(), 1);
            }
            let blocks = text.split("\n\n").count();
            assert_eq!(text.matches("value-00").count(), blocks);
        }
    }

    #[test]
    fn colour_changes_no_visible_character() {
        let table = sample();
        let coloured = table.to_text(80, Colour::On);
        assert!(coloured.contains("\x1b[32m"));
        let stripped = coloured.replace("\x1b[32m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, table.to_text(80, Colour::Off));
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

    #[test]
    fn control_characters_cannot_reach_the_terminal() {
        let mut table = Table::new([("arm", Align::Left)]);
        table.push([Cell::from("a\x1b[2Jb\nc")]);
        let text = table.to_text(80, Colour::On);
        assert!(!text.contains('\x1b') && text.lines().count() == 3);
    }

    #[test]
    fn markdown_aligns_numbers_and_escapes_bars() {
        let mut table = Table::new([("arm", Align::Left), ("loss", Align::Right)]);
        table.push(["a|b", "1.25"].map(Cell::from));
        assert_eq!(
            table.to_markdown(),
            "| arm  | loss |\n| ---- | ---: |\n| a\\|b | 1.25 |\n"
        );
    }

    #[test]
    fn html_escapes_and_aligns() {
        let mut table = Table::new([("arm", Align::Left), ("loss", Align::Right)]);
        table.push([Cell::from("<a> & b"), Cell::new("1.25", Tone::Good)]);
        let html = table.to_html();
        assert!(
            html.contains("<td class=\"left\">&lt;a&gt; &amp; b</td>"),
            "{html}"
        );
        assert!(html.contains("<td class=\"good\">1.25</td>"), "{html}");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let mut table = Table::new([("arm", Align::Left), ("low, high", Align::Right)]);
        table.push(["say \"x\"", "-1.5"].map(Cell::from));
        assert_eq!(
            table.to_csv(),
            "arm,\"low, high\"\n\"say \"\"x\"\"\",-1.5\n"
        );
    }

    #[test]
    #[should_panic(expected = "the row has 1 cells, expected 3")]
    fn a_row_of_another_length_is_a_bug() {
        sample().push([Cell::from("x")]);
    }
}
