//! A weighted sum of arms, seed by seed and over the validation text.

use super::{RunResult, run::losses};
use crate::run_dir::ValidationUnits;
use figures::stats::{ClusterError, Differences, Estimate, combine_by_seed};

/// Runs of an arm with the weight of their losses.
pub(in crate::ablation) type Weighted<'r> = (f64, &'r [RunResult]);

/// Cluster and value of each unit of a run, as far as it is known.
type Units = (Vec<u32>, Vec<Option<f64>>);

/// The sum `sum_a w_a L_a` of the losses of arms, paired by seed: with the weights 1 and -1 the
/// difference of two.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::ablation) struct Compared {
    /// The sum of each seed.
    pub differences: Differences,
    /// Mean over seeds, with their error alone.
    pub of_seeds: Option<Estimate>,
    /// Error over the validation text, if all runs have the losses of its units.
    pub text: Option<ClusterError>,
}

impl Compared {
    /// Of final validation losses.
    pub fn of_losses(arms: &[Weighted<'_>]) -> Self {
        Self::of(arms, losses, |run| {
            let ValidationUnits { clusters, scores } = run.units()?;
            let losses = scores.iter().map(|unit| Some(unit.loss));
            Some((clusters.clone(), losses.collect()))
        })
    }

    /// Of the shares of images that are classified correctly.
    pub fn of_accuracies(arms: &[Weighted<'_>]) -> Self {
        let known = |run: &RunResult| Some((run.seed, run.accuracy?));
        let shares = |runs: &[RunResult]| runs.iter().filter_map(known).collect();
        Self::of(arms, shares, |run| {
            let ValidationUnits { clusters, scores } = run.units()?;
            let correct = scores.iter().map(|unit| Some(f64::from(unit.correct?)));
            Some((clusters.clone(), correct.collect()))
        })
    }

    /// Of the shares of the items of a probe that are right, over the runs with the items of the
    /// first.
    pub fn of_probe(arms: &[Weighted<'_>], name: &str) -> Self {
        let mut runs = arms.iter().flat_map(|(_, runs)| *runs);
        let items = runs.find_map(|run| Some(&*run.probe(name)?.items_sha256));
        let items = items.unwrap_or_default();
        let known = |run: &RunResult| Some((run.seed, run.probe_with(name, items)?.share()?));
        let shares = |runs: &[RunResult]| runs.iter().filter_map(known).collect();
        Self::of(arms, shares, |run| {
            let probe = run.probe_with(name, items)?;
            let right = probe.items().map(|right| Some(f64::from(u8::from(right))));
            Some((probe.clusters(), right.collect()))
        })
    }

    /// Mean with the errors of both seeds and text, as far as they are known.
    pub fn estimate(&self) -> Option<Estimate> {
        let of_seeds = self.of_seeds?;
        Some(match &self.text {
            Some(text) => of_seeds.with_text(text),
            None => of_seeds,
        })
    }

    fn of(
        arms: &[Weighted<'_>],
        values: impl Fn(&[RunResult]) -> Vec<(u64, f64)>,
        units: impl Fn(&RunResult) -> Option<Units>,
    ) -> Self {
        let by_seed: Vec<(f64, Vec<(u64, f64)>)> = arms
            .iter()
            .map(|(weight, runs)| (*weight, values(runs)))
            .collect();
        let by_seed: Vec<(f64, &[(u64, f64)])> = by_seed
            .iter()
            .map(|(weight, values)| (*weight, &values[..]))
            .collect();
        let differences = combine_by_seed(&by_seed);
        Self {
            of_seeds: Estimate::of(&differences.values),
            text: text_error(arms, &differences.seeds, units),
            differences,
        }
    }
}

/// The error over the text of the mean over `seeds`; `None` unless all of their runs have the same
/// units.
fn text_error(
    arms: &[Weighted<'_>],
    seeds: &[u64],
    units: impl Fn(&RunResult) -> Option<Units>,
) -> Option<ClusterError> {
    let mut sum: Option<(Vec<f64>, Vec<u32>)> = None;
    for (weight, runs) in arms {
        for seed in seeds {
            let run = runs.iter().find(|run| run.seed == *seed)?;
            let (clusters, values) = units(run)?;
            let none = || (vec![0.0; clusters.len()], clusters.clone());
            let (sum, first) = sum.get_or_insert_with(none);
            if *first != clusters {
                return None;
            }
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += weight * value? / seeds.len() as f64;
            }
        }
    }
    let (means, clusters) = sum?;
    ClusterError::of(&means, &clusters)
}
