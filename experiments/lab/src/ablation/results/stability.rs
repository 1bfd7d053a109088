//! Runs of an arm that diverged or spiked, beside those of its baseline.

use super::RunResult;
use crate::{ablation::Arm, run_dir::Status};
use figures::stats::{Proportion, holm};
use serde::Serialize;

/// Runs of an arm that came to grief.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stability {
    /// Runs that diverged.
    pub diverged: Incidence,
    /// Runs that diverged, or whose training loss spiked.
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

#[cfg(test)]
mod tests {
    use super::{super::tests::results, *};

    fn stability(losses: &[(&str, &[Option<f64>])]) -> Vec<Option<Stability>> {
        let arms = results(losses).arms.into_iter();
        arms.map(|arm| arm.stability).collect()
    }

    const SOUND: [Option<f64>; 4] = [Some(2.0); 4];

    #[test]
    fn runs_that_diverged_are_counted_and_compared_by_fisher() {
        let found = stability(&[
            ("pre-norm", &SOUND),
            ("some", &[None, Some(2.0), None, None]),
            ("all", &[None; 4]),
        ]);
        let [base, some, all] = &found[..] else {
            panic!("three arms")
        };
        let of = |one: &Option<Stability>| one.clone().expect("some diverged").diverged;
        assert_eq!((of(base).runs, of(base).of, of(base).p_value), (0, 4, None));
        // 3 of 4 against 0 of 4: (4 + 4) of the 56 tables of three; 4 of 4: 2 of 70.
        assert_eq!((of(some).runs, of(some).difference), (3, Some(0.75)));
        assert!((of(some).p_value.expect("runs") - 8.0 / 56.0).abs() < 1e-9);
        assert!((of(all).p_value.expect("runs") - 2.0 / 70.0).abs() < 1e-9);
        assert!((of(all).p_holm.expect("runs") - 4.0 / 70.0).abs() < 1e-9);
        assert!((of(some).p_holm.expect("runs") - 8.0 / 56.0).abs() < 1e-9);
        let [low, high] = of(all).interval.expect("runs");
        assert!(0.2 < low && low < 0.5 && high == 1.0, "{low} {high}");
        // What diverged is among what diverged or spiked.
        let either = some.clone().expect("it is there").diverged_or_spiked;
        assert_eq!(either, of(some));
    }

    #[test]
    fn where_nothing_happened_nothing_is_said() {
        assert_eq!(
            stability(&[("pre-norm", &SOUND), ("arm", &SOUND)]),
            [None, None]
        );
    }

    #[test]
    fn runs_that_spiked_count_once_whatever_the_number_of_spikes() {
        let spiked = |seed: u64, spikes: usize| {
            let mut run = super::super::tests::run("arm", seed, Some(2.0), 10.0);
            run.spikes = spikes;
            run
        };
        let arms = [Arm::pre_norm(), Arm::of("arm", "arm", &Default::default())];
        let runs = [
            vec![spiked(0, 0), spiked(1, 0)],
            vec![spiked(0, 0), spiked(1, 3)],
        ];
        let found = Stability::all(&arms, &runs);
        let one = found[1].as_ref().expect("a spike");
        assert_eq!((one.diverged.runs, one.diverged_or_spiked.runs), (0, 1));
        assert_eq!(one.diverged.p_value, Some(1.0));
        // An arm without runs, or without those of its baseline, is not compared.
        let found = Stability::all(&arms, &[Vec::new(), runs[1].clone()]);
        assert_eq!(found[1].as_ref().expect("a spike").diverged.p_value, None);
    }
}
