//! What the finished runs of a sweep say, computed from their files alone.

use super::{Arm, RouterMeans};
use crate::{
    measure::Measure,
    run_dir::{MetricsRecord, RunError, RunId, Status, Summary, read_metrics, read_summary},
    stats::{
        Convergence, Differences, Estimate, MIN_SEEDS, Verdict, convergence_factor, holm, mean,
        minimum_detectable_effect, pair_by_seed, pooled_sd, quantile, sd, seeds_needed, spikes,
        verdicts,
    },
};
use serde::{Serialize, Serializer};
use std::path::Path;

/// The share of steps that are below [`RunTiming::fast_step_ms`].
const FAST_STEPS: f64 = 0.25;

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
}

/// One arm.
#[derive(Debug, Clone, Serialize)]
pub struct ArmResult {
    /// Its name in paths.
    pub name: String,
    /// Its name in tables.
    pub label: String,
    /// The arm it is compared with.
    pub baseline: Option<String>,
    /// Trained parameters.
    pub parameters: Option<u64>,
    /// Trained parameters beyond those of the baseline.
    pub extra_parameters: Option<i64>,
    /// The same as a fraction of the baseline's.
    pub extra_parameters_fraction: Option<f64>,
    /// Operations of the forward per token.
    pub flops_per_token: Option<u64>,
    /// Operations beyond those of the baseline, as a fraction.
    pub extra_flops_fraction: Option<f64>,
    /// Mean final validation loss over the seeds that ended well, in the unit of
    /// [`Results::loss_unit`].
    pub val_loss: Option<f64>,
    /// The same in bits per byte, if it is of bytes.
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
    /// What its routers do, if it has mixtures of experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routers: Option<RouterMeans>,
    /// Seeds that have ended in this arm or its baseline but not well in both.
    pub unpaired_seeds: Vec<u64>,
    /// What may be said.
    #[serde(serialize_with = "as_text")]
    pub verdict: Option<Verdict>,
    /// Tokens that the baseline took over tokens that the arm takes to the baseline's final
    /// loss.
    pub convergence: Option<Convergence>,
    /// Spikes of the training loss in all of its runs.
    pub spikes: usize,
    /// Runs that diverged.
    pub diverged_runs: usize,
    /// The paper's differences to its baseline, one for each column of its table.
    pub paper_delta: Option<[f64; 2]>,
    /// Everything that depends on the speed of the machine.
    pub timing: ArmTiming,
    /// Its runs that have ended.
    pub runs: Vec<RunResult>,
}

/// What an arm takes on this machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ArmTiming {
    /// A step when nothing else runs on the machine: of every run the wall time that a quarter of
    /// its recorded steps stay below, and the lowest of these over seeds. Other work on the
    /// machine only ever adds to a step, so this moves far less with it than a median.
    pub step_ms: Option<f64>,
    /// The difference to the baseline's final loss, paired by seed, when the arm has taken as
    /// many steps as fit into the time of the baseline, by `step_ms` of both. An arm that is
    /// slower is read before its learning rate has come down.
    pub delta_at_equal_time: Option<Delta>,
}

/// One run that has ended.
#[derive(Debug, Clone, Serialize)]
pub struct RunResult {
    /// Name of the arm.
    pub arm: String,
    /// Seed.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// The step at which the loss stopped being finite.
    pub diverged_at_step: Option<u64>,
    /// Steps done.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Final validation loss.
    pub val_loss: Option<f64>,
    /// Final share of images classified correctly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Lowest validation loss.
    pub best_val_loss: Option<f64>,
    /// Last training loss.
    pub train_loss: Option<f64>,
    /// Spikes of its training loss.
    pub spikes: usize,
    /// Everything that depends on the speed of the machine.
    pub timing: RunTiming,
    /// The whole summary and the validation curve `(step, tokens, loss)`.
    #[serde(skip)]
    source: Source,
}

/// What a run took.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RunTiming {
    /// The wall time that a quarter of the recorded steps stay below.
    pub fast_step_ms: f64,
    /// Median step.
    pub median_step_ms: f64,
    /// Wall time in all.
    pub wall_seconds: f64,
}

#[derive(Debug, Clone)]
struct Source {
    summary: Summary,
    curve: Vec<CurvePoint>,
}

/// A point of a validation curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Validation loss.
    pub loss: f64,
}

/// A mean difference to the baseline over paired seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// The same with Holm's correction over the arms of the table, from three seeds on.
    pub p_holm: Option<f64>,
    /// Mean over standard deviation, `d_z`.
    pub effect_size: Option<f64>,
    /// The same without the bias of a small sample (Hedges), from three seeds on.
    pub corrected_effect_size: Option<f64>,
    /// Seeds that would show a difference of this size four times in five.
    pub seeds_needed: Option<usize>,
}

fn as_text<S: Serializer>(verdict: &Option<Verdict>, s: S) -> Result<S::Ok, S::Error> {
    match verdict {
        Some(verdict) => s.collect_str(verdict),
        None => s.serialize_none(),
    }
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
        Ok(Self::of(arms, seeds, runs, measure))
    }

    /// The results of `arms` from their runs that have ended, arm by arm.
    pub fn of(arms: &[Arm], seeds: &[u64], runs: Vec<Vec<RunResult>>, measure: Measure) -> Self {
        let against: Vec<Option<usize>> = arms
            .iter()
            .map(|arm| {
                let name = arm.baseline.as_ref()?;
                arms.iter().position(|other| &other.name == name)
            })
            .collect();
        let differences: Vec<_> = against
            .iter()
            .zip(&runs)
            .map(|(&baseline, of_arm)| {
                baseline.map(|baseline| pair_by_seed(&losses(&runs[baseline]), &losses(of_arm)))
            })
            .collect();
        let estimates: Vec<Option<Estimate>> = differences
            .iter()
            .flatten()
            .map(|d| Estimate::of(&d.values))
            .collect();
        let mut said = verdicts(&estimates).into_iter();
        let enough = |e: &&Estimate| e.n >= MIN_SEEDS;
        let p_values: Vec<f64> = estimates
            .iter()
            .flatten()
            .filter(enough)
            .map(|e| e.p_value)
            .collect();
        let mut corrected = holm(&p_values).into_iter();
        let mut estimates = estimates.iter();
        let results = arms
            .iter()
            .enumerate()
            .map(|(index, arm)| {
                let mut result = ArmResult::alone(arm, runs[index].clone(), measure);
                if let (Some(baseline), Some(difference)) = (against[index], &differences[index]) {
                    let estimate = estimates.next().expect("one for each");
                    result.verdict = said.next();
                    result.unpaired_seeds = difference.unpaired.clone();
                    let p_holm = estimate
                        .as_ref()
                        .filter(enough)
                        .and_then(|_| corrected.next());
                    result.delta = Delta::of(difference, *estimate, p_holm);
                    result.compare(&runs[baseline]);
                }
                result
            })
            .collect();
        let sd_of_differences = pooled_sd(differences.iter().flatten().map(|d| &d.values[..]));
        let pairs = differences.iter().flatten().map(|d| d.values.len()).max();
        Self {
            loss_unit: measure.unit(),
            seeds: seeds.to_vec(),
            arms: results,
            sd_of_differences,
            minimum_detectable_effect: sd_of_differences
                .zip(pairs)
                .and_then(|(sd, n)| minimum_detectable_effect(sd, n)),
        }
    }

    /// All runs that have ended, arm by arm.
    pub fn runs(&self) -> impl Iterator<Item = &RunResult> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }
}

impl Delta {
    /// `None` without a difference. `estimate` is that of the same differences.
    fn of(
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
        })
    }
}

fn diverged(runs: &[RunResult]) -> impl Iterator<Item = &RunResult> {
    runs.iter().filter(|run| run.status == Status::Diverged)
}

/// See [`ArmTiming::step_ms`].
fn undisturbed_ms(runs: &[RunResult]) -> Option<f64> {
    let times = runs.iter().map(|run| run.timing.fast_step_ms);
    times.min_by(f64::total_cmp)
}

/// Seed and final loss; infinite where a run diverged.
fn losses(runs: &[RunResult]) -> Vec<(u64, f64)> {
    runs.iter()
        .map(|run| (run.seed, run.val_loss.unwrap_or(f64::INFINITY)))
        .collect()
}

/// Seed and accuracy of the runs that have one.
fn accuracies(runs: &[RunResult]) -> Vec<(u64, f64)> {
    let known = |run: &RunResult| Some((run.seed, run.accuracy?));
    runs.iter().filter_map(known).collect()
}

impl RunResult {
    /// The result of a run; `None` if it has not ended.
    ///
    /// # Errors
    /// Files that cannot be read or are damaged.
    pub fn read(id: RunId) -> Result<Option<Self>, RunError> {
        let Some(summary) = read_summary(&id.path)?.filter(|s| s.status.is_final()) else {
            return Ok(None);
        };
        let metrics = read_metrics(&id.path)?;
        Ok(Some(Self::new(id, summary, &metrics)))
    }

    fn new(id: RunId, summary: Summary, metrics: &[MetricsRecord]) -> Self {
        let ended_well = summary.status == Status::Ok;
        let training: Vec<f64> = metrics.iter().map(|record| record.train_loss).collect();
        let times = metrics.iter().map(|record| record.ms).collect();
        Self {
            arm: id.arm,
            seed: id.seed,
            status: summary.status,
            diverged_at_step: summary.diverged_at_step,
            steps: summary.steps,
            tokens: summary.tokens,
            val_loss: summary.final_val_loss.filter(|_| ended_well),
            accuracy: summary.final_val_accuracy.filter(|_| ended_well),
            best_val_loss: summary.best_val_loss,
            train_loss: summary.final_train_loss,
            spikes: spikes(&training),
            timing: RunTiming {
                fast_step_ms: quantile(times, FAST_STEPS).unwrap_or(summary.median_step_ms),
                median_step_ms: summary.median_step_ms,
                wall_seconds: summary.wall_seconds,
            },
            source: Source {
                curve: metrics
                    .iter()
                    .filter_map(|record| {
                        Some(CurvePoint {
                            step: record.step,
                            tokens: record.tokens,
                            loss: record.val_loss?,
                        })
                    })
                    .collect(),
                summary,
            },
        }
    }

    /// Its summary.
    pub fn summary(&self) -> &Summary {
        &self.source.summary
    }

    /// Its validation losses.
    pub fn curve(&self) -> &[CurvePoint] {
        &self.source.curve
    }

    fn loss_by_tokens(&self) -> Vec<(u64, f64)> {
        let points = self.source.curve.iter();
        points.map(|point| (point.tokens, point.loss)).collect()
    }

    /// The validation loss at a step, interpolated; `None` before the first validation.
    fn loss_at(&self, step: f64) -> Option<f64> {
        let curve = &self.source.curve;
        let after = curve.partition_point(|point| (point.step as f64) < step);
        match (after.checked_sub(1).map(|i| curve[i]), curve.get(after)) {
            (_, Some(next)) if next.step as f64 == step => Some(next.loss),
            (Some(last), Some(next)) => {
                let share = (step - last.step as f64) / (next.step - last.step) as f64;
                Some(last.loss + share * (next.loss - last.loss))
            }
            (Some(last), None) => Some(last.loss),
            (None, _) => None,
        }
    }
}

impl ArmResult {
    fn alone(arm: &Arm, runs: Vec<RunResult>, measure: Measure) -> Self {
        let losses: Vec<f64> = runs.iter().filter_map(|run| run.val_loss).collect();
        let val_loss = (!losses.is_empty()).then(|| mean(&losses));
        let accuracies: Vec<f64> = runs.iter().filter_map(|run| run.accuracy).collect();
        let summary = runs.first().map(RunResult::summary);
        Self {
            name: arm.name.clone(),
            label: arm.label.clone(),
            baseline: arm.baseline.clone(),
            parameters: summary.map(|s| s.parameters),
            extra_parameters: None,
            extra_parameters_fraction: None,
            flops_per_token: summary.map(|s| s.flops_per_token),
            extra_flops_fraction: None,
            val_loss,
            bits_per_byte: val_loss.and_then(|loss| measure.bits_per_byte(loss)),
            accuracy: (!accuracies.is_empty()).then(|| mean(&accuracies)),
            sd_over_seeds: sd(&losses),
            delta: None,
            accuracy_delta: None,
            routers: RouterMeans::of(runs.iter().map(|run| &run.summary().routers[..])),
            unpaired_seeds: Vec::new(),
            verdict: None,
            convergence: None,
            spikes: runs.iter().map(|run| run.spikes).sum(),
            diverged_runs: diverged(&runs).count(),
            paper_delta: arm.paper.map(|row| row.deltas),
            timing: ArmTiming {
                step_ms: undisturbed_ms(&runs),
                delta_at_equal_time: None,
            },
            runs,
        }
    }

    /// Adds what needs the baseline beside the difference itself.
    fn compare(&mut self, baseline: &[RunResult]) {
        let Some(reference) = baseline.first().map(RunResult::summary) else {
            return;
        };
        if let (Some(parameters), Some(flops)) = (self.parameters, self.flops_per_token) {
            let extra = parameters as i64 - reference.parameters as i64;
            self.extra_parameters = Some(extra);
            self.extra_parameters_fraction = Some(extra as f64 / reference.parameters as f64);
            let base = reference.flops_per_token as f64;
            self.extra_flops_fraction = Some(flops as f64 / base - 1.0);
        }
        let by_accuracy = pair_by_seed(&accuracies(baseline), &accuracies(&self.runs));
        let estimate = Estimate::of(&by_accuracy.values);
        self.accuracy_delta = Delta::of(&by_accuracy, estimate, None);
        let pairs: Vec<(&RunResult, &RunResult)> = baseline
            .iter()
            .filter(|base| base.val_loss.is_some())
            .filter_map(|base| {
                let same = |run: &&RunResult| run.seed == base.seed && run.val_loss.is_some();
                Some((base, self.runs.iter().find(same)?))
            })
            .collect();
        let factors: Vec<Option<f64>> = pairs
            .iter()
            .map(|(base, run)| convergence_factor(&base.loss_by_tokens(), &run.loss_by_tokens()))
            .collect();
        self.convergence = Convergence::of(&factors);
        if let (Some(baseline_ms), Some(ms)) = (undisturbed_ms(baseline), self.timing.step_ms) {
            let then: Vec<(u64, f64)> = pairs
                .iter()
                .filter_map(|(base, run)| {
                    let step = base.steps as f64 * baseline_ms / ms;
                    Some((run.seed, run.loss_at(step)?))
                })
                .collect();
            let differences = pair_by_seed(&losses(baseline), &then);
            let estimate = Estimate::of(&differences.values);
            self.timing.delta_at_equal_time = Delta::of(&differences, estimate, None);
        }
    }

    /// Runs that diverged.
    pub fn diverged(&self) -> impl Iterator<Item = &RunResult> {
        diverged(&self.runs)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn run(arm: &str, seed: u64, loss: Option<f64>, ms: f64) -> RunResult {
        let record = |step, val_loss| MetricsRecord {
            step,
            tokens: step * 10,
            train_loss: 3.0,
            val_loss,
            val_accuracy: None,
            val_loss_by_noise_level: None,
            lr: 1e-3,
            grad_norm: 1.0,
            ms,
        };
        let metrics = [
            record(50, loss.map(|loss| loss + 1.0)),
            record(75, None),
            record(100, loss),
        ];
        let id = RunId {
            arm: arm.to_owned(),
            seed,
            path: Default::default(),
        };
        let summary = Summary {
            status: if loss.is_some() {
                Status::Ok
            } else {
                Status::Diverged
            },
            diverged_at_step: loss.is_none().then_some(13),
            steps: 100,
            tokens: 1000,
            final_train_loss: loss,
            final_val_loss: loss,
            best_val_loss: loss,
            final_val_accuracy: None,
            final_val_loss_by_noise_level: None,
            routers: Vec::new(),
            parameters: if arm == "pre-norm" { 1000 } else { 1100 },
            flops_per_token: if arm == "pre-norm" { 2000 } else { 2100 },
            wall_seconds: ms / 10.0,
            median_step_ms: ms,
            backend: "cpu".into(),
            corpus: "text".into(),
            corpus_fingerprint: "00".into(),
        };
        RunResult::new(id, summary, &metrics)
    }

    pub fn results(losses: &[(&str, &[Option<f64>])]) -> Results {
        let seeds: Vec<u64> = (0..losses[0].1.len() as u64).collect();
        let arms: Vec<Arm> = losses
            .iter()
            .map(|(name, _)| match *name {
                "pre-norm" => Arm::pre_norm(),
                name => Arm::of(name, name, &Default::default()),
            })
            .collect();
        let runs = losses
            .iter()
            .map(|(name, losses)| {
                let ms = if *name == "pre-norm" { 10.0 } else { 12.5 };
                let runs = losses.iter().zip(&seeds);
                runs.map(|(&loss, &seed)| run(name, seed, loss, ms))
                    .collect()
            })
            .collect();
        Results::of(&arms, &seeds, runs, Measure::Bytes)
    }

    const BASE: (&str, &[Option<f64>]) = ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1)]);

    #[test]
    fn differences_are_paired_so_a_small_effect_shows_in_a_large_spread() {
        let results = results(&[BASE, ("arm", &[Some(1.951), Some(2.149), Some(2.050)])]);
        let arm = &results.arms[1];
        let delta = arm.delta.as_ref().expect("three pairs");
        assert!((delta.mean + 0.05).abs() < 1e-9, "{delta:?}");
        let [low, high] = delta.interval.expect("three pairs");
        assert!(low < -0.05 && -0.05 < high && high < 0.0);
        assert_eq!(arm.verdict, Some(Verdict::Better));
        assert!(arm.sd_over_seeds.expect("three") > 0.09);
    }

    #[test]
    fn nothing_is_better_while_its_interval_holds_zero() {
        let results = results(&[BASE, ("arm", &[Some(1.8), Some(2.25), Some(2.1)])]);
        assert_eq!(results.arms[1].verdict, Some(Verdict::NoDifferenceShown));
        assert!(results.minimum_detectable_effect.expect("three pairs") > 0.05);
    }

    #[test]
    fn one_seed_has_a_difference_but_no_interval() {
        let results = results(&[("pre-norm", &[Some(2.0)]), ("arm", &[Some(1.9)])]);
        let delta = results.arms[1].delta.as_ref().expect("a pair");
        assert!((delta.mean + 0.1).abs() < 1e-9 && delta.interval.is_none());
        assert_eq!(results.arms[1].verdict, Some(Verdict::TooFewSeeds));
    }

    #[test]
    fn a_diverged_run_is_counted_and_named_not_averaged() {
        let results = results(&[BASE, ("arm", &[Some(1.9), None, Some(2.0)])]);
        let arm = &results.arms[1];
        assert_eq!(arm.unpaired_seeds, [1]);
        assert_eq!(arm.diverged().count(), 1);
        assert_eq!(arm.delta.as_ref().map(|d| d.seeds.len()), Some(2));
        assert_eq!(arm.val_loss, Some(1.95));
    }

    #[test]
    fn costs_are_fractions_of_the_baseline() {
        let results = results(&[BASE, ("arm", &[Some(1.9), Some(2.1), Some(2.0)])]);
        let arm = &results.arms[1];
        assert_eq!(arm.extra_parameters, Some(100));
        assert_eq!(arm.extra_parameters_fraction, Some(0.1));
        assert!((arm.extra_flops_fraction.expect("finished") - 0.05).abs() < 1e-12);
    }

    /// At 12.5 ms against 10 ms a step, the arm has done 80 of its 100 steps: at 3/5 of the way
    /// from `loss + 1` at 50 to `loss` at 100.
    #[test]
    fn at_equal_time_a_slower_arm_is_read_earlier() {
        let results = results(&[BASE, ("arm", &[Some(1.9), Some(2.1), Some(2.0)])]);
        let timing = &results.arms[1].timing;
        let delta = timing.delta_at_equal_time.as_ref().expect("curves");
        assert!((delta.mean - (0.4 - 0.1)).abs() < 1e-9);
        assert_eq!(delta.seeds, [0, 1, 2]);
        assert!(delta.interval.is_some());
    }

    /// One of three runs had the machine for itself, for two of its steps at that.
    #[test]
    fn the_time_of_a_step_is_that_of_an_idle_machine() {
        let record = |ms| MetricsRecord {
            step: 1,
            tokens: 1,
            train_loss: 3.0,
            val_loss: None,
            val_accuracy: None,
            val_loss_by_noise_level: None,
            lr: 1e-3,
            grad_norm: 1.0,
            ms,
        };
        let timed = |seed: u64, times: [f64; 5]| {
            let one = run("arm", seed, Some(2.0), 10.0);
            let id = RunId {
                arm: "arm".into(),
                seed,
                path: Default::default(),
            };
            RunResult::new(id, one.summary().clone(), &times.map(record))
        };
        let runs = [
            timed(0, [20.0, 25.0, 24.0, 90.0, 22.0]),
            timed(1, [31.0, 10.0, 10.0, 35.0, 50.0]),
        ];
        assert_eq!(undisturbed_ms(&runs), Some(10.0));
        assert_eq!(undisturbed_ms(&[]), None);
    }
}
