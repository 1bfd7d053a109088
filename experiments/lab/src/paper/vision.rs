//! The vision transformers of Table 11.

use super::{PaperRow, PaperTable, Quantity};

/// One vision transformer of Table 11.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionRow {
    /// The paper's name for it.
    pub method: &'static str,
    /// Its size: `Base` or `Large`.
    pub size: &'static str,
    /// Parameters in millions.
    pub parameters_millions: u32,
    /// ImageNet top-1 accuracy (%).
    pub top_1: f64,
}

impl VisionRow {
    const fn new(
        method: &'static str,
        size: &'static str,
        parameters_millions: u32,
        top_1: f64,
    ) -> Self {
        Self {
            method,
            size,
            parameters_millions,
            top_1,
        }
    }

    /// Accuracy minus that of the baseline of the same size, in percentage points: above zero is
    /// better. (The paper calls these gains relative; they are not.)
    const fn gain(&self, baseline: &Self) -> f64 {
        self.top_1 - baseline.top_1
    }
}

/// The baseline of Table 11.
const VISION_BASELINE: &str = "ViT/16";

/// Table 11: vision transformers with two streams. The row ViT*/16 at 384 x 384, quoted there
/// from another paper, is left out.
pub const TABLE_11: [VisionRow; 6] = [
    VisionRow::new(VISION_BASELINE, "Base", 85, 76.38),
    VisionRow::new("SHC×2", "Base", 85, 77.60),
    VisionRow::new("DHC×2", "Base", 85, 77.26),
    VisionRow::new(VISION_BASELINE, "Large", 307, 77.25),
    VisionRow::new("SHC×2", "Large", 307, 78.38),
    VisionRow::new("DHC×2", "Large", 307, 79.94),
];

/// The gains of the base and of the large size.
const fn gains(method: &'static str, base: usize, large: usize) -> PaperRow {
    PaperRow {
        method,
        deltas: [
            TABLE_11[base].gain(&TABLE_11[0]),
            TABLE_11[large].gain(&TABLE_11[3]),
        ],
    }
}

/// Table 11 as differences to the baseline of the same size.
pub const VISION: PaperTable = PaperTable {
    place: "Table 11",
    scale: "ViT/16 on ImageNet at 224 x 224, 300 epochs, one run each",
    quantity: Quantity::Accuracy,
    about: "top-1 accuracy in percentage points, of the sizes Base (85M) and Large (307M)",
    columns: ["Base", "Large"],
    rows: &[gains("SHC×2", 1, 4), gains("DHC×2", 2, 5)],
    note: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_those_printed_in_the_table() {
        for (row, printed) in VISION.rows.iter().zip([[1.22, 1.13], [0.88, 2.69]]) {
            for (gain, printed) in row.deltas.iter().zip(printed) {
                assert!((gain - printed).abs() < 1e-9, "{}: {gain}", row.method);
            }
        }
    }

    #[test]
    fn a_gain_compares_one_method_at_one_size() {
        for (method, base, large) in [("SHC×2", 1, 4), ("DHC×2", 2, 5)] {
            let [base, large] = [TABLE_11[base], TABLE_11[large]];
            assert_eq!([base.method, large.method], [method; 2]);
            assert_eq!([base.size, large.size], ["Base", "Large"]);
        }
    }
}
