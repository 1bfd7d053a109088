//! What the finished runs of a sweep say, computed from their files alone.

mod arm;
mod compared;
mod delta;
mod horizons;
mod probe;
mod run;
mod stability;
mod statement;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
pub(super) use probe::tests as probe_tests;

pub use arm::{ArmResult, ArmTiming, EqualCost};
use arm::{any_diverged, slope};
pub(super) use compared::Compared;
pub use delta::Delta;
pub use horizons::{Horizons, Interval, OverHorizons};
pub use probe::ProbeResult;
pub use run::{CurvePoint, RunResult, RunTiming};
pub use stability::{Incidence, Stability};
pub use statement::{Outcome, Statement};

use super::{Arm, Calibration, Cost, MatchedArm, Matching, Recorded};
use crate::{
    measure::Measure,
    run_dir::{RunError, RunId},
};
use figures::stats::{
    ClusterError, Estimate, MIN_SEEDS, Verdict, holm, minimum_detectable_effect, pooled_sd,
    verdicts,
};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};

/// All arms of a sweep with what has finished.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// The unit of the losses.
    pub loss_unit: &'static str,
    /// Seeds, ascending.
    pub seeds: Vec<u64>,
    /// The cost that arms have in common with their baselines, if they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_by: Option<Cost>,
    /// The arms in the order of the ablation.
    pub arms: Vec<ArmResult>,
    /// The standard deviation of paired differences, pooled over arms.
    pub sd_of_differences: Option<f64>,
    /// The smallest difference that this many seeds show four times in five.
    pub minimum_detectable_effect: Option<f64>,
    /// What lengths of training say together, in a sweep over several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizons: Option<Horizons>,
    /// Statements that were written down, with what the runs say of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Statement>,
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
        let path = root.join(sweep);
        let calibration = Calibration::read(&path);
        let results = Self::of(arms, seeds, runs, measure, calibration);
        Ok(results.with_matching(Matching::read(&path)?))
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
            let both = [(1.0, &runs[index][..]), (-1.0, &runs[baseline])];
            Some((baseline, Compared::of_losses(&both)))
        };
        let compared: Vec<_> = arms.iter().enumerate().map(beside).collect();
        let comparisons = || compared.iter().flatten().map(|(_, compared)| compared);
        let of_arms = compared.iter().zip(&runs).filter_map(|(compared, own)| {
            let (baseline, compared) = compared.as_ref()?;
            Some((
                compared,
                any_diverged(own) || any_diverged(&runs[*baseline]),
            ))
        });
        let mut judged = judged(of_arms).into_iter();
        let mut stability = Stability::all(arms, &runs).into_iter();
        let result = |(index, arm): (usize, &Arm)| {
            let mut result = ArmResult::alone(arm, runs[index].clone(), measure);
            result.timing = ArmTiming::of(&arm.name, &runs[index], calibration.as_ref());
            result.stability = stability.next().flatten();
            if let Some((baseline, compared)) = &compared[index] {
                let (verdict, p_holm) = judged.next().expect("one for each");
                result.verdict = verdict;
                result.unpaired_seeds = compared.differences.unpaired.clone();
                result.delta = Delta::of(compared, p_holm);
                if verdict.is_none() {
                    result
                        .delta
                        .iter_mut()
                        .for_each(|delta| delta.p_value = None);
                }
                result.compare(&runs[*baseline]);
                let times = calibration.as_ref();
                let ratio = times.and_then(|times| times.ratio(&arm.name, &arms[*baseline].name));
                result.timing.step_ratio = ratio.and_then(|ratio| ratio.interval);
            }
            result
        };
        let mut results: Vec<ArmResult> = arms.iter().enumerate().map(result).collect();
        ProbeResult::add_to(&mut results);
        let differences = || comparisons().map(|compared| &compared.differences.values[..]);
        let sd_of_differences = pooled_sd(differences());
        let pairs = differences().map(<[f64]>::len).max();
        let text = usual_text_error(comparisons());
        Self {
            loss_unit: measure.unit(),
            seeds: seeds.to_vec(),
            matched_by: None,
            arms: results,
            sd_of_differences,
            minimum_detectable_effect: sd_of_differences
                .zip(pairs)
                .and_then(|(sd, n)| minimum_detectable_effect(sd, n, text.as_ref())),
            horizons: None,
            statements: Vec::new(),
            calibration,
        }
    }

    /// The results of arms with these steps.
    pub fn with_matching(mut self, matching: Option<Matching>) -> Self {
        let Some(matching) = matching else {
            return self;
        };
        self.matched_by = Some(matching.by);
        let of_name = |arm: &ArmResult| (arm.name.clone(), slope(&arm.runs));
        let slopes: BTreeMap<String, Option<f64>> = self.arms.iter().map(of_name).collect();
        for arm in &mut self.arms {
            let same = |one: &&MatchedArm| Some(&one.baseline) == arm.baseline.as_ref();
            if let Some(matched) = matching.arms.get(&arm.name).filter(same) {
                let slope = slopes.get(&matched.baseline).copied().flatten();
                arm.match_costs(matched, slope);
            }
        }
        self
    }

    /// The results of these arms with what lengths of training say together.
    pub fn with_horizons(mut self, arms: &[Arm]) -> Self {
        let runs: Vec<&[RunResult]> = self.arms.iter().map(|arm| &arm.runs[..]).collect();
        self.horizons = Horizons::of(arms, &runs);
        self
    }

    /// The results with what they say of these contrasts.
    pub fn with_statements(mut self, contrasts: &[Recorded]) -> Self {
        self.statements = Statement::all(contrasts, &self.arms);
        self
    }

    /// All runs that have ended, arm by arm.
    pub fn runs(&self) -> impl Iterator<Item = &RunResult> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }
}

/// Verdict and corrected p value of each comparison; Holm's correction is over all of them with
/// enough seeds. `true` beside a comparison says that one of its arms diverged in some seed, which
/// is not better because its other seeds are: it has no verdict, and counts with p = 1.
fn judged<'c>(
    comparisons: impl Iterator<Item = (&'c Compared, bool)>,
) -> Vec<(Option<Verdict>, Option<f64>)> {
    let (compared, diverged): (Vec<&Compared>, Vec<bool>) = comparisons.unzip();
    let estimate = |(compared, diverged): (&&Compared, &bool)| {
        let mut estimate = compared.estimate()?;
        if *diverged {
            estimate.p_value = 1.0;
        }
        Some(estimate)
    };
    let estimates: Vec<Option<Estimate>> = compared.iter().zip(&diverged).map(estimate).collect();
    let enough = |e: &&Estimate| e.n >= MIN_SEEDS;
    let tested = estimates.iter().flatten().filter(enough);
    let p_values: Vec<f64> = tested.map(|e| e.p_value).collect();
    let mut corrected = holm(&p_values).into_iter();
    let said = verdicts(&estimates).into_iter().zip(&estimates);
    let said = said.map(|(verdict, estimate)| {
        let tested = estimate.as_ref().filter(enough);
        (verdict, tested.and_then(|_| corrected.next()))
    });
    let withheld = said.zip(diverged).map(|((verdict, p_holm), diverged)| {
        let said = (!diverged).then_some((verdict, p_holm));
        (said.map(|said| said.0), said.and_then(|said| said.1))
    });
    withheld.collect()
}

/// The error over the text that comparisons have in the square mean; `None` unless all know theirs.
fn usual_text_error<'c>(comparisons: impl Iterator<Item = &'c Compared>) -> Option<ClusterError> {
    let known = comparisons.filter(|compared| compared.of_seeds.is_some());
    let errors: Vec<ClusterError> = known.map(|compared| compared.text).collect::<Option<_>>()?;
    let squares: f64 = errors.iter().map(|error| error.se * error.se).sum();
    let fewest = errors.iter().min_by_key(|error| error.clusters)?;
    Some(ClusterError {
        se: (squares / errors.len() as f64).sqrt(),
        ..*fewest
    })
}
