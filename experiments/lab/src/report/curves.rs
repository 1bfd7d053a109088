//! Validation losses over tokens, with what seeds leave uncertain.

use crate::ablation::RunResult;
use figures::{
    plot::LinePoint,
    stats::{Estimate, mean, sd},
};

/// The mean over seeds at the points that all of the runs have, with a band of one standard
/// deviation on either side.
pub(super) fn mean_curve(runs: &[RunResult]) -> Vec<LinePoint> {
    let Some((first, others)) = runs.split_first() else {
        return Vec::new();
    };
    let points = first.curve().iter().filter_map(|point| {
        let same = others.iter().map(|run| loss_at(run, point.tokens));
        let losses: Vec<f64> = [Some(point.loss)]
            .into_iter()
            .chain(same)
            .collect::<Option<_>>()?;
        let y = mean(&losses);
        Some(LinePoint {
            x: point.tokens as f64,
            y,
            band: sd(&losses).map(|sd| [y - sd, y + sd]),
        })
    });
    points.collect()
}

/// The mean difference to the baseline over the seeds that both have, with its 95 % interval,
/// at the points that all of these runs have.
pub(super) fn difference_curve(baseline: &[RunResult], arm: &[RunResult]) -> Vec<LinePoint> {
    let pairs: Vec<(&RunResult, &RunResult)> = baseline
        .iter()
        .filter_map(|base| Some((base, arm.iter().find(|run| run.seed == base.seed)?)))
        .collect();
    let Some((first, _)) = pairs.first() else {
        return Vec::new();
    };
    let points = first.curve().iter().filter_map(|point| {
        let differences: Option<Vec<f64>> = pairs
            .iter()
            .map(|(base, run)| Some(loss_at(run, point.tokens)? - loss_at(base, point.tokens)?))
            .collect();
        let differences = differences?;
        Some(LinePoint {
            x: point.tokens as f64,
            y: mean(&differences),
            band: Estimate::of(&differences).map(|e| [e.low, e.high]),
        })
    });
    points.collect()
}

fn loss_at(run: &RunResult, tokens: u64) -> Option<f64> {
    let curve = run.curve();
    let place = curve.binary_search_by_key(&tokens, |point| point.tokens);
    place.ok().map(|place| curve[place].loss)
}
