//! Arms of equal cost: their steps, why so many, and what the error of the costs is worth.

use super::{Report, cells::number};
use crate::ablation::{ArmResult, Cost, Delta, EqualCost, calibration::is_notable};
use figures::{stats::Verdict, table::TableOf};

impl Report<'_> {
    /// Returns whether arms have been trained for different numbers of steps.
    pub(super) fn steps_differ(&self) -> bool {
        let mut steps = self.results.arms.iter().filter_map(|arm| arm.steps);
        let first = steps.next();
        steps.any(|other| Some(other) != first)
    }

    /// The table with the ratios of the costs and their errors.
    pub(super) fn with_matching<'a>(
        &self,
        table: TableOf<'a, ArmResult>,
    ) -> TableOf<'a, ArmResult> {
        let timed = self.results.matched_by == Some(Cost::Time);
        let name = if timed {
            "cost ratio [95\u{a0}%]"
        } else {
            "cost ratio"
        };
        let table = table.right(name, |arm| {
            number(arm.matched.as_ref(), |one| one.arm.cost.to_string())
        });
        if !timed {
            return table;
        }
        table.right("its error in loss", |arm| {
            let error = arm.matched.as_ref().and_then(|one| one.error_in_loss);
            number(error, |error| format!("{error:.4}"))
        })
    }

    /// The line below the title that says that steps differ.
    pub(super) fn costs_heading(&self) -> Option<String> {
        let by = match self.results.matched_by? {
            Cost::Time => "TIME: every arm has the steps that take as long as",
            Cost::Flops => "FLOPs: every arm has the steps that are as many operations as",
        };
        Some(format!(
            "AT EQUAL {by} all of its baseline; STEPS AND DATA DIFFER, each arm has a learning-rate schedule of its own length"
        ))
    }

    /// How steps were chosen, and what that is worth; `None` where nothing is compared.
    pub(super) fn costs_note(&self) -> Option<String> {
        let compared = self.results.arms.iter().any(|arm| arm.baseline.is_some());
        let Some(by) = self.results.matched_by.filter(|_| compared) else {
            let note = match self.steps_differ() {
                true => "steps: arms differ in them, by their settings or lengths of training.",
                false => {
                    "All arms have as many steps, whatever these cost: --match time and --match flops compare at equal cost."
                }
            };
            return compared.then(|| note.to_owned());
        };
        let mut text = "steps: those of the baseline over the cost ratio, ".to_owned();
        text.push_str(match by {
            Cost::Time => "the time of a step over that of one of the baseline, both timed in turn before the first run, geometric mean over rounds; validations are not counted.",
            Cost::Flops => "the operations of a step over those of one of the baseline, as counted for the forward (the backward takes them for twice as many in all arms; the optimiser is not counted).",
        });
        text.push_str(" The schedule, its warm-up included, is stretched to the steps, and validations are at the same parts of the run (as nearly as whole steps go, never more).");
        let batch = |config: &crate::config::RunConfig| config.train.batch;
        let mut batches = self.sweep.configs.iter().map(batch);
        let first = batches.next();
        if batches.all(|other| Some(other) == first) {
            text.push_str(" Batches come in one order: an arm of fewer steps sees the first of those that its baseline sees, an arm of more goes on from there.");
        }
        if by == Cost::Time {
            text.push_str(&self.errors_of_times());
        }
        Some(text)
    }

    fn errors_of_times(&self) -> String {
        let mut text = " its error in loss: half of the interval of the ratio, times the baseline's fall of loss by the logarithm of steps over its second half, which is rather too steep; Δ and its verdict do not have it in them; it is not known where the baseline was not validated before the middle of its run.".to_owned();
        let arms = || {
            self.results
                .arms
                .iter()
                .filter_map(|arm| Some((arm, arm.matched.as_ref()?)))
        };
        let labels = |which: &dyn Fn(&ArmResult, &EqualCost) -> bool| -> String {
            let named = arms().filter(|(arm, one)| which(arm, one));
            named
                .map(|(arm, _)| &*arm.label)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let fragile = labels(&|arm, one| hangs_on_costs(arm, one.error_in_loss));
        if !fragile.is_empty() {
            text.push_str(&format!(
                " WITHIN THE ERROR OF THE COSTS, so that the verdict is not one at equal time: {fragile}."
            ));
        }
        let notable =
            |one: &EqualCost| one.arm.timed.as_ref().is_some_and(|t| is_notable(t.spread));
        let disturbed = labels(&|_, one| notable(one));
        if !disturbed.is_empty() {
            text.push_str(&format!(
                " THE MACHINE WAS NOT QUIET when steps were chosen: rounds differ by more than a tenth for {disturbed} or the baseline."
            ));
        }
        let elsewhere = labels(&|arm, one| {
            let apart = |[low, high]: [f64; 2], [least, most]: [f64; 2]| high < least || most < low;
            let now = arm.timing.step_ratio.zip(one.arm.cost.interval);
            now.is_some_and(|(now, then)| apart(now, then))
        });
        if !elsewhere.is_empty() {
            text.push_str(&format!(
                " TIMED AGAIN AFTER THE RUNS, the ratio is another, beyond both intervals: {elsewhere}."
            ));
        }
        text
    }
}

/// Returns whether what is shown of an arm is not with the error of the costs, which adds to the
/// half-width of the interval as squares.
fn hangs_on_costs(arm: &ArmResult, error: Option<f64>) -> bool {
    let shown = matches!(arm.verdict, Some(Verdict::Better | Verdict::Worse));
    let beyond = |delta: &Delta| {
        let [low, high] = delta.interval?;
        Some(delta.mean.abs() > f64::hypot((high - low) / 2.0, error?))
    };
    shown && arm.delta.as_ref().and_then(beyond) == Some(false)
}
