//! What the finished runs of a sweep say, computed from their files alone.

mod arm;
mod run;
#[cfg(test)]
pub(super) mod tests;

pub use arm::{ArmResult, ArmTiming};
pub use run::{CurvePoint, RunResult, RunTiming};

use super::{Arm, Calibration};
use crate::{
    measure::Measure,
    run_dir::{RunError, RunId},
};
use figures::stats::{
    Differences, Estimate, MIN_SEEDS, holm, mean, minimum_detectable_effect, pair_by_seed,
    pooled_sd, seeds_needed, seeds_needed_range, verdicts,
};
use run::losses;
use serde::Serialize;
use std::path::Path;

/// All arms of a sweep with what has finished.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// The unit of the losses.
    pub loss_unit: &'static str,
    /// Seeds, ascending.
    pub seeds: Vec<u64>,
    /// The arms in the order of the ablation.
    pub arms: Vec<ArmResult>,
    /// The standard deviation of paired differences, pooled over arms.
    pub sd_of_differences: Option<f64>,
    /// The smallest difference that this many seeds show four times in five.
    pub minimum_detectable_effect: Option<f64>,
    /// The step times of the arms, if they were measured in turn.
    #[serde(rename = "timing")]
    pub calibration: Option<Calibration>,
}

impl Results {
    /// The results of `arms` in the sweep directory `<root>/<sweep>`, for these seeds.
    ///
    /// # Errors
    /// Files that cannot be read or are damaged.
    pub fn collect(
        root: &Path,
        sweep: &str,
        arms: &[Arm],
        seeds: &[u64],
        measure: Measure,
    ) -> Result<Self, RunError> {
        let mut runs = Vec::with_capacity(arms.len());
        for arm in arms {
            let mut of_arm = Vec::new();
            for &seed in seeds {
                let id = RunId::new(root, sweep, &arm.name, seed)?;
                of_arm.extend(RunResult::read(id)?);
            }
            runs.push(of_arm);
        }
        let calibration = Calibration::read(&root.join(sweep));
        Ok(Self::of(arms, seeds, runs, measure, calibration))
    }

    /// The results of `arms` from their runs that have ended, arm by arm, and from their step
    /// times.
    pub fn of(
        arms: &[Arm],
        seeds: &[u64],
        runs: Vec<Vec<RunResult>>,
        measure: Measure,
        calibration: Option<Calibration>,
    ) -> Self {
        let beside = |(index, arm): (usize, &Arm)| {
            let name = arm.baseline.as_ref()?;
            let baseline = arms.iter().position(|other| &other.name == name)?;
            let of_baseline = losses(&runs[baseline]);
            Some((baseline, pair_by_seed(&of_baseline, &losses(&runs[index]))))
        };
        let compared: Vec<_> = arms.iter().enumerate().map(beside).collect();
        let differences = || {
            compared
                .iter()
                .flatten()
                .map(|(_, differences)| differences)
        };
        let estimates: Vec<Option<Estimate>> =
            differences().map(|d| Estimate::of(&d.values)).collect();
        let mut said = verdicts(&estimates).into_iter();
        let enough = |e: &&Estimate| e.n >= MIN_SEEDS;
        let tested = estimates.iter().flatten().filter(enough);
        let p_values: Vec<f64> = tested.map(|e| e.p_value).collect();
        let mut corrected = holm(&p_values).into_iter();
        let mut estimates = estimates.iter();
        let result = |(index, arm): (usize, &Arm)| {
            let mut result = ArmResult::alone(arm, runs[index].clone(), measure);
            result.timing = ArmTiming::of(&arm.name, &runs[index], calibration.as_ref());
            if let Some((baseline, difference)) = &compared[index] {
                let estimate = estimates.next().expect("one for each");
                result.verdict = said.next();
                result.unpaired_seeds = difference.unpaired.clone();
                let tested = estimate.as_ref().filter(enough);
                let p_holm = tested.and_then(|_| corrected.next());
                result.delta = Delta::of(difference, *estimate, p_holm);
                result.compare(&runs[*baseline]);
                let baseline = (&*arms[*baseline].name, &runs[*baseline][..]);
                result.compare_times(baseline, calibration.as_ref());
            }
            result
        };
        let results = arms.iter().enumerate().map(result).collect();
        let sd_of_differences = pooled_sd(differences().map(|d| &d.values[..]));
        let pairs = differences().map(|d| d.values.len()).max();
        Self {
            loss_unit: measure.unit(),
            seeds: seeds.to_vec(),
            arms: results,
            sd_of_differences,
            minimum_detectable_effect: sd_of_differences
                .zip(pairs)
                .and_then(|(sd, n)| minimum_detectable_effect(sd, n)),
            calibration,
        }
    }

    /// All runs that have ended, arm by arm.
    pub fn runs(&self) -> impl Iterator<Item = &RunResult> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }
}

/// A mean difference to the baseline over paired seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Delta {
    /// Seeds that both arms have finished.
    pub seeds: Vec<u64>,
    /// Mean of `arm - baseline`: below zero, the arm has the lower loss.
    pub mean: f64,
    /// Ends of the 95 % interval, from two seeds on.
    pub interval: Option<[f64; 2]>,
    /// Standard deviation of the differences.
    pub sd: Option<f64>,
    /// p value of no difference.
    pub p_value: Option<f64>,
    /// p value with Holm's correction over the arms of the table, from three seeds on.
    pub p_holm: Option<f64>,
    /// Mean over standard deviation, `d_z`.
    pub effect_size: Option<f64>,
    /// Effect size without the bias of a small sample (Hedges), from three seeds on.
    pub corrected_effect_size: Option<f64>,
    /// Seeds that would show a difference of this size four times in five.
    pub seeds_needed: Option<usize>,
    /// Seeds needed at both ends of the 95 % interval of the standard deviation.
    pub seeds_needed_range: Option<[usize; 2]>,
}

impl Delta {
    /// The difference with `more` on either side of its interval for what is uncertain beside the
    /// seeds, independently of them: the half-widths add as squares. What was computed from the
    /// seeds alone is left out.
    pub(super) fn widened(self, more: f64) -> Self {
        let interval = self.interval.map(|[low, high]| {
            let half = f64::hypot((high - low) / 2.0, more);
            [self.mean - half, self.mean + half]
        });
        Self {
            seeds: self.seeds,
            mean: self.mean,
            interval,
            ..Self::default()
        }
    }

    /// `None` without a difference. `estimate` is that of the same differences.
    pub(in crate::ablation) fn of(
        differences: &Differences,
        estimate: Option<Estimate>,
        p_holm: Option<f64>,
    ) -> Option<Self> {
        (!differences.values.is_empty()).then(|| Self {
            seeds: differences.seeds.clone(),
            mean: mean(&differences.values),
            interval: estimate.map(|e| [e.low, e.high]),
            sd: estimate.map(|e| e.sd),
            p_value: estimate.map(|e| e.p_value),
            p_holm,
            effect_size: estimate.and_then(|e| e.effect_size()),
            corrected_effect_size: estimate.and_then(|e| e.corrected_effect_size()),
            seeds_needed: estimate.and_then(|e| seeds_needed(e.mean, e.sd)),
            seeds_needed_range: estimate.and_then(|e| seeds_needed_range(e.mean, e.sd, e.n)),
        })
    }
}
