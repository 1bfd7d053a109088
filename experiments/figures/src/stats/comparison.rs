//! Comparison of arms by their losses: differences seed by seed, and what may be said of them.

use super::{Estimate, estimate::CONFIDENCE};
use std::{collections::BTreeMap, fmt};

/// Differences of the seeds that all arms have finished.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Differences {
    /// Seeds with a difference, ascending.
    pub seeds: Vec<u64>,
    /// `arm - baseline` for each of them: below zero, the arm has the lower loss.
    pub values: Vec<f64>,
    /// Seeds that not all of them have, or with a loss that is not finite (a diverged run).
    /// A report must name them: leaving out the runs that failed flatters an arm.
    pub unpaired: Vec<u64>,
}

/// Pairs `(seed, loss)` of an arm with those of the baseline.
pub fn pair_by_seed(baseline: &[(u64, f64)], arm: &[(u64, f64)]) -> Differences {
    combine_by_seed(&[(1.0, arm), (-1.0, baseline)])
}

/// The sums `sum_a w_a L_a` of the losses `(seed, loss)` of arms with their weights, seed by seed.
pub fn combine_by_seed(arms: &[(f64, &[(u64, f64)])]) -> Differences {
    let mut by_seed: BTreeMap<u64, (usize, f64)> = BTreeMap::new();
    for (weight, losses) in arms {
        for &(seed, loss) in *losses {
            let (known, sum) = by_seed.entry(seed).or_default();
            *known += 1;
            *sum += weight * loss;
        }
    }
    let mut differences = Differences::default();
    for (seed, (known, sum)) in by_seed {
        // A sum can be too large where the losses are not.
        if known == arms.len() && sum.is_finite() {
            differences.seeds.push(seed);
            differences.values.push(sum);
        } else {
            differences.unpaired.push(seed);
        }
    }
    differences
}

/// With fewer paired seeds nothing is claimed.
pub const MIN_SEEDS: usize = 3;

/// Statement that the differences of an arm to the baseline allow about its loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lower than that of the baseline.
    Better,
    /// Higher than that of the baseline.
    Worse,
    /// Neither shown; this does not show that they are equal.
    NoDifferenceShown,
    /// Fewer than [`MIN_SEEDS`] pairs.
    TooFewSeeds,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifferenceShown => "not shown",
            Self::TooFewSeeds => "few seeds",
        })
    }
}

/// P values adjusted by Holm's step-down method: sorted ascending, the i-th of m (from 0) is
/// multiplied by m - i, then made non-decreasing and at most 1. Calling those below 5 %
/// significant, the chance of a single false claim among all of them is at most 5 %.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let single: Vec<_> = p_values.iter().map(|&p| (p, None)).collect();
    let adjusted = shaffer(&single).into_iter();
    adjusted.map(|(p, _)| p).collect()
}

/// P values of the claims on several statements, of each the stated one and, if there is one, that
/// which contradicts it, adjusted as [`holm`] does. The null hypotheses of the two exclude each
/// other, so that one of a statement is true at most: a p value is multiplied by the number of
/// statements with a claim that is not shown yet (J. Shaffer, "Modified sequentially rejective
/// multiple test procedures", 1986). Calling those below 5 % shown, the chance of any false claim is
/// at most 5 %.
pub fn shaffer(statements: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    let mut open: Vec<usize> = Vec::new();
    let mut claims = Vec::new();
    for (index, (stated, against)) in statements.iter().enumerate() {
        claims.push((*stated, index, false));
        claims.extend(against.map(|p| (p, index, true)));
        open.push(1 + usize::from(against.is_some()));
    }
    claims.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut adjusted = statements.to_vec();
    let mut largest = 0.0_f64;
    for (p, index, contradicts) in claims {
        let factor = open.iter().filter(|claims| **claims > 0).count() as f64;
        largest = largest.max((p * factor).min(1.0));
        match contradicts {
            true => adjusted[index].1 = Some(largest),
            false => adjusted[index].0 = largest,
        }
        open[index] -= 1;
    }
    adjusted
}

/// The verdicts on all arms of a table, from the estimates of their differences to the baseline
/// (`None` where there are fewer than two). An arm is better or worse only if its own 95 %
/// interval excludes zero and it still does so after [`holm`]'s correction over all arms with
/// enough seeds.
pub fn verdicts(arms: &[Option<Estimate>]) -> Vec<Verdict> {
    let enough = |arm: &Option<Estimate>| arm.filter(|estimate| estimate.n >= MIN_SEEDS);
    let p_values: Vec<f64> = arms
        .iter()
        .filter_map(enough)
        .map(|estimate| estimate.p_value)
        .collect();
    let mut adjusted = holm(&p_values).into_iter();
    arms.iter()
        .map(|arm| match enough(arm) {
            None => Verdict::TooFewSeeds,
            Some(estimate) => {
                let p_value = adjusted.next().expect("one for each");
                if p_value >= 1.0 - CONFIDENCE || !estimate.excludes_zero() {
                    Verdict::NoDifferenceShown
                } else if estimate.mean < 0.0 {
                    Verdict::Better
                } else {
                    Verdict::Worse
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normals::Normals;
    use statrs::distribution::{ContinuousCDF, Normal};

    #[test]
    fn runs_are_paired_by_seed_in_whatever_order_they_ended() {
        let differences = pair_by_seed(
            &[(2, 3.0), (0, 1.0), (1, 2.0)],
            &[(0, 0.5), (1, 1.75), (2, 3.5)],
        );
        assert_eq!(differences.seeds, [0, 1, 2]);
        assert_eq!(differences.values, [-0.5, -0.25, 0.5]);
        assert!(differences.unpaired.is_empty());
    }

    #[test]
    fn sums_of_arms_need_all_of_them() {
        let (a, b, c) = ([(0, 1.0), (1, 2.0)], [(1, 5.0), (0, 3.0)], [(0, 10.0)]);
        let sums = combine_by_seed(&[(0.5, &a), (0.5, &b), (-1.0, &c)]);
        assert_eq!((&*sums.seeds, &*sums.values), (&[0][..], &[-8.0][..]));
        assert_eq!(sums.unpaired, [1]);
    }

    #[test]
    fn missing_and_diverged_runs_are_named_not_compared() {
        let differences = pair_by_seed(
            &[(0, 1.0), (1, 1.0), (2, 1.0), (3, f64::NAN)],
            &[(0, 0.9), (2, f64::INFINITY), (3, 1.0), (4, 1.0)],
        );
        assert_eq!(differences.seeds, [0]);
        assert_eq!(differences.unpaired, [1, 2, 3, 4]);
    }

    #[test]
    fn holm_multiplies_from_the_smallest_up() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (adjusted, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((adjusted - expected).abs() < 1e-12, "{adjusted}");
        }
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }

    /// A statement with two claims counts until both are shown; with one claim each it is Holm's.
    #[test]
    fn a_statement_and_its_contradiction_count_once() {
        let alone = shaffer(&[0.01, 0.04, 0.03, 0.005].map(|p| (p, None)));
        for ((stated, against), expected) in alone.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((stated - expected).abs() < 1e-12, "{stated}");
            assert_eq!(*against, None);
        }
        let both = shaffer(&[(0.01, Some(1.0)), (0.6, Some(0.02)), (0.001, None)]);
        let expected = [(0.02, 1.0), (1.0, 0.04)];
        for ((stated, against), expected) in both.iter().zip(expected) {
            let against = against.expect("two claims");
            assert!((stated - expected.0).abs() < 1e-12, "{stated}");
            assert!((against - expected.1).abs() < 1e-12, "{against}");
        }
        assert_eq!(both[2], (0.003, None));
    }

    /// Half of the statements are true, half of the contradictions: corrected apart, one in ten such
    /// tables has a false claim.
    #[test]
    fn false_claims_of_both_kinds_together_stay_below_five_percent() {
        let mut normals = Normals::new(7);
        let (mut wrong, tables) = (0, 4000);
        for _ in 0..tables {
            // Statement 0: no difference, so that its p is uniform; statement 1: at the margin from
            // inside, where that of "beyond" is. The other claims are true.
            let [a, b] = [(); 2].map(|()| 2.0 * Normal::standard().sf(normals.next(1.0).abs()));
            let adjusted = shaffer(&[(a, Some(1e-9)), (1e-9, Some(b))]);
            wrong += usize::from(adjusted[0].0 < 0.05 || adjusted[1].1.expect("two") < 0.05);
        }
        let share = wrong as f64 / f64::from(tables);
        assert!(share < 0.05 + 3.0 * 0.0035, "{share}");
    }

    #[test]
    fn a_clear_difference_is_named_by_its_sign() {
        let arms = [
            Estimate::of(&[-0.05, -0.051, -0.049]),
            Estimate::of(&[0.05, 0.051, 0.049]),
            Estimate::of(&[-0.05, 0.05, 0.01]),
        ];
        assert_eq!(
            verdicts(&arms),
            [Verdict::Better, Verdict::Worse, Verdict::NoDifferenceShown]
        );
    }

    #[test]
    fn one_or_two_seeds_never_make_a_claim() {
        let arms = [Estimate::of(&[-0.05]), Estimate::of(&[-0.05, -0.05])];
        assert_eq!(verdicts(&arms), [Verdict::TooFewSeeds; 2]);
    }

    #[test]
    fn what_one_arm_alone_would_show_many_arms_do_not() {
        // Alone p is about 0.02; with nine such arms the smallest needs p below 0.0056.
        let arm = Estimate::of(&[-0.05, -0.06, -0.08, -0.02]);
        let p_value = arm.expect("four").p_value;
        assert!((0.0056..0.05).contains(&p_value), "{p_value}");
        assert_eq!(verdicts(&[arm]), [Verdict::Better]);
        assert_eq!(verdicts(&[arm; 9]), [Verdict::NoDifferenceShown; 9]);
    }

    #[test]
    fn arms_without_enough_seeds_do_not_weaken_the_others() {
        let arm = Estimate::of(&[-0.05, -0.06, -0.08, -0.02]);
        let mut arms = vec![None; 8];
        arms.push(arm);
        assert_eq!(verdicts(&arms)[8], Verdict::Better);
    }
}
