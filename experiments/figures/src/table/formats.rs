//! Tables as Markdown, as a part of a page, and as CSV.

use super::{Align, Cell, Column, Table, padded};
use crate::plot::escaped;
use unicode_width::UnicodeWidthStr;

/// A text for Markdown, in which no character of it is markup of HTML or of tables.
pub fn in_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '|' | '<' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

impl Table {
    /// The table in Markdown, with padded cells so that it reads well as plain text too.
    pub fn to_markdown(&self) -> String {
        let headers = self.columns.iter().map(|c| in_markdown(&c.header));
        let headers: Vec<String> = headers.collect();
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| in_markdown(&cell.text)).collect())
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
    /// their tone; those of the body name their column in `data-label`, for pages too narrow for a
    /// row.
    pub fn to_html(&self) -> String {
        let cell = |kind: &str, column: &Column, cell: &Cell| {
            let left = (column.align == Align::Left).then_some("left");
            let classes: Vec<&str> = left.into_iter().chain(cell.tone.class()).collect();
            let text = escaped(&cell.text);
            let label = match kind {
                "td" => format!(" data-label=\"{}\"", escaped(&column.header)),
                _ => String::new(),
            };
            format!(
                "<{kind} class=\"{}\"{label}>{text}</{kind}>",
                classes.join(" ")
            )
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
    use crate::table::Tone;

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
    fn no_label_becomes_html_or_a_column_in_markdown() {
        let label = "a|b <img src=x> &lt; c\\d";
        let mut table = Table::new([("arm", Align::Left), (label, Align::Left)]);
        table.push([label, "1"].map(Cell::from));
        let markdown = table.to_markdown();
        let options = pulldown_cmark::Options::ENABLE_TABLES;
        let events: Vec<_> = pulldown_cmark::Parser::new_ext(&markdown, options).collect();
        let text: String = events
            .iter()
            .filter_map(|event| match event {
                pulldown_cmark::Event::Text(text) => Some(&**text),
                pulldown_cmark::Event::Html(_) | pulldown_cmark::Event::InlineHtml(_) => {
                    panic!("HTML in {markdown}")
                }
                _ => None,
            })
            .collect();
        assert_eq!(text, format!("arm{label}{label}1"));
    }

    #[test]
    fn html_escapes_and_aligns() {
        let mut table = Table::new([("arm", Align::Left), ("loss", Align::Right)]);
        table.push([Cell::from("<a> & b"), Cell::new("1.25", Tone::Good)]);
        let html = table.to_html();
        assert!(
            html.contains("<td class=\"left\" data-label=\"arm\">&lt;a&gt; &amp; b</td>"),
            "{html}"
        );
        assert!(
            html.contains("<td class=\"good\" data-label=\"loss\">1.25</td>"),
            "{html}"
        );
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
}
