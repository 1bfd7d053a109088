//! The diffusion transformers of Table 10.

use super::{PaperRow, PaperTable, Quantity};

/// One diffusion transformer of Table 10: ImageNet at 256 x 256, 1400 epochs, guidance 1.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiffusionRow {
    /// The paper's name for it.
    pub method: &'static str,
    /// Parameters in millions.
    pub parameters_millions: u32,
    /// Fréchet inception distance: lower is better.
    pub fid: f64,
    /// The same on spatial features.
    pub sfid: f64,
    /// Inception score: higher is better.
    pub inception_score: f64,
    /// Precision: higher is better.
    pub precision: f64,
    /// Recall: higher is better.
    pub recall: f64,
}

const fn row(method: &'static str, millions: u32, scores: [f64; 5]) -> DiffusionRow {
    let [fid, sfid, inception_score, precision, recall] = scores;
    DiffusionRow {
        method,
        parameters_millions: millions,
        fid,
        sfid,
        inception_score,
        precision,
        recall,
    }
}

/// Table 10. The first row is quoted there from the DiT paper, in FP32 and without norm of
/// queries and keys; the others have both FP16 and that norm, and the second is the baseline.
pub const TABLE_10: [DiffusionRow; 4] = [
    row("DiT-XL/2 (original)", 675, [2.27, 4.60, 278.24, 0.83, 0.57]),
    row("DiT-XL/2", 675, [2.36, 4.54, 269.46, 0.83, 0.58]),
    row("DiT-1B/2", 983, [2.13, 4.50, 288.69, 0.82, 0.59]),
    row("DiT-XL/2-SHC×2", 675, [2.18, 4.52, 287.24, 0.82, 0.60]),
];

const BASELINE: DiffusionRow = TABLE_10[1];
const LARGER: DiffusionRow = TABLE_10[2];
const SHC_2: DiffusionRow = TABLE_10[3];

fn other_scores() -> String {
    let of = |row: DiffusionRow| {
        format!(
            "FID {:+.2}, inception score {:+.2}, precision {:+.2}, recall {:+.2}",
            row.fid - BASELINE.fid,
            row.inception_score - BASELINE.inception_score,
            row.precision - BASELINE.precision,
            row.recall - BASELINE.recall
        )
    };
    format!(
        "the paper's Table 10, minus DiT-XL/2: SHC×2 {}; a network of {}M in place of {}M \
         parameters {}. It measures drawings, we measure the loss: they need not agree",
        of(SHC_2),
        LARGER.parameters_millions,
        BASELINE.parameters_millions,
        of(LARGER)
    )
}

/// Table 10 as differences to DiT-XL/2 under the same conditions.
pub const DIFFUSION: PaperTable = PaperTable {
    place: "Table 10",
    scale: "DiT-XL/2 on ImageNet at 256 x 256, 1400 epochs, guidance 1.5, one run each",
    quantity: Quantity::Distance,
    about: "FID and sFID, distances of drawings to images (lower is better)",
    columns: ["FID", "sFID"],
    rows: &[PaperRow {
        method: "SHC×2",
        deltas: [SHC_2.fid - BASELINE.fid, SHC_2.sfid - BASELINE.sfid],
    }],
    note: Some(other_scores),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_streams_come_near_half_as_many_parameters_more() {
        let [fid, sfid] = DIFFUSION.rows[0].deltas;
        assert!((fid + 0.18).abs() < 1e-9 && (sfid + 0.02).abs() < 1e-9);
        let note = other_scores();
        assert!(
            note.contains("SHC×2 FID -0.18, inception score +17.78"),
            "{note}"
        );
        assert!(
            note.contains("983M in place of 675M parameters FID -0.23"),
            "{note}"
        );
    }
}
