//! Differences between two arms, seed by seed.

use std::collections::BTreeMap;

/// Differences of the seeds that both arms have finished.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Differences {
    /// Seeds with a difference, ascending.
    pub seeds: Vec<u64>,
    /// `arm - baseline` for each of them: below zero, the arm has the lower loss.
    pub values: Vec<f64>,
    /// Seeds that only one of the two has, or with a loss that is not finite (a diverged run).
    /// A report must name them: leaving out the runs that failed flatters an arm.
    pub unpaired: Vec<u64>,
}

/// Pairs `(seed, loss)` of an arm with those of the baseline.
pub fn pair_by_seed(baseline: &[(u64, f64)], arm: &[(u64, f64)]) -> Differences {
    let mut by_seed: BTreeMap<u64, (Option<f64>, Option<f64>)> = BTreeMap::new();
    for &(seed, loss) in baseline {
        by_seed.entry(seed).or_default().0 = Some(loss);
    }
    for &(seed, loss) in arm {
        by_seed.entry(seed).or_default().1 = Some(loss);
    }
    let mut differences = Differences::default();
    for (seed, pair) in by_seed {
        match pair {
            // A difference can be too large where the losses are not.
            (Some(baseline), Some(arm)) if (arm - baseline).is_finite() => {
                differences.seeds.push(seed);
                differences.values.push(arm - baseline);
            }
            _ => differences.unpaired.push(seed),
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn missing_and_diverged_runs_are_named_not_compared() {
        let differences = pair_by_seed(
            &[(0, 1.0), (1, 1.0), (2, 1.0), (3, f64::NAN)],
            &[(0, 0.9), (2, f64::INFINITY), (3, 1.0), (4, 1.0)],
        );
        assert_eq!(differences.seeds, [0]);
        assert_eq!(differences.unpaired, [1, 2, 3, 4]);
    }
}
