//! Probes of an arm, beside those of its baseline.

use super::{ArmResult, Compared, Delta, RunResult, arm::as_text, judged};
use figures::stats::{Verdict, mean};
use serde::Serialize;

/// Results of an arm on the items of one probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeResult {
    /// Name of the probe.
    pub name: String,
    /// Share of the items that whoever does not look at their context gets right at best.
    pub chance: f64,
    /// Number of items.
    pub items: usize,
    /// Number of files, blocks of them or random sequences that the items are in.
    pub clusters: usize,
    /// Seeds with results.
    pub seeds: usize,
    /// Share of the items that is right, mean over seeds.
    pub right: f64,
    /// Difference to the baseline, paired by seed: above zero, the arm has more right.
    pub delta: Option<Delta>,
    /// Verdict on the difference: better is more. `None` if a run of the arm diverged.
    #[serde(serialize_with = "as_text")]
    pub verdict: Option<Verdict>,
}

impl ProbeResult {
    /// Adds the results of all probes that have items to the arms. Holm's correction is over the
    /// arms, each probe by itself.
    pub(super) fn add_to(arms: &mut [ArmResult]) {
        let mut names: Vec<String> = Vec::new();
        let runs = arms.iter().flat_map(|arm| &arm.runs);
        for probe in runs.filter_map(RunResult::probes).flatten() {
            if probe.share().is_some() && !names.contains(&probe.name) {
                names.push(probe.name.clone());
            }
        }
        for name in names {
            let compared = |arm: &ArmResult| {
                let is_baseline = |other: &&ArmResult| Some(&other.name) == arm.baseline.as_ref();
                let baseline = arms.iter().find(is_baseline)?;
                let both = [(1.0, &arm.runs[..]), (-1.0, &baseline.runs)];
                Some(Compared::of_probe(&both, &name))
            };
            let compared: Vec<Option<Compared>> = arms.iter().map(compared).collect();
            let diverged = |name: &str| {
                arms.iter()
                    .any(|one| one.name == name && one.diverged_runs > 0)
            };
            let of_arms = compared
                .iter()
                .zip(arms.iter())
                .filter_map(|(compared, arm)| {
                    let baseline = arm.baseline.as_deref()?;
                    Some((
                        compared.as_ref()?,
                        diverged(&arm.name) || diverged(baseline),
                    ))
                });
            let mut judged = judged(of_arms).into_iter();
            for (arm, compared) in arms.iter_mut().zip(&compared) {
                let (verdict, p_holm) = compared.as_ref().and_then(|_| judged.next()).unzip();
                let Some(alone) = Self::alone(&arm.runs, &name) else {
                    continue;
                };
                let delta = |compared| Delta::of(compared, p_holm.flatten());
                arm.probes.push(Self {
                    delta: compared.as_ref().and_then(delta),
                    verdict: verdict.flatten().map(more_is_better),
                    ..alone
                });
            }
        }
    }

    /// The results of an arm by itself, over the runs with the items of the first.
    fn alone(runs: &[RunResult], name: &str) -> Option<Self> {
        let first = runs.iter().find_map(|run| run.probe(name))?;
        let same = runs
            .iter()
            .filter_map(|run| run.probe_with(name, &first.items_sha256));
        let shares: Vec<f64> = same.filter_map(|probe| probe.share()).collect();
        let clusters = first.clusters();
        (!shares.is_empty()).then(|| Self {
            name: name.to_owned(),
            chance: first.chance,
            items: clusters.len(),
            clusters: clusters.iter().max().map_or(0, |last| *last as usize + 1),
            seeds: shares.len(),
            right: mean(&shares),
            delta: None,
            verdict: None,
        })
    }
}

/// The verdict where that of losses was given.
fn more_is_better(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Better => Verdict::Worse,
        Verdict::Worse => Verdict::Better,
        other => other,
    }
}

#[cfg(test)]
pub(in crate::ablation) mod tests {
    use super::*;
    use crate::{
        ablation::{
            Arm, Results,
            results::tests::{results, run},
        },
        measure::Measure,
        run_dir::ProbeScores,
    };

    /// One probe of 40 items in 20 files, of which so many are right, the first of each file first.
    fn scores(right: usize, items: &str) -> ProbeScores {
        let digit = |item: usize| if item < right { '1' } else { '0' };
        let file = |file: usize| {
            let digits = [digit(file), digit(file + 20)];
            (format!("{file}.rs"), digits.iter().collect())
        };
        ProbeScores {
            name: "brackets".into(),
            chance: 1.0 / 3.0,
            items_sha256: items.into(),
            right: (0..20).map(file).collect(),
        }
    }

    /// Pre-norm and other arms, with the number of right items of each seed; one that diverged has
    /// none.
    pub fn probed(arms: &[(&str, &[Option<usize>])]) -> Results {
        let all: Vec<Arm> = arms
            .iter()
            .map(|(name, _)| match *name {
                "pre-norm" => Arm::pre_norm(),
                name => Arm::of(name, name, &Default::default()),
            })
            .collect();
        let runs = arms.iter().map(|(name, right)| {
            let one = |(seed, right): (usize, &Option<usize>)| {
                let run = run(name, seed as u64, right.map(|_| 2.0), 10.0);
                let items = if *name == "other" {
                    "other items"
                } else {
                    "items"
                };
                match right {
                    Some(right) => run.with_probes(vec![scores(*right, items)]),
                    None => run,
                }
            };
            right.iter().enumerate().map(one).collect()
        });
        Results::of(&all, &[0, 1, 2], runs.collect(), Measure::Bytes, None)
    }

    const BASE: (&str, &[Option<usize>]) = ("pre-norm", &[Some(10), Some(12), Some(11)]);

    fn brackets(results: &Results, arm: usize) -> &ProbeResult {
        results.arms[arm].probe("brackets").expect("probed")
    }

    /// 5, 4 and 6 of 40 items more: 12.5 points. Five of 20 files have an item more in every seed,
    /// four to six of them.
    #[test]
    fn more_right_items_are_better_and_paired_by_seed_and_file() {
        let results = probed(&[BASE, ("arm", &[Some(15), Some(16), Some(17)])]);
        let arm = brackets(&results, 1);
        assert_eq!((arm.items, arm.clusters, arm.seeds), (40, 20, 3));
        assert!((arm.right - 16.0 / 40.0).abs() < 1e-12);
        let delta = arm.delta.as_ref().expect("three pairs");
        assert!((delta.mean - 5.0 / 40.0).abs() < 1e-12, "{delta:?}");
        assert_eq!(delta.text_clusters, Some(20));
        assert!(delta.text_se.expect("files") > 0.02);
        let [low, high] = delta.interval.expect("three pairs");
        let [seeds_low, seeds_high] = delta.seed_interval.expect("three pairs");
        assert!(low < seeds_low && seeds_high < high);
        let better = probed(&[BASE, ("arm", &[Some(35), Some(36), Some(37)])]);
        assert_eq!(brackets(&better, 1).verdict, Some(Verdict::Better));
        let worse = probed(&[
            ("pre-norm", &[Some(35), Some(36), Some(37)]),
            ("arm", BASE.1),
        ]);
        assert_eq!(brackets(&worse, 1).verdict, Some(Verdict::Worse));
        assert_eq!(
            (brackets(&worse, 0).verdict, &brackets(&worse, 0).delta),
            (None, &None)
        );
    }

    #[test]
    fn p_values_are_corrected_over_the_arms() {
        let arm = |name| (name, &[Some(30), Some(31), Some(33)][..]);
        let alone = probed(&[BASE, arm("a")]);
        let two = probed(&[BASE, arm("a"), arm("b")]);
        let p = |results: &Results| {
            let delta = brackets(results, 1).delta.clone().expect("three pairs");
            (delta.p_value.expect("three"), delta.p_holm.expect("three"))
        };
        assert_eq!(p(&alone).0, p(&alone).1);
        assert!((p(&two).1 - 2.0 * p(&two).0).abs() < 1e-12);
    }

    #[test]
    fn other_items_are_not_compared_and_runs_that_diverged_have_none() {
        let all = [Some(10), Some(10), Some(10)];
        let results = probed(&[BASE, ("other", &all), ("wild", &[Some(20), None, Some(22)])]);
        assert_eq!(
            (brackets(&results, 1).right, &brackets(&results, 1).delta),
            (0.25, &None)
        );
        let wild = brackets(&results, 2);
        assert_eq!((wild.seeds, wild.verdict), (2, None));
        let none = self::results(&[("pre-norm", &[Some(2.0)])]);
        assert!(none.arms[0].probes.is_empty());
    }
}
