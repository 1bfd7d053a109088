//! Runs of an arm that diverged or spiked, beside those of its baseline.

use super::RunResult;
use crate::{ablation::Arm, run_dir::Status};
use figures::stats::{Proportion, holm};
use serde::Serialize;

/// Runs of an arm that came to grief.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stability {
    /// Those that diverged.
    pub diverged: Incidence,
    /// Those that diverged, or whose training loss spiked.
    pub diverged_or_spiked: Incidence,
}

/// Number of runs with a property, and the difference to the baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Incidence {
    /// Runs that have it.
    pub runs: u64,
    /// All runs that have ended.
    pub of: u64,
    /// Share of the runs minus that of the baseline.
    pub difference: Option<f64>,
    /// Ends of its 95 % interval (Newcombe).
    pub interval: Option<[f64; 2]>,
    /// p value of no difference by Fisher's exact test, two-sided.
    pub p_value: Option<f64>,
    /// p value with Holm's correction over the arms.
    pub p_holm: Option<f64>,
}

impl Stability {
    /// The stability of all arms from their runs; `None` of all if no run diverged or spiked.
    pub(super) fn all(arms: &[Arm], runs: &[Vec<RunResult>]) -> Vec<Option<Self>> {
        let diverged = |run: &RunResult| run.status == Status::Diverged;
        let either = |run: &RunResult| diverged(run) || run.spikes > 0;
        if !runs.iter().flatten().any(either) {
            return vec![None; arms.len()];
        }
        let diverged = Incidence::all(arms, runs, &diverged).into_iter();
        let either = Incidence::all(arms, runs, &either).into_iter();
        let both = diverged.zip(either).map(|(diverged, diverged_or_spiked)| {
            Some(Self {
                diverged,
                diverged_or_spiked,
            })
        });
        both.collect()
    }
}

impl Incidence {
    fn all(
        arms: &[Arm],
        runs: &[Vec<RunResult>],
        has_it: &dyn Fn(&RunResult) -> bool,
    ) -> Vec<Self> {
        let count = |runs: &Vec<RunResult>| Proportion {
            with: runs.iter().filter(|run| has_it(run)).count() as u64,
            all: runs.len() as u64,
        };
        let counts: Vec<Proportion> = runs.iter().map(count).collect();
        let of_arm = |(arm, count): (&Arm, &Proportion)| {
            let name = arm.baseline.as_ref();
            let baseline = name.and_then(|name| arms.iter().position(|other| other.name == *name));
            let baseline = baseline.map(|index| counts[index]);
            let beside = baseline.and_then(|other| Some((other, count.minus(other)?)));
            Self {
                runs: count.with,
                of: count.all,
                difference: beside.map(|(_, (difference, _))| difference),
                interval: beside.map(|(_, (_, interval))| interval),
                p_value: beside.map(|(other, _)| count.fisher_p(other)),
                p_holm: None,
            }
        };
        let mut all: Vec<Self> = arms.iter().zip(&counts).map(of_arm).collect();
        let p_values: Vec<f64> = all.iter().filter_map(|one| one.p_value).collect();
        let compared = all.iter_mut().filter(|one| one.p_value.is_some());
        for (one, corrected) in compared.zip(holm(&p_values)) {
            one.p_holm = Some(corrected);
        }
        all
    }
}
