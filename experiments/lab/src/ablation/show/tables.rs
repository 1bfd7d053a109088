//! What is shown as a table.

use super::{
    Report,
    cells::{
        number, of_seeds, of_text, signed, spoken, step_time, still_needed, tokens_factor,
        with_interval,
    },
};
use crate::{
    ablation::{ArmResult, Delta},
    measure::Measure,
    paper::{PaperTable, Quantity},
};
use figures::{
    stats::Verdict,
    table::{Cell, Table, TableOf, Tone},
};

impl Report<'_> {
    /// Losses, differences and verdicts, with the paper's numbers beside ours if they are of
    /// losses too, or of distances, which are as much better the lower they are.
    pub fn loss_table(&self) -> Table {
        let bytes = self.sweep.measure() == Measure::Bytes;
        let distances = || self.paper(Quantity::Distance);
        let paper = self.paper(Quantity::Loss).or_else(distances);
        let four = |value| number(value, |value| format!("{value:.4}"));
        let mut table = Table::of(&self.results.arms).left("arm", |arm| &arm.label);
        if self.steps_differ() {
            table = table.right("steps", |arm| number(arm.steps, |steps| steps.to_string()));
        }
        table = table.right("val loss", |arm| four(arm.val_loss));
        if bytes {
            table = table.right("bits per byte", |arm| four(arm.bits_per_byte));
        }
        let table = table.right("Δ ours ± 95 %", |arm| self.delta_cell(arm));
        let table = self.with_errors(table, |arm| arm.delta.as_ref(), 1.0, 4);
        let table = table.left("verdict", |arm| {
            self.verdict_cell(arm, arm.verdict.filter(|_| arm.delta.is_some()))
        });
        beside(table, paper, 3)
    }

    /// Accuracies and their differences, with the paper's beside ours; `None` where nothing is
    /// classified.
    pub fn accuracy_table(&self) -> Option<Table> {
        if self.results.arms.iter().all(|arm| arm.accuracy.is_none()) {
            return None;
        }
        let table = Table::of(&self.results.arms)
            .left("arm", |arm| &arm.label)
            .right("top-1 (%)", |arm| {
                number(arm.accuracy, |share| format!("{:.2}", 100.0 * share))
            })
            .right("Δ ours ± 95 %", |arm| match &arm.accuracy_delta {
                Some(delta) => Cell::from(with_interval(delta, 100.0, 2)),
                None => self.baseline_cell(arm),
            });
        let table = self.with_errors(table, |arm| arm.accuracy_delta.as_ref(), 100.0, 2);
        Some(beside(table, self.paper(Quantity::Accuracy), 2))
    }

    /// The table with the errors of these differences over seeds and over the validation text, if
    /// that of the text is known of one of them.
    pub(super) fn with_errors<'a>(
        &self,
        table: TableOf<'a, ArmResult>,
        delta: impl Fn(&ArmResult) -> Option<&Delta>,
        scale: f64,
        digits: usize,
    ) -> TableOf<'a, ArmResult> {
        let mut deltas = self.results.arms.iter().filter_map(&delta);
        if !deltas.any(|delta| delta.text_se.is_some()) {
            return table;
        }
        let cell = |of: Option<String>| Cell::from(of.unwrap_or_default());
        let seeds = |delta| of_seeds(delta, scale, digits);
        let text = |delta| of_text(delta, scale, digits);
        table
            .right("over seeds", |arm| cell(delta(arm).and_then(seeds)))
            .right("text s.e.", |arm| cell(delta(arm).and_then(text)))
    }

    /// Spread over seeds and what the arms cost.
    pub fn cost_table(&self) -> Table {
        let percent = |value| number(value, |fraction: f64| format!("{:+.2}", 100.0 * fraction));
        let mut table = Table::of(&self.results.arms).left("arm", |arm| &arm.label);
        if self.results.matched_by.is_some() {
            table = self.with_matching(table);
        }
        table
            .right("seeds", |arm| arm.runs.len().to_string())
            .right("sd over seeds", |arm| {
                number(arm.sd_over_seeds, |sd| format!("{sd:.4}"))
            })
            .right("extra params", |arm| {
                number(arm.extra_parameters, |extra| format!("{extra:+}"))
            })
            .right("(%)", |arm| percent(arm.extra_parameters_fraction))
            .right("extra FLOPs (%)", |arm| percent(arm.extra_flops_fraction))
            .right("step (ms)", |arm| step_time(&arm.timing))
            .right("tokens factor [95\u{a0}%]", |arm| {
                number(arm.convergence, tokens_factor)
            })
            .right("effect size", |arm| {
                let size = arm.delta.as_ref().and_then(|d| d.corrected_effect_size);
                number(size, |size| signed(size, 1))
            })
            .right("seeds needed", |arm| {
                arm.delta.as_ref().map_or(Cell::from(""), still_needed)
            })
            .right("spikes", |arm| arm.spikes.to_string())
            .right("diverged", |arm| arm.diverged_runs.to_string())
            .table()
    }

    fn delta_cell(&self, arm: &ArmResult) -> Cell {
        if let (None, Some(run)) = (arm.val_loss, arm.diverged().next()) {
            let step = run.diverged_at_step.unwrap_or(run.steps);
            return Cell::new(format!("diverged at step {step}"), Tone::Bad);
        }
        let Some(delta) = &arm.delta else {
            return self.baseline_cell(arm);
        };
        Cell::from(with_interval(delta, 1.0, 4))
    }

    /// The cell of a missing difference. Arms that nothing is compared
    /// with, as those of a directory of unrelated runs, are nobody's baseline.
    pub(super) fn baseline_cell(&self, arm: &ArmResult) -> Cell {
        let names = |other: &ArmResult| other.baseline.as_ref() == Some(&arm.name);
        match self.results.arms.iter().any(names) {
            true => Cell::new("baseline", Tone::Faint),
            false => Cell::from(""),
        }
    }

    /// The cell of a verdict, which no run that diverged is left out of.
    pub(super) fn verdict_cell(&self, arm: &ArmResult, verdict: Option<Verdict>) -> Cell {
        let diverged = arm.diverged().count();
        if diverged > 0 {
            return Cell::new(format!("diverged {diverged}/{}", arm.runs.len()), Tone::Bad);
        }
        spoken(verdict)
    }
}

/// A table of arms with the columns of a published one behind its own.
fn beside(mut table: TableOf<'_, ArmResult>, paper: Option<&PaperTable>, digits: usize) -> Table {
    let published = paper.map_or(&[][..], |paper| &paper.columns);
    for (column, name) in published.iter().enumerate() {
        table = table.right(&format!("paper Δ {name}"), |arm| {
            let delta = arm
                .paper_delta
                .as_ref()
                .and_then(|deltas| deltas.get(column));
            number(delta, |delta| signed(*delta, digits))
        });
    }
    table.table()
}
