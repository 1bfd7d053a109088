//! The mixture of experts: Figure 1 and Table 6.

use super::{PaperRow, PaperTable, Quantity};

/// Table 6: accuracy (%) of the baseline and of DHC×4 on downstream tasks.
pub const TABLE_6: [(&str, f64, f64); 7] = [
    ("MMLU-Var", 38.5, 39.7),
    ("HellaSwag", 69.5, 70.2),
    ("ARC-C", 41.8, 47.8),
    ("ARC-E", 72.8, 76.7),
    ("PIQA", 77.6, 78.2),
    ("WinoGrande", 64.4, 64.6),
    ("BoolQ", 65.4, 68.5),
];

fn downstream() -> String {
    let gains = TABLE_6.map(|(task, base, dhc)| format!("{task} {:+.1}", dhc - base));
    format!(
        "the paper's Table 6: DHC×4 minus baseline in downstream accuracy (points): {}",
        gains.join(", ")
    )
}

/// Losses as Figure 1 and the text state them; the paper has no table of them.
pub const OLMOE: PaperTable = PaperTable {
    place: "Figure 1",
    scale: "OLMoE-1B-7B, 500B tokens, one run each",
    quantity: Quantity::Loss,
    about: "C4-en validation loss and training loss in nats per token",
    columns: ["C4-en", "train"],
    rows: &[PaperRow {
        method: "DHC×4",
        deltas: [-0.028, -0.027],
    }],
    note: Some(downstream),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// "+6 points on ARC-Challenge and +1.2 on MMLU Var" in the paper's introduction.
    #[test]
    fn the_gains_are_those_the_text_states() {
        let note = downstream();
        assert!(
            note.contains("ARC-C +6.0") && note.contains("MMLU-Var +1.2"),
            "{note}"
        );
    }
}
