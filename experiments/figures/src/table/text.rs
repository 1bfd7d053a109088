//! Tables on a terminal.

use super::{Align, Cell, Table, padded};
use crate::terminal::{Colour, lines};
use unicode_width::UnicodeWidthStr;

/// Blanks between columns.
const GAP: usize = 2;

impl Table {
    /// The table for a terminal of `width` columns. Headers are broken at blanks; columns that
    /// find no room follow in further blocks, each beginning with the key columns again. Where a
    /// column finds no room even beside these alone, every row becomes a paragraph.
    pub fn to_text(&self, width: usize, colour: Colour) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|i| self.width_of(i)).collect();
        let (keys, others) = widths.split_at(self.keys);
        let widest = others.iter().max().map_or(0, |widest| GAP + widest);
        if keys.iter().sum::<usize>() + GAP * (keys.len() - 1) + widest > width {
            return self.paragraphs(width, colour);
        }
        let mut text = String::new();
        for block in blocks(&widths, self.keys, width) {
            if !text.is_empty() {
                text.push('\n');
            }
            self.write_block(&mut text, &block, &widths, colour);
        }
        text
    }

    /// The first cell of every row, and below it the others that are not empty, each after its
    /// header. Words that find no room follow below.
    fn paragraphs(&self, width: usize, colour: Colour) -> String {
        let header = |column: usize| self.columns[column].header.as_str();
        let names = (1..self.columns.len()).map(|column| header(column).width());
        let name = names.max().unwrap_or(0).min(width / 2);
        let room = width - name - 2 * GAP;
        let mut text = String::new();
        for row in &self.rows {
            for line in lines(&row[0].text, width, "") {
                text.push_str(&painted(&row[0], &line, colour));
                text.push('\n');
            }
            for (column, cell) in row.iter().enumerate().skip(1) {
                if cell.text.is_empty() {
                    continue;
                }
                let names = lines(header(column), name, "");
                let values = lines(&cell.text, room, "");
                for line in 0..names.len().max(values.len()) {
                    let part = |of: &[String]| of.get(line).cloned().unwrap_or_default();
                    let label = padded(&part(&names), name, Align::Left);
                    let value = painted(cell, &part(&values), colour);
                    let line = format!("  {label}  {value}");
                    text.push_str(line.trim_end());
                    text.push('\n');
                }
            }
        }
        text
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
            .map(|&column| lines(&self.columns[column].header, widths[column], ""))
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
            line.push_str(&painted(cell, &cell_text, colour));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A text in the tone of a cell.
fn painted(cell: &Cell, text: &str, colour: Colour) -> String {
    match (colour, cell.tone.code()) {
        (Colour::On, Some(code)) if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
        _ => text.to_owned(),
    }
}

/// Columns of each block: as many as fit beside the key columns, but at least one more.
fn blocks(widths: &[usize], keys: usize, limit: usize) -> Vec<Vec<usize>> {
    let mut blocks: Vec<Vec<usize>> = vec![(0..keys).collect()];
    let taken = |block: &[usize]| {
        block
            .iter()
            .map(|&column| GAP + widths[column])
            .sum::<usize>()
    };
    for (column, width) in widths.iter().enumerate().skip(keys) {
        let block = blocks.last_mut().expect("never empty");
        if taken(block) + width > limit && block.len() > keys {
            blocks.push((0..keys).chain([column]).collect());
        } else {
            block.push(column);
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::sample;

    #[test]
    fn numbers_end_in_one_column_and_headers_stand_on_the_rule() {
        let text = sample().to_text(80, Colour::Off);
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
    fn every_block_repeats_the_key_columns() {
        let headers = ["arm", "seed", "first", "second"];
        let mut table = Table::new(headers.map(|header| (header, Align::Right))).with_keys(2);
        for seed in ["0", "1"] {
            table.push(["a", seed, "1.5", "2.5"].map(Cell::from));
        }
        let text = table.to_text(20, Colour::Off);
        let heads: Vec<&str> = text.lines().filter(|line| line.contains("arm")).collect();
        assert_eq!(heads, ["arm  seed  first", "arm  seed  second"]);
        assert_eq!(text.matches("  a     1").count(), 2, "{text}");
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
    fn where_a_column_finds_no_room_every_row_is_a_paragraph() {
        let mut table = Table::new([
            ("parameter", Align::Left),
            ("elements of it", Align::Right),
            ("note", Align::Left),
        ]);
        table.push(["blocks.*.attn_connection", "320", "never decayed"].map(Cell::from));
        table.push(["head", "64", ""].map(Cell::from));
        let expected = [
            "blocks.*.attn_connection",
            "  elements of it  320",
            "  note            never",
            "                  decayed",
            "head",
            "  elements of it  64",
        ];
        let text = table.to_text(30, Colour::Off);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
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
    fn control_characters_cannot_reach_the_terminal() {
        let mut table = Table::new([("arm", Align::Left)]);
        table.push([Cell::from("a\x1b[2Jb\nc")]);
        let text = table.to_text(80, Colour::On);
        assert!(!text.contains('\x1b') && text.lines().count() == 3);
    }
}
