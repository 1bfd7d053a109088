//! One row for each arm, for other programs.

use super::{Report, cells::number};
use figures::table::{Align, Cell, Table};

impl Report<'_> {
    /// One row for each arm, numbers in full.
    pub fn csv(&self) -> String {
        let [first, second] = match self.sweep.subject.paper {
            Some(paper) => paper.columns.map(|name| format!("paper_delta_{name}")),
            None => ["paper_delta_1", "paper_delta_2"].map(str::to_owned),
        };
        let mut table = Table::new(
            [
                "arm",
                "baseline",
                "seeds",
                "diverged",
                "spikes",
                "val_loss",
                "bits_per_byte",
                "accuracy",
                "accuracy_delta",
                "sd_over_seeds",
                "delta",
                "delta_low",
                "delta_high",
                "p_value",
                "p_holm",
                "effect_size",
                "corrected_effect_size",
                "seeds_needed",
                "seeds_needed_low",
                "seeds_needed_high",
                "verdict",
                "parameters",
                "extra_parameters",
                "flops_per_token",
                "extra_flops_fraction",
                "convergence_factor",
                "convergence_factor_low",
                "convergence_factor_high",
                "convergence_seeds",
                "convergence_bounds",
                &first.to_lowercase(),
                &second.to_lowercase(),
                "timing_step_ms",
                "timing_step_spread",
                "timing_step_ratio_low",
                "timing_step_ratio_high",
                "timing_delta_at_equal_time",
                "timing_delta_at_equal_time_low",
                "timing_delta_at_equal_time_high",
            ]
            .map(|name| (name, Align::Right)),
        );
        for arm in &self.results.arms {
            let delta = arm.delta.as_ref();
            let interval = delta.and_then(|delta| delta.interval);
            let seeds = delta.and_then(|delta| delta.seeds_needed_range);
            let factor_ends = arm.convergence.and_then(|c| c.interval);
            let equal_time = arm.timing.delta_at_equal_time.as_ref();
            let equal_time_ends = equal_time.and_then(|delta| delta.interval);
            table.push([
                Cell::from(&arm.name),
                Cell::from(arm.baseline.as_deref().unwrap_or_default()),
                Cell::from(arm.runs.len().to_string()),
                Cell::from(arm.diverged_runs.to_string()),
                Cell::from(arm.spikes.to_string()),
                full(arm.val_loss),
                full(arm.bits_per_byte),
                full(arm.accuracy),
                full(arm.accuracy_delta.as_ref().map(|delta| delta.mean)),
                full(arm.sd_over_seeds),
                full(delta.map(|delta| delta.mean)),
                full(interval.map(|[low, _]| low)),
                full(interval.map(|[_, high]| high)),
                full(delta.and_then(|delta| delta.p_value)),
                full(delta.and_then(|delta| delta.p_holm)),
                full(delta.and_then(|delta| delta.effect_size)),
                full(delta.and_then(|delta| delta.corrected_effect_size)),
                full(delta.and_then(|delta| delta.seeds_needed)),
                full(seeds.map(|[low, _]| low)),
                full(seeds.map(|[_, high]| high)),
                full(arm.verdict),
                full(arm.parameters),
                full(arm.extra_parameters),
                full(arm.flops_per_token),
                full(arm.extra_flops_fraction),
                full(arm.convergence.map(|c| c.factor)),
                full(factor_ends.map(|[low, _]| low)),
                full(factor_ends.map(|[_, high]| high)),
                full(arm.convergence.map(|c| c.reached)),
                full(arm.convergence.map(|c| c.bounds)),
                full(arm.paper_delta.map(|[first, _]| first)),
                full(arm.paper_delta.map(|[_, second]| second)),
                full(arm.timing.step_ms),
                full(arm.timing.step_spread),
                full(arm.timing.step_ratio.map(|[low, _]| low)),
                full(arm.timing.step_ratio.map(|[_, high]| high)),
                full(equal_time.map(|delta| delta.mean)),
                full(equal_time_ends.map(|[low, _]| low)),
                full(equal_time_ends.map(|[_, high]| high)),
            ]);
        }
        table.to_csv()
    }
}

fn full<T: ToString>(value: Option<T>) -> Cell {
    number(value, |value| value.to_string())
}
