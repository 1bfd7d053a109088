//! Arms of equal cost: every arm has the steps that the cost of its baseline's steps buys, with a
//! learning-rate schedule of its own.

mod cost;
mod error;
mod record;

pub use cost::Cost;
pub use error::MatchingError;

use super::{Arm, CostRatio, Sweep, length::set_steps};
use crate::config::{ConfigError, RunConfig};
use models::weights::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Steps of all arms of a sweep that are not a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matching {
    /// The cost that is equal.
    pub by: Cost,
    /// The arms by their names.
    pub arms: BTreeMap<String, MatchedArm>,
}

/// Steps of an arm, and why so many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchedArm {
    /// Name of its baseline.
    pub baseline: String,
    /// Steps of the baseline.
    pub baseline_steps: usize,
    /// Steps of the arm: those of the baseline over the ratio, to the nearest whole number.
    pub steps: usize,
    /// Cost of a step over that of one of the baseline.
    #[serde(flatten)]
    pub cost: CostRatio,
    /// Timing of the steps, if the cost is time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed: Option<Timed>,
    /// SHA-256 of the settings of the arm and of its baseline before the arm had these steps.
    settings: String,
}

/// Circumstances in which steps were timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// The processor.
    pub cpu: String,
    /// Threads of a step.
    pub threads: usize,
    /// Spread of the rounds of the arm or of its baseline, whichever is larger: largest minus
    /// smallest, over the median.
    pub spread: f64,
}

impl MatchedArm {
    fn new(sweep: &Sweep, (arm, base): (usize, usize), cost: CostRatio) -> Self {
        let baseline_steps = sweep.configs[base].train.steps;
        let steps = (baseline_steps as f64 / cost.ratio).round();
        Self {
            baseline: sweep.arms[base].name.clone(),
            baseline_steps,
            steps: (steps as usize).max(1),
            cost,
            timed: None,
            settings: settings(sweep, arm, base),
        }
    }

    /// `DHC x4: 1237 steps for 1500 of pre-norm, one takes 1.213 [1.207, 1.219] times as long`.
    fn line(&self, by: Cost, label: &str) -> String {
        let costs = match by {
            Cost::Time => "takes",
            Cost::Flops => "has",
        };
        let unit = match by {
            Cost::Time => "times as long",
            Cost::Flops => "times as many operations",
        };
        format!(
            "{label}: {} steps for {} of {}, one {costs} {} {unit}",
            self.steps, self.baseline_steps, self.baseline, self.cost
        )
    }
}

impl Matching {
    /// The sweep with these steps.
    pub fn applied_to(&self, sweep: &Sweep) -> Sweep {
        let mut sweep = sweep.clone();
        for (arm, config) in sweep.arms.iter().zip(&mut sweep.configs) {
            if let Some(matched) = self.arms.get(&arm.name) {
                set_steps(&mut config.train, matched.steps);
            }
        }
        sweep
    }

    /// Steps and costs of the arms of a sweep, a line each.
    pub fn lines(&self, sweep: &Sweep) -> Vec<String> {
        let arms = sweep.arms.iter();
        let matched = arms.filter_map(|arm| Some((arm, self.arms.get(&arm.name)?)));
        matched
            .map(|(arm, matched)| matched.line(self.by, &arm.label))
            .collect()
    }

    /// Labels of the arms of a sweep whose steps, or those of whose baselines, were timed on a machine
    /// that was not quiet.
    pub fn disturbed<'s>(&self, sweep: &'s Sweep) -> Vec<&'s str> {
        let notable = |arm: &&Arm| {
            let timed = self.arms.get(&arm.name).and_then(|one| one.timed.as_ref());
            timed.is_some_and(|timed| super::calibration::is_notable(timed.spread))
        };
        let arms = sweep.arms.iter().filter(notable);
        arms.map(|arm| &*arm.label).collect()
    }
}

/// A digest of the settings of an arm and of its baseline.
fn settings(sweep: &Sweep, arm: usize, base: usize) -> String {
    let mut hash = Sha256::new();
    for config in [arm, base].map(|index| &sweep.configs[index]) {
        hash.update(config.identity());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

/// Operations of a training step, as a multiple of those of the forward.
fn operations(config: &RunConfig) -> Result<f64, ConfigError> {
    let tokens = config.train.batch as f64 * config.model.tokens() as f64;
    Ok(config.model.account()?.flops.total() as f64 * tokens)
}

#[cfg(test)]
mod tests;
