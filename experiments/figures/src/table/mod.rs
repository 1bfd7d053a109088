//! Tables: one set of rows, shown on a terminal, as Markdown and as CSV.

mod formats;
mod text;

pub use formats::in_markdown;

use unicode_width::UnicodeWidthStr;

/// On which side the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// For names.
    Left,
    /// For numbers.
    Right,
}

/// Colour of a cell where there is colour. It never carries meaning of its own.
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

    /// Class in a page.
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
        let text = text.as_ref().replace(char::is_control, " ");
        Self { text, tone }
    }
}

impl<S: AsRef<str>> From<S> for Cell {
    fn from(text: S) -> Self {
        Self::new(text, Tone::Plain)
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
    /// Number of first columns that tell the rows apart.
    keys: usize,
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
            keys: 1,
        }
    }

    /// A table with one row for each value, whose columns are named next.
    pub fn of<R>(values: &[R]) -> TableOf<'_, R> {
        let (columns, rows) = (Vec::new(), vec![Vec::new(); values.len()]);
        let keys = 1;
        let table = Self {
            columns,
            rows,
            keys,
        };
        TableOf { values, table }
    }

    fn add_column(&mut self, header: &str, align: Align, cell: &dyn Fn(usize) -> Cell) {
        let header = header.to_owned();
        self.columns.push(Column { header, align });
        for (number, row) in self.rows.iter_mut().enumerate() {
            row.push(cell(number));
        }
    }

    /// Takes the first `keys` columns, not one alone, to tell the rows apart: where a table is
    /// broken, they are repeated.
    pub fn with_keys(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// Leaves out the columns in which no row has anything.
    pub fn without_empty_columns(mut self) -> Self {
        let used = |column: usize| self.rows.iter().any(|row| !row[column].text.is_empty());
        let used: Vec<bool> = (0..self.columns.len()).map(used).collect();
        let mut kept = used.iter();
        self.columns.retain(|_| *kept.next().expect("a column"));
        for row in &mut self.rows {
            let mut kept = used.iter();
            row.retain(|_| *kept.next().expect("a cell for each column"));
        }
        self
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
}

/// A table in the making that has one row for each value.
pub struct TableOf<'r, R> {
    values: &'r [R],
    table: Table,
}

impl<'r, R> TableOf<'r, R> {
    /// Adds a column of names: the header, and the cell of a value.
    pub fn left<C: Into<Cell>>(self, header: &str, cell: impl Fn(&'r R) -> C) -> Self {
        self.column(header, Align::Left, cell)
    }

    /// Adds a column of numbers.
    pub fn right<C: Into<Cell>>(self, header: &str, cell: impl Fn(&'r R) -> C) -> Self {
        self.column(header, Align::Right, cell)
    }

    fn column<C: Into<Cell>>(
        mut self,
        header: &str,
        align: Align,
        cell: impl Fn(&'r R) -> C,
    ) -> Self {
        let values = self.values;
        let cell = |row: usize| cell(&values[row]).into();
        self.table.add_column(header, align, &cell);
        self
    }

    /// Returns the table.
    pub fn table(self) -> Table {
        self.table
    }
}

/// A text with blanks up to a width.
fn padded(text: &str, width: usize, align: Align) -> String {
    let blanks = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => format!("{text}{blanks}"),
        Align::Right => format!("{blanks}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample() -> Table {
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
    fn a_table_of_values_has_a_row_for_each() {
        let rows = [("a", 1.5), ("b", 2.25)];
        let table = Table::of(&rows)
            .left("name", |row| row.0)
            .right("number", |row| format!("{:.1}", row.1))
            .table();
        let mut expected = Table::new([("name", Align::Left), ("number", Align::Right)]);
        expected.push(["a", "1.5"].map(Cell::from));
        expected.push(["b", "2.2"].map(Cell::from));
        assert_eq!(table, expected);
    }

    #[test]
    fn columns_without_content_can_be_left_out() {
        let mut table = Table::new(["arm", "loss", "note"].map(|name| (name, Align::Left)));
        table.push(["a", "", "x"].map(Cell::from));
        table.push(["b", "", ""].map(Cell::from));
        let table = table.without_empty_columns();
        assert_eq!(table.columns.len(), 2);
        assert_eq!(table.rows[0], ["a", "x"].map(Cell::from));
    }

    #[test]
    #[should_panic(expected = "the row has 1 cells, expected 3")]
    fn a_row_of_another_length_is_a_bug() {
        sample().push([Cell::from("x")]);
    }
}
