//! Arms over lengths of training: what the baseline needs for the same loss, and the gap to it.

use super::{Report, cells::number, csv::to_csv};
use crate::ablation::{Interval, OverHorizons};
use figures::{
    stats::{Bound, MIN_SEEDS, PowerLaw},
    table::{Cell, Table},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Columns for other programs, with where the JSON of an arm and of one of its lengths have them.
const COLUMNS: [(&str, &str); 20] = [
    ("arm", "/arm/name"),
    ("baseline", "/arm/baseline"),
    ("seeds", "/arm/seeds"),
    ("horizon", "/point/times"),
    ("tokens", "/point/tokens"),
    ("val_loss", "/point/val_loss"),
    ("tokens_multiplier", "/point/tokens_multiplier/value"),
    ("tokens_multiplier_bound", "/point/tokens_multiplier/bound"),
    ("tokens_multiplier_low", "/point/tokens_multiplier/low"),
    ("tokens_multiplier_high", "/point/tokens_multiplier/high"),
    ("flops_multiplier", "/point/flops_multiplier/value"),
    ("flops_multiplier_bound", "/point/flops_multiplier/bound"),
    ("flops_multiplier_low", "/point/flops_multiplier/low"),
    ("flops_multiplier_high", "/point/flops_multiplier/high"),
    ("gap_exponent", "/arm/gap_exponent/value"),
    ("gap_exponent_low", "/arm/gap_exponent/low"),
    ("gap_exponent_high", "/arm/gap_exponent/high"),
    ("baseline_limit", "/arm/law/limit"),
    ("baseline_excess", "/arm/law/excess"),
    ("baseline_exponent", "/arm/law/exponent"),
];

impl Report<'_> {
    /// Multipliers by length, and how the gaps move with the tokens; empty for a sweep of one length.
    pub(super) fn horizon_tables(&self) -> Vec<(String, Table)> {
        let Some(horizons) = &self.results.horizons else {
            return Vec::new();
        };
        let points = horizons.arms.iter();
        let rows: Vec<_> = points
            .flat_map(|arm| arm.points.iter().map(move |point| (arm, point)))
            .collect();
        let multipliers = Table::of(&rows)
            .left("arm", |(arm, point)| {
                format!("{}, ×{}", arm.label, point.times)
            })
            .right("tokens", |(_, point)| point.tokens.to_string())
            .right("val loss", |(_, point)| format!("{:.4}", point.val_loss))
            .right("tokens multiplier [95\u{a0}%]", |(_, point)| {
                number(point.tokens_multiplier, |one| shown(&one))
            })
            .right("FLOPs multiplier [95\u{a0}%]", |(_, point)| {
                number(point.flops_multiplier, |one| shown(&one))
            })
            .table();
        let compared = horizons.arms.iter().filter(|arm| arm.baseline.is_some());
        let compared: Vec<&OverHorizons> = compared.collect();
        let gaps = Table::of(&compared)
            .left("arm", |arm| &arm.label)
            .right("seeds", |arm| arm.seeds.len().to_string())
            .right("p of the gap [95\u{a0}%]", |arm| match &arm.gap_exponent {
                Some(p) => Cell::from(shown(p)),
                None if arm.points.len() > 1 => Cell::from("none"),
                None => Cell::from(""),
            })
            .table();
        let titled = [
            (
                "Lengths of training, and what the baseline needs for the same loss",
                multipliers,
            ),
            ("How the gap to the baseline moves with the tokens", gaps),
        ];
        let titled = titled.map(|(title, table)| (title.to_owned(), table));
        titled
            .into_iter()
            .take(if compared.is_empty() { 1 } else { 2 })
            .collect()
    }

    /// One row for each arm and length, for other programs; `None` for a sweep of one length.
    pub fn horizons_csv(&self) -> Option<String> {
        let horizons = self.results.horizons.as_ref()?;
        let row = |arm: &OverHorizons| -> Vec<Value> {
            let points = arm.points.iter();
            points
                .map(|point| json!({ "arm": arm, "point": point }))
                .collect()
        };
        let rows: Vec<Value> = horizons.arms.iter().flat_map(row).collect();
        Some(to_csv(&rows, &COLUMNS))
    }

    /// How multipliers and gaps were computed.
    pub(super) fn horizons_note(&self) -> Option<String> {
        let horizons = self.results.horizons.as_ref()?;
        let mut text = "×2: trained on twice the tokens, with a learning-rate schedule of that length, warm-up included. tokens multiplier: how many times the tokens of the arm its baseline needs for the same loss; FLOPs multiplier: the same of operations. Over the seeds that ended well at all lengths; the intervals have the errors of seeds and, where it is known, of the validation text. ".to_owned();
        let law = |law: &PowerLaw| match law.is_at_an_end() {
            true => "no bent one fits better than a straight line in the logarithm".to_owned(),
            false => format!(
                "{:.3} + {:.3} (t/t1)^−{:.3}, off by {:.4} at most",
                law.limit, law.excess, law.exponent, law.residual
            ),
        };
        let laws = horizons.arms.iter().filter_map(|arm| arm.law.as_ref());
        // Of arms of the same baseline and seeds it is the same.
        let laws: BTreeSet<String> = laws.map(law).collect();
        let laws: Vec<String> = laws.into_iter().collect();
        text.push_str(&match laws.is_empty() {
            true => "The loss of the baseline between two lengths: a straight line in the logarithm of the tokens, which makes multipliers a little too large (a power law needs three lengths).".to_owned(),
            false => format!("The loss of the baseline: a power law fitted to its lengths, {}; what they are off is taken to change in straight lines between them, so that the curve goes through all of them.", laws.join("; ")),
        });
        text.push_str(" Nothing is read beyond the lengths that were trained: ≥ and ≤ are the bounds that they give, and an end of an interval that lies beyond is left open (..). p of the gap: the gap to the baseline falls as tokens to the power -p; none: it changes its sign, or no p fits.");
        let few = |arm: &&OverHorizons| arm.baseline.is_some() && arm.seeds.len() < MIN_SEEDS;
        if horizons.arms.iter().any(|arm| few(&arm)) {
            text.push_str(&format!(
                " FEWER THAN {MIN_SEEDS} SEEDS: nothing is claimed."
            ));
        }
        Some(text)
    }
}

/// `1.31 [1.22, 1.40]`; `≥1.00 [0.95, ..]` of what the lengths give bounds of.
fn shown(one: &Interval) -> String {
    let sign = match one.bound {
        None => "",
        Some(Bound::AtLeast) => "≥",
        Some(Bound::AtMost) => "≤",
    };
    let [low, high] = [one.low, one.high].map(|end| match end {
        Some(end) => format!("{end:.2}"),
        None => "..".to_owned(),
    });
    format!("{sign}{:.2} [{low}, {high}]", one.value).replace('-', "−")
}
