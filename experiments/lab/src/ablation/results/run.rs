//! A run that has ended.

use crate::run_dir::{
    Ended, MetricsRecord, ProbeScores, RunError, RunId, Status, Summary, ValidationUnits,
};
use figures::stats::{quantile, spikes};
use serde::{Serialize, Serializer};

/// The share of steps that are below [`RunTiming::fast_step_ms`].
const FAST_STEPS: f64 = 0.25;

/// One run that has ended.
#[derive(Debug, Clone, Serialize)]
pub struct RunResult {
    /// Name of the arm.
    pub arm: String,
    /// Seed.
    pub seed: u64,
    /// State at the end.
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
    /// Who multiplied matrices.
    pub backend: String,
    /// Everything that depends on the speed of the machine.
    pub timing: RunTiming,
    #[serde(skip)]
    summary: Summary,
    #[serde(skip)]
    curve: Vec<CurvePoint>,
    #[serde(skip)]
    units: Option<ValidationUnits>,
    #[serde(serialize_with = "shares", skip_serializing_if = "Option::is_none")]
    probes: Option<Vec<ProbeScores>>,
}

/// The share of each probe that is right.
fn shares<S: Serializer>(probes: &Option<Vec<ProbeScores>>, s: S) -> Result<S::Ok, S::Error> {
    let probes = probes.iter().flatten();
    s.collect_map(probes.filter_map(|probe| Some((&probe.name, probe.share()?))))
}

/// Times of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RunTiming {
    /// The wall time that a quarter of the recorded steps stay below.
    pub fast_step_ms: f64,
    /// Median step.
    pub median_step_ms: f64,
    /// Wall time in all.
    pub wall_seconds: f64,
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

impl CurvePoint {
    fn of(record: &MetricsRecord) -> Option<Self> {
        Some(Self {
            step: record.step,
            tokens: record.tokens,
            loss: record.val_loss?,
        })
    }
}

impl RunResult {
    /// The result of a run; `None` if it has not ended.
    ///
    /// # Errors
    /// Files that cannot be read, are damaged or disagree.
    pub fn read(id: RunId) -> Result<Option<Self>, RunError> {
        let ended = Ended::read(&id.path)?;
        Ok(ended.map(|ended| Self {
            units: ended.units,
            probes: ended.probes.filter(|_| ended.summary.status == Status::Ok),
            ..Self::new(id, ended.summary, &ended.metrics)
        }))
    }

    pub(super) fn new(id: RunId, summary: Summary, metrics: &[MetricsRecord]) -> Self {
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
            backend: summary.backend.clone(),
            timing: RunTiming {
                fast_step_ms: quantile(times, FAST_STEPS).unwrap_or(summary.median_step_ms),
                median_step_ms: summary.median_step_ms,
                wall_seconds: summary.wall_seconds,
            },
            curve: metrics.iter().filter_map(CurvePoint::of).collect(),
            units: None,
            probes: None,
            summary,
        }
    }

    /// The summary.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The validation losses.
    pub fn curve(&self) -> &[CurvePoint] {
        &self.curve
    }

    /// Results on every validation unit, if they were written.
    pub fn units(&self) -> Option<&ValidationUnits> {
        self.units.as_ref()
    }

    /// Results of the probes, if they were computed.
    pub fn probes(&self) -> Option<&[ProbeScores]> {
        self.probes.as_deref()
    }

    /// Results of the probe of this name.
    pub(super) fn probe(&self, name: &str) -> Option<&ProbeScores> {
        self.probes()?.iter().find(|probe| probe.name == name)
    }

    /// Results of the probe of this name, if its items are these.
    pub(super) fn probe_with(&self, name: &str, items_sha256: &str) -> Option<&ProbeScores> {
        let same = |probe: &&ProbeScores| probe.items_sha256 == items_sha256;
        self.probe(name).filter(same)
    }

    /// The run with these results of probes.
    #[cfg(test)]
    pub(in crate::ablation) fn with_probes(mut self, probes: Vec<ProbeScores>) -> Self {
        self.probes = Some(probes);
        self
    }

    /// The run with these results on validation units.
    #[cfg(test)]
    pub(in crate::ablation) fn with_units(mut self, units: ValidationUnits) -> Self {
        self.units = Some(units);
        self
    }

    pub(super) fn loss_by_tokens(&self) -> Vec<(u64, f64)> {
        let points = self.curve.iter();
        points.map(|point| (point.tokens, point.loss)).collect()
    }

    /// The validation loss at a step, interpolated; `None` before the first validation.
    pub(super) fn loss_at(&self, step: f64) -> Option<f64> {
        let curve = &self.curve;
        let after = curve.partition_point(|point| (point.step as f64) < step);
        match (after.checked_sub(1).map(|i| curve[i]), curve.get(after)) {
            (_, Some(next)) if next.step as f64 == step => Some(next.loss),
            (Some(last), Some(next)) => {
                let share = (step - last.step as f64) / (next.step as f64 - last.step as f64);
                Some(last.loss + share * (next.loss - last.loss))
            }
            (Some(last), None) => Some(last.loss),
            (None, _) => None,
        }
    }
}

/// Seed and final loss; infinite where a run diverged.
pub(super) fn losses(runs: &[RunResult]) -> Vec<(u64, f64)> {
    runs.iter()
        .map(|run| (run.seed, run.val_loss.unwrap_or(f64::INFINITY)))
        .collect()
}
