//! An arm: what its runs say together and beside those of its baseline.

use super::{Compared, Delta, ProbeResult, RunResult, Stability};
use crate::{
    ablation::{Arm, Calibration, MatchedArm, RouterMeans},
    measure::Measure,
    run_dir::Status,
};
use figures::stats::{Convergence, Reading, Verdict, convergence_factor, mean, sd};
use serde::{Serialize, Serializer};
use std::f64::consts::LN_2;

/// One arm.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ArmResult {
    /// Name in paths.
    pub name: String,
    /// Name in tables.
    pub label: String,
    /// The arm it is compared with.
    pub baseline: Option<String>,
    /// Steps of a run, if one has ended well.
    pub steps: Option<u64>,
    /// Why the arm has these steps, if it has the cost of its baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<EqualCost>,
    /// Trained parameters.
    pub parameters: Option<u64>,
    /// Trained parameters beyond those of the baseline.
    pub extra_parameters: Option<i64>,
    /// Extra parameters as a fraction of the baseline's.
    pub extra_parameters_fraction: Option<f64>,
    /// Operations of the forward per token.
    pub flops_per_token: Option<u64>,
    /// Operations beyond those of the baseline, as a fraction.
    pub extra_flops_fraction: Option<f64>,
    /// Mean final validation loss over the seeds that ended well, in the unit of
    /// [`Results::loss_unit`](super::Results::loss_unit).
    pub val_loss: Option<f64>,
    /// Mean final validation loss in bits per byte, if it is of bytes.
    pub bits_per_byte: Option<f64>,
    /// Mean share of images classified correctly, if they are images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Standard deviation of the final validation loss over seeds.
    pub sd_over_seeds: Option<f64>,
    /// The difference to the baseline, paired by seed.
    pub delta: Option<Delta>,
    /// The difference in accuracy, paired by seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_delta: Option<Delta>,
    /// Results of the probes, if they were computed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeResult>,
    /// Statistics of the routers, if it has mixtures of experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routers: Option<RouterMeans>,
    /// Seeds that have ended in this arm or its baseline but not well in both.
    pub unpaired_seeds: Vec<u64>,
    /// Verdict on the difference; none of an arm that diverged in some seed.
    #[serde(serialize_with = "as_text")]
    pub verdict: Option<Verdict>,
    /// Tokens that the baseline took over tokens that the arm takes to the baseline's final
    /// loss.
    pub convergence: Option<Convergence>,
    /// Spikes of the training loss in all of its runs.
    pub spikes: usize,
    /// Runs that diverged.
    pub diverged_runs: usize,
    /// Runs that diverged or spiked beside those of the baseline, if any run of the sweep did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// The paper's differences to its baseline, one for each column of its table.
    pub paper_delta: Option<Vec<f64>>,
    /// Everything that depends on the speed of the machine.
    pub timing: ArmTiming,
    /// Runs that have ended.
    pub runs: Vec<RunResult>,
}

/// Times of an arm on this machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ArmTiming {
    /// A step: the median over the rounds of the sweep's [`Calibration`]; without one, of every run
    /// the wall time that a quarter of its recorded steps stay below, and the lowest of these over
    /// seeds.
    pub step_ms: Option<f64>,
    /// Spread of the rounds of the calibration: largest minus smallest, over the median.
    /// `None` if the times were not calibrated.
    pub step_spread: Option<f64>,
    /// Ends of the 95 % interval of its step time over that of the baseline, if calibrated.
    pub step_ratio: Option<[f64; 2]>,
}

/// Steps of an arm that cost what those of its baseline do.
#[derive(Debug, Clone, Serialize)]
pub struct EqualCost {
    /// Steps of both, and the ratio of their costs.
    #[serde(flatten)]
    pub arm: MatchedArm,
    /// Half of the interval of that ratio in loss: what as many steps more or fewer are worth to the
    /// baseline, at most about.
    pub error_in_loss: Option<f64>,
}

impl ArmTiming {
    /// The times of an arm by itself.
    pub(super) fn of(arm: &str, runs: &[RunResult], calibration: Option<&Calibration>) -> Self {
        let calibrated = calibration.and_then(|times| times.step_ms(arm));
        Self {
            step_ms: calibrated.or_else(|| undisturbed_ms(runs)),
            step_spread: calibration.and_then(|times| times.spread(arm)),
            ..Self::default()
        }
    }
}

pub(super) fn as_text<S: Serializer>(verdict: &Option<Verdict>, s: S) -> Result<S::Ok, S::Error> {
    match verdict {
        Some(verdict) => s.collect_str(verdict),
        None => s.serialize_none(),
    }
}

impl ArmResult {
    pub(super) fn alone(arm: &Arm, runs: Vec<RunResult>, measure: Measure) -> Self {
        let losses: Vec<f64> = runs.iter().filter_map(|run| run.val_loss).collect();
        let val_loss = (!losses.is_empty()).then(|| mean(&losses));
        let accuracies: Vec<f64> = runs.iter().filter_map(|run| run.accuracy).collect();
        let summary = runs.first().map(RunResult::summary);
        Self {
            name: arm.name.clone(),
            label: arm.label.clone(),
            baseline: arm.baseline.clone(),
            steps: runs
                .iter()
                .find(|run| run.val_loss.is_some())
                .map(|run| run.steps),
            parameters: summary.map(|s| s.parameters),
            flops_per_token: summary.map(|s| s.flops_per_token),
            val_loss,
            bits_per_byte: val_loss.and_then(|loss| measure.bits_per_byte(loss)),
            accuracy: (!accuracies.is_empty()).then(|| mean(&accuracies)),
            sd_over_seeds: sd(&losses),
            routers: RouterMeans::of(runs.iter().map(|run| &run.summary().routers[..])),
            spikes: runs.iter().map(|run| run.spikes).sum(),
            diverged_runs: diverged(&runs).count(),
            paper_delta: arm.paper.as_ref().map(|row| row.deltas.clone()),
            runs,
            ..Self::default()
        }
    }

    /// Adds what needs the baseline beside the difference itself.
    pub(super) fn compare(&mut self, baseline: &[RunResult]) {
        let Some(reference) = baseline.first().map(RunResult::summary) else {
            return;
        };
        if let (Some(parameters), Some(flops)) = (self.parameters, self.flops_per_token) {
            let extra = i128::from(parameters) - i128::from(reference.parameters);
            self.extra_parameters = extra.try_into().ok();
            self.extra_parameters_fraction = Some(extra as f64 / reference.parameters as f64);
            let base = reference.flops_per_token as f64;
            self.extra_flops_fraction = Some(flops as f64 / base - 1.0);
        }
        let by_accuracy = Compared::of_accuracies(&[(1.0, &self.runs), (-1.0, baseline)]);
        self.accuracy_delta = Delta::of(&by_accuracy, None);
        let factors: Vec<Option<Reading>> = pairs(baseline, &self.runs)
            .map(|(base, run)| convergence_factor(&base.loss_by_tokens(), &run.loss_by_tokens()))
            .collect();
        self.convergence = Convergence::of(&factors);
    }

    /// Adds why the arm has its steps, with what the error of the ratio is worth: the baseline's
    /// [`slope`] times half of the interval of the logarithm of the ratio.
    pub(super) fn match_costs(&mut self, matched: &MatchedArm, slope: Option<f64>) {
        let half = |[low, high]: [f64; 2]| (high / low).ln() / 2.0;
        let half = matched.cost.interval.map(half);
        self.matched = Some(EqualCost {
            arm: matched.clone(),
            error_in_loss: slope.zip(half).map(|(slope, half)| slope * half),
        });
    }

    /// The results of a probe.
    pub fn probe(&self, name: &str) -> Option<&ProbeResult> {
        self.probes.iter().find(|probe| probe.name == name)
    }

    /// Runs that diverged.
    pub fn diverged(&self) -> impl Iterator<Item = &RunResult> {
        diverged(&self.runs)
    }
}

/// Returns whether one of these runs diverged.
pub(super) fn any_diverged(runs: &[RunResult]) -> bool {
    diverged(runs).next().is_some()
}

fn diverged(runs: &[RunResult]) -> impl Iterator<Item = &RunResult> {
    runs.iter().filter(|run| run.status == Status::Diverged)
}

/// Runs of one seed that have both ended well.
fn pairs<'r>(
    baseline: &'r [RunResult],
    arm: &'r [RunResult],
) -> impl Iterator<Item = (&'r RunResult, &'r RunResult)> {
    let ended = baseline.iter().filter(|base| base.val_loss.is_some());
    ended.filter_map(|base| {
        let same = |run: &&RunResult| run.seed == base.seed && run.val_loss.is_some();
        Some((base, arm.iter().find(same)?))
    })
}

/// Fall of the validation loss over the second half of the runs, for each factor e of steps. In
/// mid-run the learning rate is still high: runs of half the length would end lower, and the slope
/// is rather too steep.
pub(super) fn slope(runs: &[RunResult]) -> Option<f64> {
    let fall = |run: &RunResult| Some(run.loss_at(run.steps as f64 / 2.0)? - run.val_loss?);
    let falls: Vec<f64> = runs.iter().filter_map(fall).collect();
    (!falls.is_empty()).then(|| mean(&falls).abs() / LN_2)
}

/// The time of a step by the runs themselves. Other work on the machine only ever adds to a step, so
/// the quicker ones move far less with it than a median.
pub(super) fn undisturbed_ms(runs: &[RunResult]) -> Option<f64> {
    let times = runs.iter().map(|run| run.timing.fast_step_ms);
    times.min_by(f64::total_cmp)
}
