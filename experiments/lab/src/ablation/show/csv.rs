//! One row for each arm, for other programs.

use super::{Report, cells::number};
use crate::ablation::{ArmResult, Delta};
use figures::table::{Align, Table};

/// The name of a column, and its number of an arm in full.
type Column = (&'static str, fn(&ArmResult) -> Option<String>);

/// Columns before those of the published table.
const RESULTS: [Column; 30] = [
    ("arm", |arm| full(Some(&arm.name))),
    ("baseline", |arm| arm.baseline.clone()),
    ("seeds", |arm| full(Some(arm.runs.len()))),
    ("diverged", |arm| full(Some(arm.diverged_runs))),
    ("spikes", |arm| full(Some(arm.spikes))),
    ("val_loss", |arm| full(arm.val_loss)),
    ("bits_per_byte", |arm| full(arm.bits_per_byte)),
    ("accuracy", |arm| full(arm.accuracy)),
    ("accuracy_delta", |arm| {
        full(Some(arm.accuracy_delta.as_ref()?.mean))
    }),
    ("sd_over_seeds", |arm| full(arm.sd_over_seeds)),
    ("delta", |arm| full(Some(arm.delta.as_ref()?.mean))),
    ("delta_low", |arm| end(arm.delta.as_ref(), 0)),
    ("delta_high", |arm| end(arm.delta.as_ref(), 1)),
    ("p_value", |arm| full(arm.delta.as_ref()?.p_value)),
    ("p_holm", |arm| full(arm.delta.as_ref()?.p_holm)),
    ("effect_size", |arm| full(arm.delta.as_ref()?.effect_size)),
    ("corrected_effect_size", |arm| {
        full(arm.delta.as_ref()?.corrected_effect_size)
    }),
    ("seeds_needed", |arm| full(arm.delta.as_ref()?.seeds_needed)),
    ("seeds_needed_low", |arm| {
        full(Some(arm.delta.as_ref()?.seeds_needed_range?[0]))
    }),
    ("seeds_needed_high", |arm| {
        full(Some(arm.delta.as_ref()?.seeds_needed_range?[1]))
    }),
    ("verdict", |arm| full(arm.verdict)),
    ("parameters", |arm| full(arm.parameters)),
    ("extra_parameters", |arm| full(arm.extra_parameters)),
    ("flops_per_token", |arm| full(arm.flops_per_token)),
    ("extra_flops_fraction", |arm| full(arm.extra_flops_fraction)),
    ("convergence_factor", |arm| {
        full(Some(arm.convergence?.factor))
    }),
    ("convergence_factor_low", |arm| {
        full(Some(arm.convergence?.interval?[0]))
    }),
    ("convergence_factor_high", |arm| {
        full(Some(arm.convergence?.interval?[1]))
    }),
    ("convergence_seeds", |arm| {
        full(Some(arm.convergence?.reached))
    }),
    ("convergence_bounds", |arm| {
        full(Some(arm.convergence?.bounds))
    }),
];

/// Columns after them.
const TIMING: [Column; 7] = [
    ("timing_step_ms", |arm| full(arm.timing.step_ms)),
    ("timing_step_spread", |arm| full(arm.timing.step_spread)),
    ("timing_step_ratio_low", |arm| {
        full(Some(arm.timing.step_ratio?[0]))
    }),
    ("timing_step_ratio_high", |arm| {
        full(Some(arm.timing.step_ratio?[1]))
    }),
    ("timing_delta_at_equal_time", |arm| {
        full(Some(arm.timing.delta_at_equal_time.as_ref()?.mean))
    }),
    ("timing_delta_at_equal_time_low", |arm| {
        end(arm.timing.delta_at_equal_time.as_ref(), 0)
    }),
    ("timing_delta_at_equal_time_high", |arm| {
        end(arm.timing.delta_at_equal_time.as_ref(), 1)
    }),
];

impl Report<'_> {
    /// One row for each arm, numbers in full.
    pub fn csv(&self) -> String {
        let paper = match &self.sweep.subject.paper {
            Some(paper) => paper.columns.clone(),
            None => ["1", "2"].map(str::to_owned).into(),
        };
        let published = paper
            .iter()
            .map(|name| format!("paper_delta_{}", name.to_lowercase()));
        let names = |columns: &[Column]| {
            columns
                .iter()
                .map(|(name, _)| name.to_string())
                .collect::<Vec<_>>()
        };
        let names = [names(&RESULTS), published.collect(), names(&TIMING)].concat();
        let mut table = Table::new(names.iter().map(|name| (&**name, Align::Right)));
        for arm in &self.results.arms {
            let published = |column| full(arm.paper_delta.as_ref()?.get(column));
            let results = RESULTS.iter().map(|(_, value)| value(arm));
            let timing = TIMING.iter().map(|(_, value)| value(arm));
            let row = results.chain((0..paper.len()).map(published)).chain(timing);
            table.push(row.map(|value| number(value, |value| value)));
        }
        table.to_csv()
    }
}

fn full<T: ToString>(value: Option<T>) -> Option<String> {
    Some(value?.to_string())
}

/// An end of the interval of a difference.
fn end(delta: Option<&Delta>, which: usize) -> Option<String> {
    full(Some(delta?.interval?[which]))
}
