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
    /// Verdict on the difference: better is more.
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
            let mut judged = judged(compared.iter().flatten()).into_iter();
            for (arm, compared) in arms.iter_mut().zip(&compared) {
                let (verdict, p_holm) = compared.as_ref().and_then(|_| judged.next()).unzip();
                let Some(alone) = Self::alone(&arm.runs, &name) else {
                    continue;
                };
                let delta = |compared| Delta::of(compared, p_holm.flatten());
                arm.probes.push(Self {
                    delta: compared.as_ref().and_then(delta),
                    verdict: verdict.map(more_is_better),
                    ..alone
                });
            }
        }
    }

    /// The results of an arm by itself, over the runs with the items of the first.
    fn alone(runs: &[RunResult], name: &str) -> Option<Self> {
        let first = runs.iter().find_map(|run| run.probe(name))?;
        let same = runs.iter().filter_map(|run| run.probe_with(name, &first.items_sha256));
        let shares: Vec<f64> = same.filter_map(|probe| probe.share()).collect();
        let clusters = first.clusters();
        (!shares.is_empty()).then(|| Self {
            name: name.to_owned(),
            chance: first.chance,
            items: clusters.len(),
            clusters: clusters.last().map_or(0, |last| *last as usize + 1),
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
