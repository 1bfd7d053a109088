//! What stands above and below the tables.

use super::Report;
use crate::{
    ablation::{ArmResult, RouterMeans, calibration::is_notable},
    measure::Measure,
    paper::Quantity,
};
use std::collections::BTreeSet;

impl Report<'_> {
    /// Title and scales: ours and the paper's must not be mistaken for each other.
    pub fn heading(&self) -> Vec<String> {
        let subject = &self.sweep.subject;
        let measure = self.sweep.measure();
        let mut lines = vec![format!("{}: {}", subject.name, subject.title)];
        let baselines = self
            .results
            .arms
            .iter()
            .filter(|arm| arm.baseline.is_none());
        let parameters = range(baselines.filter_map(|arm| arm.parameters), scaled);
        let tokens = range(self.results.runs().map(|run| run.tokens), scaled);
        let models = self.sweep.configs.iter().map(|config| &config.model);
        let sublayers = range(models.map(|model| model.sublayers() as u64), |n| {
            n.to_string()
        });
        if let (Some(parameters), Some(tokens), Some(sublayers)) = (parameters, tokens, sublayers) {
            lines.push(format!(
                "OURS: {parameters} parameters, {sublayers} sublayers, {tokens} tokens ({}) of {}, {}; Δ is of validation loss in {}",
                measure.tokens(),
                self.data.name(),
                count(self.results.seeds.len(), "seed"),
                measure.unit(),
            ));
        }
        lines.extend(self.costs_heading());
        let quantities = [Quantity::Loss, Quantity::Accuracy, Quantity::Distance];
        for paper in quantities.into_iter().filter_map(|q| self.paper(q)) {
            lines.push(format!(
                "PAPER ({}): {}; Δ is of {}. Another scale altogether: compare signs and order, not sizes.",
                paper.place, paper.scale, paper.about
            ));
        }
        lines
    }

    /// Notes on how the numbers were made and what the marks mean.
    pub fn notes(&self) -> Vec<String> {
        let results = self.results;
        let validation = self.data.validation(&self.sweep.configs[0]);
        let validation = validation.map_or_else(String::new, |over| format!(", mean over {over}"));
        let mut lines = vec![format!(
            "val loss: after the last step{validation}, the same for all arms and seeds; then mean over seeds."
        )];
        lines.push(
            "Δ: arm minus baseline, paired by seed (same data order, same initial backbone), with the half-width of its 95 % interval. better / worse: the interval excludes zero, also after Holm's correction over the arms; not shown: it does not, which does not show equality; few seeds: fewer than 3 pairs, nothing is claimed."
                .to_owned(),
        );
        lines.push(self.text_errors());
        if let (Some(effect), Some(sd)) =
            (results.minimum_detectable_effect, results.sd_of_differences)
        {
            lines.push(format!(
                "Minimum detectable effect: {effect:.4} (power 0.8 by the noncentral t, before Holm; the paired differences have a standard deviation of {sd:.4}). Smaller effects need more seeds: fresh ones under another --name. Seeds that are added here (--seeds; --confirm of the second stage of lr-sweep) narrow the interval, but p does not count the second look, and statements keep theirs."
            ));
        }
        lines.extend(self.statement_note());
        lines.extend(self.probe_notes());
        lines.extend(self.stability_note());
        lines.extend(self.costs_note());
        lines.extend(self.horizons_note());
        lines.push(self.step_times());
        lines.push(
            "tokens factor: tokens of the baseline over tokens to the baseline's final loss, geometric mean over the seeds that get there; (k/n) if only k do, and then without interval; ≥: a lower bound, since an arm is below that loss at its first validation. extra params and FLOPs: trained, forward per token."
                .to_owned(),
        );
        lines.push(
            "effect size: mean difference over its standard deviation, corrected for few seeds (Hedges). seeds needed: to show a difference of this size four times in five, over the 95 % interval of the standard deviation; ≥: over a million at its upper end. spikes: training losses 8 robust standard deviations above the median of the 32 recorded before. docs/statistics.md has the formulas."
                .to_owned(),
        );
        if results.arms.iter().any(|arm| arm.routers.is_some()) {
            lines.push(RouterMeans::NOTE.to_owned());
        }
        for arm in &results.arms {
            for run in arm.diverged() {
                let step = run.diverged_at_step.unwrap_or(run.steps);
                lines.push(format!(
                    "{}: seed {} diverged at step {step}; it is in no mean.",
                    arm.label, run.seed
                ));
            }
        }
        let paper = self.sweep.subject.paper.as_ref();
        lines.extend(paper.and_then(|paper| paper.note.clone()));
        let backends: BTreeSet<&str> = results.runs().map(|run| &*run.backend).collect();
        if backends.iter().any(|&name| name != "cpu") {
            let names: Vec<&str> = backends.into_iter().collect();
            lines.push(format!(
                "products of matrices by: {}; another one has other last bits.",
                names.join("; ")
            ));
        }
        let fingerprint = self.data.fingerprint();
        let fingerprint = fingerprint.get(..16).unwrap_or(fingerprint);
        let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
        lines.push(format!(
            "data: {}, SHA-256 {fingerprint}{}; seeds: {}",
            self.data.name(),
            self.data
                .sizes()
                .map_or_else(String::new, |sizes| format!("; {sizes}")),
            seeds.join(" ")
        ));
        lines.push(format!("command: {}", self.command));
        lines.push(format!("files: {}", self.sweep.path().display()));
        lines
    }

    /// What the intervals know of the validation text.
    fn text_errors(&self) -> String {
        let compared = || self.results.arms.iter().filter(|arm| arm.delta.is_some());
        let clusters = |arm: &ArmResult| arm.delta.as_ref()?.text_clusters;
        let known = range(compared().filter_map(clusters).map(|n| n as u64), |n| {
            n.to_string()
        });
        let Some(known) = known else {
            return "Intervals are over SEEDS ALONE: these runs have no validation.csv with the losses of the single windows or images, so how a difference moves with the choice of them is not known (docs/statistics.md).".to_owned();
        };
        let what = match self.sweep.measure() {
            Measure::Images | Measure::Noise => "images",
            Measure::Bytes | Measure::Tokens => "files (of fewer than 10, blocks of windows)",
        };
        let mut text = format!(
            "over seeds: half-width of the interval over seeds alone. text s.e.: standard error over the choice of the validation text, of {known} {what}. The interval of Δ, the verdict and seeds needed have both in them. more text: no number of seeds would show a difference of this size."
        );
        let without: Vec<&str> = compared()
            .filter(|arm| clusters(arm).is_none())
            .map(|arm| &*arm.label)
            .collect();
        if !without.is_empty() {
            text.push_str(&format!(
                " OVER SEEDS ALONE, since not all of their runs have a validation.csv of the same windows: {}.",
                without.join(", ")
            ));
        }
        text
    }

    /// Where the step times are from, and what they are worth.
    fn step_times(&self) -> String {
        let Some(times) = &self.results.calibration else {
            return "step: NOT CALIBRATED. The wall time that a quarter of the recorded steps stay below, the lowest over seeds; other work on the machine, another for each arm, is in it. The same command with --time-steps measures all arms in turn.".to_owned();
        };
        let mut text = format!(
            "step: all arms timed in turn, one at a time on {} of {}, median over rounds; in brackets how far rounds differ, largest minus smallest over the median.",
            count(times.threads, "thread"),
            times.cpu
        );
        let labels = |which: &dyn Fn(&ArmResult) -> bool| -> String {
            let arms = self.results.arms.iter().filter(|arm| which(arm));
            arms.map(|arm| &*arm.label).collect::<Vec<_>>().join(", ")
        };
        let notable = labels(&|arm| arm.timing.step_spread.is_some_and(is_notable));
        if !notable.is_empty() {
            text.push_str(&format!(
                " THE MACHINE WAS NOT QUIET: rounds differ by more than a tenth for {notable} (marked !); --time-steps measures again."
            ));
        }
        let without = labels(&|arm| arm.timing.step_spread.is_none() && !arm.runs.is_empty());
        if !without.is_empty() {
            text.push_str(&format!(" Not among them, and not calibrated: {without}."));
        }
        text
    }
}

/// `0.43M` of 432 000.
fn scaled(value: u64) -> String {
    let value = value as f64;
    if value >= 1e9 {
        format!("{:.2}B", value / 1e9)
    } else if value >= 1e5 {
        format!("{:.2}M", value / 1e6)
    } else {
        format!("{:.1}k", value / 1e3)
    }
}

/// `4` or `4 to 32`.
fn range(values: impl Iterator<Item = u64>, shown: impl Fn(u64) -> String) -> Option<String> {
    let (low, high) = values.fold(None, |range: Option<(u64, u64)>, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })?;
    let (low, high) = (shown(low), shown(high));
    Some(if low == high {
        low
    } else {
        format!("{low} to {high}")
    })
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_arms_is_shown_as_a_range() {
        let shown = |values: &[u64]| range(values.iter().copied(), |n| n.to_string());
        assert_eq!(shown(&[8, 4, 32]).as_deref(), Some("4 to 32"));
        assert_eq!(shown(&[4, 4]).as_deref(), Some("4"));
        assert_eq!(shown(&[]), None);
    }
}
