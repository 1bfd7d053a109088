//! What is shown as a table.

use super::{
    Report,
    cells::{number, seeds_needed, signed, spoken, step_time, tokens_factor, with_interval},
};
use crate::{
    ablation::ArmResult,
    measure::Measure,
    paper::{PaperTable, Quantity},
};
use figures::table::{Align, Cell, Table, Tone};

impl Report<'_> {
    /// Losses, differences and verdicts, with the paper's numbers beside ours if they are of
    /// losses too, or of distances, which are as much better the lower they are.
    pub fn loss_table(&self) -> Table {
        let bytes = self.sweep.measure() == Measure::Bytes;
        let distances = || self.paper(Quantity::Distance);
        let paper = self.paper(Quantity::Loss).or_else(distances);
        let bits = bytes.then_some(("bits per byte", Align::Right));
        let columns = [("arm", Align::Left), ("val loss", Align::Right)].into_iter();
        let columns = columns.chain(bits);
        let columns = columns.chain([("Δ ours ± 95 %", Align::Right), ("verdict", Align::Left)]);
        self.beside(paper, 3, columns, |arm| {
            let loss = number(arm.val_loss, |loss| format!("{loss:.4}"));
            let bits = bytes.then(|| number(arm.bits_per_byte, |bits| format!("{bits:.4}")));
            let cells = [Cell::from(&arm.label), loss].into_iter().chain(bits);
            cells
                .chain([self.delta_cell(arm), self.verdict_cell(arm)])
                .collect()
        })
    }

    /// Accuracies and their differences, with the paper's beside ours; `None` where nothing is
    /// classified.
    pub fn accuracy_table(&self) -> Option<Table> {
        if self.results.arms.iter().all(|arm| arm.accuracy.is_none()) {
            return None;
        }
        let columns = [
            ("arm", Align::Left),
            ("top-1 (%)", Align::Right),
            ("Δ ours ± 95 %", Align::Right),
        ];
        let paper = self.paper(Quantity::Accuracy);
        Some(self.beside(paper, 2, columns.into_iter(), |arm| {
            let delta = match &arm.accuracy_delta {
                Some(delta) => Cell::from(with_interval(delta, 100.0, 2)),
                None => self.baseline_cell(arm),
            };
            let accuracy = number(arm.accuracy, |share| format!("{:.2}", 100.0 * share));
            vec![Cell::from(&arm.label), accuracy, delta]
        }))
    }

    /// A table of all arms with the columns of a published one behind its own.
    fn beside(
        &self,
        paper: Option<&PaperTable>,
        digits: usize,
        columns: impl Iterator<Item = (&'static str, Align)>,
        cells: impl Fn(&ArmResult) -> Vec<Cell>,
    ) -> Table {
        let published = paper.iter().flat_map(|paper| &paper.columns);
        let published: Vec<String> = published.map(|name| format!("paper Δ {name}")).collect();
        let mut columns: Vec<(&str, Align)> = columns.collect();
        columns.extend(published.iter().map(|name| (&**name, Align::Right)));
        let mut table = Table::new(columns);
        for arm in &self.results.arms {
            let delta = |column| arm.paper_delta.as_ref()?.get(column).copied();
            let delta = |column| number(delta(column), |delta| signed(delta, digits));
            table.push(
                cells(arm)
                    .into_iter()
                    .chain((0..published.len()).map(delta)),
            );
        }
        table
    }

    /// Spread over seeds and what the arms cost.
    pub fn cost_table(&self) -> Table {
        let mut table = Table::new([
            ("arm", Align::Left),
            ("seeds", Align::Right),
            ("sd over seeds", Align::Right),
            ("extra params", Align::Right),
            ("(%)", Align::Right),
            ("extra FLOPs (%)", Align::Right),
            ("step (ms)", Align::Right),
            ("Δ at equal time ±\u{a0}95\u{a0}%", Align::Right),
            ("tokens factor [95\u{a0}%]", Align::Right),
            ("effect size", Align::Right),
            ("seeds needed", Align::Right),
            ("spikes", Align::Right),
            ("diverged", Align::Right),
        ]);
        let percent = |fraction: f64| format!("{:+.2}", 100.0 * fraction);
        for arm in &self.results.arms {
            let delta = arm.delta.as_ref();
            table.push([
                Cell::from(&arm.label),
                Cell::from(arm.runs.len().to_string()),
                number(arm.sd_over_seeds, |sd| format!("{sd:.4}")),
                number(arm.extra_parameters, |extra| format!("{extra:+}")),
                number(arm.extra_parameters_fraction, percent),
                number(arm.extra_flops_fraction, percent),
                step_time(&arm.timing),
                number(arm.timing.delta_at_equal_time.as_ref(), |delta| {
                    with_interval(delta, 1.0, 4)
                }),
                number(arm.convergence, tokens_factor),
                number(delta.and_then(|d| d.corrected_effect_size), |size| {
                    signed(size, 1)
                }),
                number(delta.and_then(|d| d.seeds_needed_range), seeds_needed),
                Cell::from(arm.spikes.to_string()),
                Cell::from(arm.diverged_runs.to_string()),
            ]);
        }
        table
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
    fn baseline_cell(&self, arm: &ArmResult) -> Cell {
        let names = |other: &ArmResult| other.baseline.as_ref() == Some(&arm.name);
        match self.results.arms.iter().any(names) {
            true => Cell::new("baseline", Tone::Faint),
            false => Cell::from(""),
        }
    }

    fn verdict_cell(&self, arm: &ArmResult) -> Cell {
        let diverged = arm.diverged().count();
        if diverged > 0 {
            return Cell::new(format!("diverged {diverged}/{}", arm.runs.len()), Tone::Bad);
        }
        spoken(arm.verdict.filter(|_| arm.delta.is_some()))
    }
}
