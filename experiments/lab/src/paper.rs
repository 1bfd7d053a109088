//! Published tables that ours are printed beside: the files of `experiments/paper`.
//!
//! Numbers of one run, at a scale far from ours: only signs and order compare.

use crate::files::parse_toml;
use nn::{
    settings::{Section, Setting, SettingError, Table, Value},
    words,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::LazyLock};

/// Quantity of a published table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantity {
    /// A loss in nats per token: lower is better.
    Loss,
    /// An accuracy in per cent: higher is better.
    Accuracy,
    /// A distance of generated to real images: lower is better.
    Distance,
}

words!(Quantity);

/// A published table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaperTable {
    /// Where it stands: `Table 1`.
    pub place: String,
    /// The size of the networks, the data and the number of runs.
    pub scale: String,
    /// Quantity measured.
    pub quantity: Quantity,
    /// Content of the columns, with its unit.
    pub about: String,
    /// Names of the columns that are shown.
    pub columns: Vec<String>,
    /// The method that the others are compared with; without one the numbers are differences
    /// already.
    pub baseline: Option<String>,
    /// Remark below the table, on quantities of the paper that we do not measure.
    pub note: Option<String>,
    /// The rows in the order of the paper.
    #[serde(rename = "row")]
    pub rows: Vec<Published>,
}

/// A row of a published table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Published {
    /// The paper's name for the method.
    pub method: String,
    /// Numbers by the names of their columns, of which not all are shown.
    #[serde(flatten)]
    pub numbers: BTreeMap<String, f64>,
}

impl Setting for PaperTable {
    fn read(value: &Value) -> Result<Self, SettingError> {
        const KEYS: &[&str] = &[
            "place", "scale", "quantity", "about", "columns", "baseline", "note", "row",
        ];
        let table = Section::of(value, KEYS)?;
        Ok(Self {
            place: table.required("place")?,
            scale: table.required("scale")?,
            quantity: table.required("quantity")?,
            about: table.required("about")?,
            columns: table.required("columns")?,
            baseline: table.get("baseline", None)?,
            note: table.get("note", None)?,
            rows: table.required("row")?,
        })
    }
}

impl Setting for Published {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let number = |(column, value): (String, Value)| match f64::read(&value) {
            Ok(number) => Ok((column, number)),
            Err(error) => Err(error.below(&column)),
        };
        let mut numbers = Table::read(value)?;
        numbers.remove("method");
        Ok(Self {
            method: Section::open(value)?.required("method")?,
            numbers: numbers.into_iter().map(number).collect::<Result<_, _>>()?,
        })
    }
}

/// A method and its differences to the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperRow {
    /// The paper's name for the method.
    pub method: String,
    /// Method minus baseline, one number for each column of the table.
    pub deltas: Vec<f64>,
}

/// Columns shown at most.
const MOST_COLUMNS: usize = 4;

/// Every published table that is built in.
pub static PAPER_TABLES: LazyLock<Vec<PaperTable>> = LazyLock::new(|| {
    let files = built_in!("paper": "table_1", "table_2", "table_3", "table_4", "figure_1", "table_10", "table_11");
    let read = |(name, text): (&str, &str)| {
        let table = parse_toml(text).map_err(|wrong| wrong.reason);
        let table = table.and_then(|table| PaperTable::of(&Value::Table(table)));
        table.unwrap_or_else(|error| panic!("paper/{name}: {error}"))
    };
    files.map(read).into()
});

impl PaperTable {
    /// The table that a file describes.
    ///
    /// # Errors
    /// The mistake, with its key.
    pub fn of(file: &Value) -> Result<Self, String> {
        let table = Self::read(file).map_err(|error| error.to_string())?;
        if !(1..=MOST_COLUMNS).contains(&table.columns.len()) {
            return Err(format!("columns: expected 1 to {MOST_COLUMNS} names"));
        }
        for row in &table.rows {
            let number = |column: &&String| row.numbers.get(*column).is_some_and(|x| x.is_finite());
            if let Some(column) = table.columns.iter().find(|column| !number(column)) {
                return Err(format!("row {}: expected a number {column}", row.method));
            }
        }
        match &table.baseline {
            Some(baseline) if table.published(baseline).is_none() => {
                Err(format!("baseline: there is no row {baseline}"))
            }
            _ => Ok(table),
        }
    }

    fn published(&self, method: &str) -> Option<&Published> {
        self.rows.iter().find(|row| row.method == method)
    }

    /// The row of a method, by its name in the paper, as differences to the baseline.
    pub fn row(&self, method: &str) -> Option<PaperRow> {
        let row = self.published(method)?;
        let baseline = self
            .baseline
            .as_ref()
            .and_then(|method| self.published(method));
        let delta = |column: &String| {
            row.numbers[column] - baseline.map_or(0.0, |baseline| baseline.numbers[column])
        };
        Some(PaperRow {
            method: method.to_owned(),
            deltas: self.columns.iter().map(delta).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(place: &str) -> &'static PaperTable {
        let table = PAPER_TABLES.iter().find(|table| table.place == place);
        table.expect("a published table")
    }

    fn deltas(place: &str, method: &str) -> Vec<f64> {
        table(place).row(method).expect("a row").deltas
    }

    #[test]
    fn a_method_has_the_same_numbers_in_every_table() {
        let language = PAPER_TABLES
            .iter()
            .filter(|table| table.scale.starts_with("OLMo-1B"));
        let rows: Vec<&Published> = language.flat_map(|table| &table.rows).collect();
        assert_eq!(rows.len(), 28);
        for row in &rows {
            for other in rows.iter().filter(|other| other.method == row.method) {
                assert_eq!(row, other);
            }
            // The mean of per-domain perplexities is at least the exponential of the mean loss
            // (Jensen), and here never more than a fifth above: a digit in the wrong place shows.
            for (loss, perplexity) in [("V2", "V2 PPL"), ("V3", "V3 PPL")] {
                let ratio = row.numbers[perplexity] / row.numbers[loss].exp();
                assert!((1.0..1.2).contains(&ratio), "{}: {ratio}", row.method);
            }
        }
    }

    /// Statements of the paper's text.
    #[test]
    fn the_differences_are_those_the_text_states() {
        let near = |a: f64, b: f64| (a - b).abs() < 5e-4;
        let whole = deltas("Table 1", "DHC×4");
        assert!(near(whole[0], -0.030));
        assert!(deltas("Table 1", "DHC×1").iter().all(|&delta| delta > 0.0));
        let frozen = deltas("Table 3", "DHC×4, frozen WC");
        assert!(near(frozen[0] - whole[0], 0.021));
        assert!(near(frozen[1] - whole[1], 0.017));
        for (method, printed) in [("SHC×2", [1.22, 1.13]), ("DHC×2", [0.88, 2.69])] {
            for (gain, printed) in deltas("Table 11", method).iter().zip(printed) {
                assert!((gain - printed).abs() < 1e-9, "{method}: {gain}");
            }
        }
    }

    #[test]
    fn the_notes_have_the_differences_of_the_other_columns() {
        let diffusion = table("Table 10");
        let note = diffusion.note.as_ref().expect("other scores");
        let baseline = diffusion.published("DiT-XL/2").expect("a row");
        for method in ["SHC×2", "DiT-1B/2"] {
            let row = diffusion.published(method).expect("a row");
            for column in ["FID", "inception score", "precision", "recall"] {
                let said = format!(
                    "{column} {:+.2}",
                    row.numbers[column] - baseline.numbers[column]
                );
                assert!(note.contains(&said), "{said}: {note}");
            }
        }
        // "+6 points on ARC-Challenge and +1.2 on MMLU Var" in the paper's introduction.
        let gains = table("Figure 1").note.as_ref().expect("gains");
        for (task, base, dhc) in [
            ("MMLU-Var", 38.5, 39.7),
            ("HellaSwag", 69.5, 70.2),
            ("ARC-C", 41.8, 47.8),
            ("ARC-E", 72.8, 76.7),
            ("PIQA", 77.6, 78.2),
            ("WinoGrande", 64.4, 64.6),
            ("BoolQ", 65.4, 68.5),
        ] {
            let said = format!("{task} {:+.1}", dhc - base);
            assert!(gains.contains(&said), "{said}: {gains}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_table_is_named() {
        let usual = "place = \"here\"\nscale = \"ours\"\nquantity = \"loss\"\nabout = \"nats\"\n";
        for (rest, said) in [
            ("columns = []\nrow = []", "columns: expected 1 to 4 names"),
            (
                "columns = [\"V2\"]\nrow = [{ method = \"A\" }]",
                "row A: expected a number V2",
            ),
            (
                "columns = [\"V2\"]\nrow = [{ method = \"A\", V2 = nan }]",
                "row A: expected a number V2",
            ),
            (
                "columns = [\"V2\"]\nrow = [{ method = \"A\", V2 = 1 }]\nbaseline = \"B\"",
                "there is no row B",
            ),
            ("colums = []", "colums: there is no such setting"),
        ] {
            let file = format!("{usual}{rest}").parse().expect("TOML");
            let error = PaperTable::of(&Value::Table(file)).expect_err("it makes no sense");
            assert!(error.contains(said), "{rest}: {error}");
        }
    }
}
