//! The published numbers that ours are printed beside.
//!
//! D. Zhu and others, "Hyper-Connections", ICLR 2025 (arXiv 2409.19606v3). Numbers of one run,
//! at a scale far from ours: only signs and order compare.

mod diffusion;
mod language;
mod moe;
mod vision;

pub use diffusion::{DIFFUSION, DiffusionRow, TABLE_10};
pub use language::{BASELINE, LanguageRow, TABLE_1, TABLE_2, TABLE_3, TABLE_4};
pub use moe::{OLMOE, TABLE_6};
pub use vision::{TABLE_11, VISION, VisionRow};

/// What the paper measures in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// A loss in nats per token: lower is better.
    Loss,
    /// An accuracy in per cent: higher is better.
    Accuracy,
    /// A distance of what was drawn to what is real: lower is better.
    Distance,
}

/// A method and its differences to the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaperRow {
    /// The paper's name for it.
    pub method: &'static str,
    /// Method minus baseline, one number for each column of the table.
    pub deltas: [f64; 2],
}

/// Differences to a baseline that the paper has published.
#[derive(Debug, Clone, Copy)]
pub struct PaperTable {
    /// Where they are: `Table 1`.
    pub place: &'static str,
    /// At what scale.
    pub scale: &'static str,
    /// What was measured.
    pub quantity: Quantity,
    /// What the columns hold, with its unit.
    pub about: &'static str,
    /// The names of the columns.
    pub columns: [&'static str; 2],
    /// Its rows but for the baseline, in the paper's order.
    pub rows: &'static [PaperRow],
    /// What else the paper says of this comparison, in quantities that we do not measure.
    pub note: Option<fn() -> String>,
}

impl PaperTable {
    /// The row of a method by its name in the paper.
    pub fn row(&self, method: &str) -> Option<PaperRow> {
        self.rows.iter().find(|row| row.method == method).copied()
    }
}
