//! Each arm at the learning rate that suits it best.

use super::{
    Compared, Delta, Results, RunResult,
    show::{number, spoken, with_interval},
};
use figures::{
    stats::{Estimate, Verdict, verdicts},
    table::Table,
};

/// One arm at its best rate.
#[derive(Debug, Clone)]
pub struct BestRate {
    /// The arm in tables, without a rate.
    pub label: String,
    /// The rate with the lowest mean validation loss among those at which no seed diverged.
    pub rate: f64,
    /// `lowest` or `highest` where the optimum may lie outside the grid.
    pub edge: Option<&'static str>,
    /// Rates at which a seed diverged.
    pub diverged_at: Vec<f64>,
    /// Mean validation loss there.
    pub val_loss: f64,
    /// Difference to the first arm at its own best rate, paired by seed.
    pub delta: Option<Delta>,
    /// Verdict on the difference.
    pub verdict: Option<Verdict>,
}

/// All arms, each at its best rate.
#[derive(Debug, Clone)]
pub struct BestRates {
    /// Rates tried, ascending.
    pub rates: Vec<f64>,
    /// The arms, the baseline first; those without a finished rate are left out.
    pub arms: Vec<BestRate>,
}

impl BestRates {
    /// From the results of a sweep whose arms come in groups, one after the other: each label
    /// once with every rate, in the order of `rates`.
    pub fn of(results: &Results, labels: &[String], rates: &[f64]) -> Self {
        let groups = results.arms.chunks(rates.len());
        let mut best: Vec<(BestRate, &[RunResult])> = Vec::new();
        for (label, group) in labels.iter().zip(groups) {
            let sound = |index: &usize| {
                let runs = &group[*index].runs;
                !runs.is_empty() && runs.iter().all(|run| run.val_loss.is_some())
            };
            let loss = |index: usize| group[index].val_loss.unwrap_or(f64::INFINITY);
            let tried = (0..group.len()).filter(sound);
            let Some(found) = tried.min_by(|&a, &b| loss(a).total_cmp(&loss(b))) else {
                continue;
            };
            let edge = match found {
                0 => Some("lowest"),
                last if last + 1 == rates.len() => Some("highest"),
                _ => None,
            };
            let diverged = |index: &usize| group[*index].diverged().next().is_some();
            let arm = BestRate {
                label: label.clone(),
                rate: rates[found],
                edge,
                diverged_at: (0..group.len())
                    .filter(diverged)
                    .map(|index| rates[index])
                    .collect(),
                val_loss: loss(found),
                delta: None,
                verdict: None,
            };
            best.push((arm, &group[found].runs));
        }
        // The baseline itself may be without a finished rate: then nothing is compared.
        if best.first().map(|(arm, _)| &arm.label) == labels.first() {
            compare(&mut best);
        }
        Self {
            rates: rates.to_vec(),
            arms: best.into_iter().map(|(arm, _)| arm).collect(),
        }
    }

    /// Best rates, losses and differences.
    pub fn table(&self) -> Table {
        Table::of(&self.arms)
            .left("arm", |arm| &arm.label)
            .right("best rate", |arm| arm.rate.to_string())
            .left("edge", |arm| arm.edge.unwrap_or_default())
            .right("val loss", |arm| format!("{:.4}", arm.val_loss))
            .right("Δ ours ± 95 %", |arm| {
                number(arm.delta.as_ref(), |delta| with_interval(delta, 1.0, 4))
            })
            .left("verdict", |arm| spoken(arm.verdict))
            .table()
    }

    /// Notes below the table.
    pub fn notes(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "each arm at the rate, of {} tried, with the lowest mean validation loss. The rate was chosen on the same losses that are compared: they are a little too low, for all arms alike, and the intervals do not account for the choice. Confirm on seeds that had no part in it.",
            self.rates.len()
        )];
        for arm in &self.arms {
            if !arm.diverged_at.is_empty() {
                let rates: Vec<String> = arm.diverged_at.iter().map(f64::to_string).collect();
                lines.push(format!(
                    "{}: a seed diverged at {}; these rates are not chosen from.",
                    arm.label,
                    rates.join(", ")
                ));
            }
        }
        if self.arms.iter().any(|arm| arm.edge.is_some()) {
            lines.push(
                "An optimum at the edge of the grid may lie outside: widen it with --rates, finished runs are kept."
                    .to_owned(),
            );
        }
        lines
    }
}

/// Adds the differences to the first of them.
fn compare(best: &mut [(BestRate, &[RunResult])]) {
    let Some(((_, baseline), others)) = best.split_first_mut() else {
        return;
    };
    let compared = others.iter();
    let compared: Vec<Compared> = compared
        .map(|(_, runs)| Compared::of_losses(&[(1.0, runs), (-1.0, baseline)]))
        .collect();
    let estimates: Vec<Option<Estimate>> = compared.iter().map(Compared::estimate).collect();
    let said = verdicts(&estimates);
    for (index, (arm, _)) in others.iter_mut().enumerate() {
        arm.delta = Delta::of(&compared[index], None);
        arm.verdict = arm.delta.as_ref().map(|_| said[index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablation::results::tests::results;

    fn best(losses: &[(&str, &[Option<f64>])]) -> BestRates {
        let labels = ["pre-norm", "DHC x4"].map(str::to_owned);
        BestRates::of(&results(losses), &labels, &[1e-3, 2e-3, 4e-3])
    }

    #[test]
    fn each_arm_is_compared_at_its_own_best_rate() {
        let best = best(&[
            ("pre-norm", &[Some(2.3), Some(2.2), Some(2.4)]),
            ("b", &[Some(2.0), Some(1.9), Some(2.1)]),
            ("c", &[Some(2.1), Some(2.0), Some(2.2)]),
            ("d", &[Some(2.1), Some(2.0), Some(2.2)]),
            ("e", &[Some(2.05), Some(2.0), Some(2.1)]),
            ("f", &[Some(1.9), Some(1.8), Some(2.0)]),
        ]);
        let [base, arm] = &best.arms[..] else {
            panic!("{best:?}");
        };
        assert_eq!((base.rate, base.edge), (2e-3, None));
        assert_eq!((arm.rate, arm.edge), (4e-3, Some("highest")));
        let delta = arm.delta.as_ref().expect("three pairs");
        assert!((delta.mean + 0.1).abs() < 1e-12);
        assert!(best.notes().iter().any(|note| note.contains("widen it")));
    }

    #[test]
    fn a_rate_at_which_a_seed_diverged_is_never_the_best() {
        let best = best(&[
            ("pre-norm", &[Some(2.3), Some(2.2), Some(2.4)]),
            ("b", &[Some(2.0), Some(1.9), Some(2.1)]),
            ("c", &[Some(1.1), None, Some(1.2)]),
            ("d", &[None, None, None]),
            ("e", &[None, None, None]),
            ("f", &[None, None, None]),
        ]);
        assert_eq!(best.arms.len(), 1, "an arm without a sound rate is no row");
        assert_eq!(best.arms[0].rate, 2e-3);
        assert_eq!(best.arms[0].edge, None, "divergence bounds it");
        assert_eq!(best.arms[0].diverged_at, [4e-3]);
    }
}
