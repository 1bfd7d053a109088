//! The table of runs that diverged or spiked.

use super::{Report, cells, cells::number, csv::to_csv, signed};
use crate::ablation::{ArmResult, Incidence, Stability};
use figures::table::{Cell, Table, Tone};
use serde_json::{Value, json};

/// Columns for other programs, with where an arm's JSON has them.
const COLUMNS: [(&str, &str); 15] = [
    ("arm", "/name"),
    ("baseline", "/baseline"),
    ("runs", "/stability/diverged/of"),
    ("diverged", "/stability/diverged/runs"),
    ("diverged_delta", "/stability/diverged/difference"),
    ("diverged_delta_low", "/stability/diverged/interval/0"),
    ("diverged_delta_high", "/stability/diverged/interval/1"),
    ("diverged_p_value", "/stability/diverged/p_value"),
    ("diverged_p_holm", "/stability/diverged/p_holm"),
    ("either", "/stability/diverged_or_spiked/runs"),
    ("either_delta", "/stability/diverged_or_spiked/difference"),
    (
        "either_delta_low",
        "/stability/diverged_or_spiked/interval/0",
    ),
    (
        "either_delta_high",
        "/stability/diverged_or_spiked/interval/1",
    ),
    ("either_p_value", "/stability/diverged_or_spiked/p_value"),
    ("either_p_holm", "/stability/diverged_or_spiked/p_holm"),
];

/// Chooses one of the two counts of an arm.
type Kind = fn(&Stability) -> &Incidence;

impl Report<'_> {
    /// The table of runs that diverged or spiked, under its title; `None` where none did.
    pub fn stability(&self) -> Option<(String, Table)> {
        let arms = &self.results.arms;
        arms.iter().find(|arm| arm.stability.is_some())?;
        let count = |arm: &ArmResult, kind: Kind| {
            let one = arm.stability.as_ref().map(kind);
            let Some(Incidence { runs, of, .. }) = one else {
                return Cell::from("");
            };
            let tone = if *runs > 0 { Tone::Bad } else { Tone::Plain };
            Cell::new(format!("{runs}/{of}"), tone)
        };
        let difference = |arm: &ArmResult, kind: Kind| {
            let one = arm.stability.as_ref().map(kind);
            let Some((difference, ends)) =
                one.and_then(|one| Some((one.difference?, one.interval?)))
            else {
                return self.baseline_cell(arm);
            };
            let points = |share: f64| signed(100.0 * share, 0);
            let [low, high] = ends.map(points);
            Cell::from(format!("{} [{low}, {high}]", points(difference)))
        };
        let p = |arm: &ArmResult, kind: Kind| {
            let p = arm.stability.as_ref().and_then(|one| kind(one).p_holm);
            number(p, cells::p)
        };
        let diverged: Kind = |one| &one.diverged;
        let either: Kind = |one| &one.diverged_or_spiked;
        let table = Table::of(arms)
            .left("arm", |arm| &arm.label)
            .right("diverged", |arm| count(arm, diverged))
            .right("Δ (points) [95\u{a0}%]", |arm| difference(arm, diverged))
            .right("p (Holm)", |arm| p(arm, diverged))
            .right("diverged or spiked", |arm| count(arm, either))
            .right("Δ (points) [95\u{a0}%]", |arm| difference(arm, either))
            .right("p (Holm)", |arm| p(arm, either));
        let table = table.table().without_empty_columns();
        Some(("Stability: runs that diverged or spiked".to_owned(), table))
    }

    /// One row for each arm, for other programs; `None` where no run diverged or spiked.
    pub fn stability_csv(&self) -> Option<String> {
        self.stability()?;
        let arms: Vec<Value> = self.results.arms.iter().map(|arm| json!(arm)).collect();
        Some(to_csv(&arms, &COLUMNS))
    }

    /// What the columns of the table mean.
    pub(super) fn stability_note(&self) -> Option<String> {
        self.stability()?;
        Some("stability: runs of all that have ended; a run spiked if its training loss has one spike at least. Δ: share of the runs minus that of the baseline in percentage points, with Newcombe's interval; p: Fisher's exact test, two-sided, with Holm's correction over the arms. Both take runs as independent, those of one seed too.".to_owned())
    }
}
