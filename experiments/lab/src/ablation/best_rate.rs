//! Each arm at the learning rate that suits it best.

use super::{
    ArmResult, Compared, Results, RunResult,
    show::{number, signed},
};
use figures::{
    stats::{Estimate, Minimum, mean},
    table::Table,
};
use std::f64::consts::LN_2;

/// One arm at its best rate.
#[derive(Debug, Clone)]
pub struct BestRate {
    /// The arm at that rate, by its name in paths.
    pub name: String,
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
    /// Lowest and highest of the rates around it whose loss is at most one standard error, paired by
    /// seed, above it; from two seeds on.
    pub as_good: Option<[f64; 2]>,
    /// Minimum of the loss over the logarithm of the rate, by the parabola through the best rate and
    /// its neighbours.
    pub minimum: Option<Minimum>,
    /// Mean difference to the first arm at its own best rate, paired by seed. The rates were chosen on
    /// these very losses.
    pub difference: Option<f64>,
}

impl BestRate {
    /// Loss by which the rates at half and at twice that of the minimum are above it.
    fn cost_of_twice(&self) -> Option<f64> {
        Some(self.minimum?.curvature * LN_2.powi(2))
    }
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
                name: group[found].name.clone(),
                label: label.clone(),
                rate: rates[found],
                edge,
                diverged_at: (0..group.len())
                    .filter(diverged)
                    .map(|index| rates[index])
                    .collect(),
                val_loss: loss(found),
                as_good: as_good(group, found).map(|ends| ends.map(|index| rates[index])),
                minimum: minimum(group, found, rates),
                difference: None,
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

    /// Returns whether the first arm, which the others are compared with, has a best rate, and
    /// another one too.
    pub fn can_be_compared(&self) -> bool {
        self.arms.len() > 1 && self.arms[1..].iter().any(|arm| arm.difference.is_some())
    }

    /// Best rates, how flat the loss is around them, and differences.
    pub fn table(&self) -> Table {
        let rate = |ln: f64| format!("{:.2e}", ln.exp());
        Table::of(&self.arms)
            .left("arm", |arm| &arm.label)
            .right("best rate", |arm| arm.rate.to_string())
            .left("edge", |arm| arm.edge.unwrap_or_default())
            .right("val loss", |arm| format!("{:.4}", arm.val_loss))
            .right("within 1 s.e.", |arm| {
                number(arm.as_good, |[low, high]| match low == high {
                    true => low.to_string(),
                    false => format!("{low} to {high}"),
                })
            })
            .right("vertex [95\u{a0}%]", |arm| {
                number(arm.minimum, |minimum| match minimum.interval {
                    Some([low, high]) => {
                        format!("{} [{}, {}]", rate(minimum.at), rate(low), rate(high))
                    }
                    None => rate(minimum.at),
                })
            })
            .right("cost of ×2", |arm| {
                number(arm.cost_of_twice(), |cost| format!("{cost:.4}"))
            })
            .right("Δ (exploratory)", |arm| {
                number(arm.difference, |difference| signed(difference, 4))
            })
            .table()
    }

    /// Notes below the table.
    pub fn notes(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "each arm at the rate, of {} tried, with the lowest mean validation loss. EXPLORATORY: the rate was chosen on the losses that are compared here, so Δ has no interval and no verdict. The verdict is that of seeds that had no part in the choice.",
                self.rates.len()
            ),
            "within 1 s.e.: the tried rates around the best whose loss is at most one standard error, paired by seed, above it. vertex: the lowest point of the parabola in the logarithm of the rate through the best rate and its two neighbours, with the jackknife over seeds. cost of ×2: the loss that half or twice the rate of the vertex costs by that parabola.".to_owned(),
        ];
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

/// Differences in loss to the best rate, paired by seed.
fn above(group: &[ArmResult], index: usize, best: usize) -> Option<Estimate> {
    Compared::of_losses(&[(1.0, &group[index].runs), (-1.0, &group[best].runs)]).of_seeds
}

/// The first and the last of the rates around the best that are as good as it.
fn as_good(group: &[ArmResult], best: usize) -> Option<[usize; 2]> {
    if group[best].runs.len() < 2 {
        return None;
    }
    let good = |index: &usize| {
        let sound = group[*index].diverged().next().is_none();
        sound && above(group, *index, best).is_some_and(|above| above.mean <= above.se)
    };
    let first = (0..best).rev().take_while(good).last();
    let last = (best + 1..group.len()).take_while(good).last();
    Some([first.unwrap_or(best), last.unwrap_or(best)])
}

/// Of the seeds that ended well at all three rates.
fn minimum(group: &[ArmResult], best: usize, rates: &[f64]) -> Option<Minimum> {
    let three = best.checked_sub(1)?..best + 2;
    let (group, rates) = (group.get(three.clone())?, rates.get(three)?);
    let sample = |run: &RunResult| {
        let of_seed = |arm: &ArmResult| {
            let run = arm.runs.iter().find(|other| other.seed == run.seed)?;
            run.val_loss
        };
        Some([
            of_seed(&group[0])?,
            of_seed(&group[1])?,
            of_seed(&group[2])?,
        ])
    };
    let samples: Vec<[f64; 3]> = group[1].runs.iter().filter_map(sample).collect();
    Minimum::of([rates[0].ln(), rates[1].ln(), rates[2].ln()], &samples)
}

/// Adds the differences to the first of them.
fn compare(best: &mut [(BestRate, &[RunResult])]) {
    let Some(((_, baseline), others)) = best.split_first_mut() else {
        return;
    };
    for (arm, runs) in others {
        let compared = Compared::of_losses(&[(1.0, runs), (-1.0, baseline)]);
        let values = compared.differences.values;
        arm.difference = (!values.is_empty()).then(|| mean(&values));
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
        assert!((arm.difference.expect("three pairs") + 0.1).abs() < 1e-12);
        assert!(best.can_be_compared());
        assert!(best.notes().iter().any(|note| note.contains("widen it")));
    }

    /// The means 2.2, 2.1 and 2.14 at x = 0, 1 and 2, x the binary logarithm of the rate over the first:
    /// the parabola is 2.2 - 0.1 x + 0.07 x (x - 1), its minimum at x = 0.17 / 0.14 = 1 + 3 / 14.
    #[test]
    fn the_width_of_an_optimum_is_said() {
        let losses: [&[Option<f64>]; 3] = [
            &[Some(2.1), Some(2.3), Some(2.2)],
            &[Some(2.0), Some(2.2), Some(2.1)],
            &[Some(2.03), Some(2.19), Some(2.2)],
        ];
        let best = best(&[
            ("pre-norm", losses[0]),
            ("b", losses[1]),
            ("c", losses[2]),
            ("d", &[Some(2.0)]),
            ("e", &[Some(1.9)]),
            ("f", &[Some(2.0)]),
        ]);
        let arm = &best.arms[0];
        // 0.03, -0.01 and 0.1 above it: 0.04 with a standard error of 0.032.
        assert_eq!(arm.as_good, Some([2e-3; 2]));
        let minimum = arm.minimum.expect("two neighbours");
        assert!((minimum.at.exp() - 1e-3 * 2.0_f64.powf(1.0 + 3.0 / 14.0)).abs() < 1e-9);
        let [low, high] = minimum.interval.expect("three seeds");
        assert!(low < minimum.at && minimum.at < high);
        assert!((arm.cost_of_twice().expect("curved") - 0.07).abs() < 1e-9);
        assert_eq!(best.arms[1].as_good, None, "one seed has no standard error");
        assert!(
            best.arms[1]
                .minimum
                .is_some_and(|minimum| minimum.interval.is_none())
        );
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
        assert!(!best.can_be_compared());
        assert_eq!(
            best.arms[0].minimum, None,
            "of the rate above it no loss is known"
        );
        assert_eq!(best.arms[0].as_good, Some([2e-3; 2]));
        assert_eq!(best.arms[0].rate, 2e-3);
        assert_eq!(best.arms[0].edge, None, "divergence bounds it");
        assert_eq!(best.arms[0].diverged_at, [4e-3]);
    }
}
