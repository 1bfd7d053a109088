//! Arms trained at several lengths: how much more their baseline needs for the same loss, and whether
//! the gap closes.

use super::{Compared, RunResult};
use crate::ablation::Arm;
use figures::stats::{
    Bound, Estimate, GAP_EXPONENTS, LossCurve, PowerLaw, gap_exponent, gap_weights, mean,
    not_rejected,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Results over lengths of training.
#[derive(Debug, Clone, Serialize)]
pub struct Horizons {
    /// The arms in the order of the sweep.
    pub arms: Vec<OverHorizons>,
}

/// An arm over lengths of training.
#[derive(Debug, Clone, Serialize)]
pub struct OverHorizons {
    /// Name, without a length.
    pub name: String,
    /// Name in tables, without a length.
    pub label: String,
    /// Name of the arm that it is compared with, without a length.
    pub baseline: Option<String>,
    /// The fit through the losses of the baseline, if there were enough lengths for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub law: Option<PowerLaw>,
    /// Seeds that ended well at every length, in the arm and in its baseline.
    pub seeds: Vec<u64>,
    /// The lengths, ascending.
    pub points: Vec<Horizon>,
    /// Exponent p of the gap to the baseline, `a t^-p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_exponent: Option<Interval>,
}

/// An arm at one length of training.
#[derive(Debug, Clone, Serialize)]
pub struct Horizon {
    /// Length as a multiple of that of the settings.
    pub times: u64,
    /// Tokens.
    pub tokens: u64,
    /// Losses of the seeds.
    #[serde(skip)]
    pub losses: Vec<f64>,
    /// Mean loss over the seeds.
    pub val_loss: f64,
    /// Tokens that the baseline needs for this loss, over those of the arm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_multiplier: Option<Interval>,
    /// The same of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flops_multiplier: Option<Interval>,
}

/// A number with its 95 % interval over seeds and, where it is known, over the validation text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The number, or the bound that the lengths give.
    pub value: f64,
    /// The side, if it is no more than a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<Bound>,
    /// Lower end; `None` where the lengths do not show one.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Interval {
    fn map(self, of: impl Fn(f64) -> f64) -> Self {
        Self {
            value: of(self.value),
            low: self.low.map(&of),
            high: self.high.map(&of),
            ..self
        }
    }
}

/// Runs of an arm at one length.
struct Cell<'r> {
    times: u64,
    runs: &'r [RunResult],
}

impl Cell<'_> {
    fn ended(&self) -> BTreeSet<u64> {
        let ended = self.runs.iter().filter(|run| run.val_loss.is_some());
        ended.map(|run| run.seed).collect()
    }

    /// The runs of these seeds.
    fn of_seeds(&self, seeds: &BTreeSet<u64>) -> Vec<RunResult> {
        let of = self.runs.iter().filter(|run| seeds.contains(&run.seed));
        of.cloned().collect()
    }
}

impl Horizons {
    /// The results of arms of several lengths with their runs; `None` for other arms.
    pub(super) fn of(arms: &[Arm], runs: &[&[RunResult]]) -> Option<Self> {
        let cells = |name: &str| -> Vec<Cell<'_>> {
            let of_name = arms
                .iter()
                .zip(runs)
                .filter(|(arm, _)| arm.base_name() == name);
            let cells = of_name.filter_map(|(arm, runs)| {
                let times = arm.horizon?;
                Some(Cell { times, runs })
            });
            cells.collect()
        };
        let mut all: Vec<OverHorizons> = Vec::new();
        for arm in arms.iter().filter(|arm| arm.horizon.is_some()) {
            if all.iter().any(|one| one.name == arm.base_name()) {
                continue;
            }
            let base = arms
                .iter()
                .find(|base| Some(&base.name) == arm.baseline.as_ref());
            let base = base.map(|base| base.base_name().to_owned());
            let baseline = base.as_deref().map(cells);
            let over = OverHorizons {
                name: arm.base_name().to_owned(),
                label: arm.base_label().to_owned(),
                baseline: base,
                law: None,
                seeds: Vec::new(),
                points: Vec::new(),
                gap_exponent: None,
            };
            all.push(over.computed(cells(arm.base_name()), baseline));
        }
        (!all.is_empty()).then_some(Self { arms: all })
    }
}

impl OverHorizons {
    /// The results from the runs of the arm and of its baseline at every length.
    fn computed<'r>(mut self, mut arm: Vec<Cell<'r>>, baseline: Option<Vec<Cell<'r>>>) -> Self {
        let compared = baseline.is_some();
        let mut base = baseline.unwrap_or_default();
        let begun = |cells: &[Cell<'_>]| -> BTreeSet<u64> {
            let begun = cells.iter().filter(|cell| !cell.ended().is_empty());
            begun.map(|cell| cell.times).collect()
        };
        let (of_arm, of_base) = (begun(&arm), begun(&base));
        let both = |times: u64| of_arm.contains(&times) && (!compared || of_base.contains(&times));
        for cells in [&mut arm, &mut base] {
            cells.retain(|cell| both(cell.times));
            cells.sort_by_key(|cell| cell.times);
        }
        let ended = arm.iter().chain(&base).map(Cell::ended);
        let seeds = ended.reduce(|some, others| some.intersection(&others).copied().collect());
        let seeds = seeds.unwrap_or_default();
        if seeds.is_empty() {
            return self;
        }
        self.seeds = seeds.iter().copied().collect();
        let of_seeds = |cells: &[Cell<'_>]| -> Vec<Vec<RunResult>> {
            cells.iter().map(|cell| cell.of_seeds(&seeds)).collect()
        };
        let (runs, base) = (of_seeds(&arm), of_seeds(&base));
        self.points = arm
            .iter()
            .zip(&runs)
            .map(|(cell, runs)| point(cell.times, runs))
            .collect();
        if compared {
            self.compare(&runs, &base);
        }
        self
    }

    fn compare(&mut self, runs: &[Vec<RunResult>], base: &[Vec<RunResult>]) {
        let losses = base.iter().map(|runs| {
            let point = point(0, runs);
            (point.tokens as f64, point.val_loss)
        });
        let losses: Vec<(f64, f64)> = losses.collect();
        let curve = LossCurve::of(&losses);
        self.law = curve.as_ref().and_then(|curve| curve.law()).copied();
        for (point, (runs, same)) in self.points.iter_mut().zip(runs.iter().zip(base)) {
            let Some(curve) = &curve else {
                continue;
            };
            let multiplier = multiplier(point, runs, curve, base);
            let [of_arm, of_base] = [&runs[0], &same[0]].map(|run| run.summary().flops_per_token);
            let dearer = of_arm as f64 / of_base as f64;
            point.tokens_multiplier = Some(multiplier);
            point.flops_multiplier = Some(multiplier.map(|tokens| tokens / dearer));
        }
        let gaps = self.points.iter().zip(&losses);
        let gaps: Vec<(f64, f64)> = gaps
            .map(|(point, (tokens, loss))| (*tokens, point.val_loss - loss))
            .collect();
        self.gap_exponent = gap_exponent(&gaps).map(|value| {
            let tokens: Vec<f64> = gaps.iter().map(|(tokens, _)| *tokens).collect();
            let sum = |p: f64| {
                let weights = gap_weights(&tokens, p);
                let both = weights.into_iter().zip(runs.iter().zip(base));
                let sum = both.flat_map(|(w, (arm, base))| [(w, &arm[..]), (-w, &base[..])]);
                estimate(sum.collect())
            };
            interval(value, None, sum, GAP_EXPONENTS)
        });
    }
}

fn point(times: u64, runs: &[RunResult]) -> Horizon {
    let losses: Vec<f64> = runs.iter().filter_map(|run| run.val_loss).collect();
    Horizon {
        times,
        tokens: runs[0].tokens,
        val_loss: mean(&losses),
        losses,
        tokens_multiplier: None,
        flops_multiplier: None,
    }
}

/// The multiplier m at which the loss of the arm is that of the baseline's curve after m times its
/// tokens. Its interval holds every m, as far as the lengths go, for which the difference of the two
/// is not shown to be another than zero.
fn multiplier(
    point: &Horizon,
    runs: &[RunResult],
    curve: &LossCurve,
    base: &[Vec<RunResult>],
) -> Interval {
    let own = point.tokens as f64;
    let found = curve.tokens_at(point.val_loss);
    let difference = |log: f64| {
        let weights = curve.weights(own * log.exp()).into_iter().zip(base);
        let weights = weights.filter(|(weight, _)| *weight != 0.0);
        let negative = weights.map(|(weight, runs)| (-weight, &runs[..]));
        estimate([(1.0, runs)].into_iter().chain(negative).collect())
    };
    let range = curve.ends().map(|end| (end / own).ln());
    interval((found.tokens / own).ln(), found.bound, difference, range).map(f64::exp)
}

fn estimate(sum: Vec<(f64, &[RunResult])>) -> Option<Estimate> {
    Compared::of_losses(&sum).estimate()
}

/// A value with the others in `range` that a sum, zero on average at the true one, does not reject.
fn interval(
    value: f64,
    bound: Option<Bound>,
    sum: impl Fn(f64) -> Option<Estimate>,
    range: [f64; 2],
) -> Interval {
    let rejects = |at: f64| sum(at).is_some_and(|estimate| estimate.excludes_zero());
    let [low, high] = not_rejected(rejects, value, range);
    Interval {
        value,
        bound,
        low,
        high,
    }
}

#[cfg(test)]
mod tests;
