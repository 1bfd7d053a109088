//! Loss curves: how much sooner an arm reaches a loss, and spikes.

use super::{Estimate, mean, median};
use serde::Serialize;

/// A number read off a loss curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The number, or the bound that the curve gives.
    pub value: f64,
    /// True if the curve gives a bound only: what was looked for lies before the first
    /// finite loss of the curve.
    pub bound: bool,
}

/// The number of tokens after which a loss curve of `(tokens, loss)`, in ascending order of
/// tokens, is at `target` or below for good: interpolated between the last point above and the
/// point after it. The last crossing, not the first, so that a lucky dip does not count. A curve
/// without a finite loss above it gives an upper bound. `None` if the curve is empty or ends above.
pub fn tokens_to_reach(curve: &[(u64, f64)], target: f64) -> Option<Reading> {
    // Written so that a loss that is not a number counts as above.
    let above = curve
        .iter()
        .rposition(|&(_, loss)| !matches!(loss.partial_cmp(&target), Some(order) if order.is_le()));
    let after = above.map_or(0, |index| index + 1);
    let &(tokens, loss) = curve.get(after)?;
    let last_above = above.map(|index| curve[index]);
    let (value, bound) = match last_above.filter(|(_, loss)| loss.is_finite()) {
        // Exact where the loss is the target itself.
        None => (tokens as f64, loss < target),
        Some((tokens_above, loss_above)) => {
            let share = (loss_above - target) / (loss_above - loss);
            let value = tokens_above as f64 + share * (tokens as f64 - tokens_above as f64);
            (value, false)
        }
    };
    Some(Reading { value, bound })
}

/// The paper's "1.8 x faster": the tokens the baseline took in all, divided by those the arm
/// takes to reach the baseline's final loss; a lower bound if the arm is below it at its first
/// validation. `None` if it never gets there, or a curve is empty.
pub fn convergence_factor(baseline: &[(u64, f64)], arm: &[(u64, f64)]) -> Option<Reading> {
    let &(tokens, target) = baseline.last()?;
    let Reading { value, bound } = tokens_to_reach(arm, target)?;
    let factor = tokens as f64 / value;
    (factor > 0.0 && factor.is_finite()).then_some(Reading {
        value: factor,
        bound,
    })
}

/// The convergence factor over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Convergence {
    /// The geometric mean `exp(mean ln f)` over the seeds in which the arm gets to the baseline's
    /// final loss: a factor of 2 and one of 1/2 are as far from 1.
    pub factor: f64,
    /// Ends of its 95 % interval, `exp` of the t interval of the mean of `ln f`: from two seeds
    /// on, and only if the arm gets there in every seed, at a place that its curve shows. Without
    /// the other seeds, or with bounds in their place, an interval would promise too much.
    pub interval: Option<[f64; 2]>,
    /// Seeds in which the arm is there at its first validation already. The factor is a lower
    /// bound if there are any.
    pub bounds: usize,
    /// Seeds in which the arm gets there.
    pub reached: usize,
    /// Seeds that both have finished.
    pub pairs: usize,
}

impl Convergence {
    /// From the [`convergence_factor`] of every pair of runs; `None` if the arm never gets there.
    pub fn of(factors: &[Option<Reading>]) -> Option<Self> {
        let reached = factors.iter().flatten();
        let bounds = reached.clone().filter(|factor| factor.bound).count();
        let logs: Vec<f64> = reached.map(|factor| factor.value.ln()).collect();
        if logs.is_empty() {
            return None;
        }
        let known = bounds == 0 && logs.len() == factors.len();
        let estimate = Estimate::of(&logs).filter(|_| known);
        Some(Self {
            factor: mean(&logs).exp(),
            interval: estimate.map(|e| [e.low.exp(), e.high.exp()]),
            bounds,
            reached: logs.len(),
            pairs: factors.len(),
        })
    }
}

/// Recorded losses before one that it is compared with.
pub const SPIKE_WINDOW: usize = 32;
/// Fewer say nothing.
const FEWEST: usize = 16;
/// Height of a spike above the median, in robust standard deviations.
pub const SPIKE_HEIGHT: f64 = 8.0;

/// The number of spikes in a curve of training losses: of places where a loss `l` is above the
/// median `m` of the (at least 16, at most [`SPIKE_WINDOW`]) recorded losses before it by more
/// than [`SPIKE_HEIGHT`] times `1.4826 MAD`, with `MAD` the median of `|l_i - m|` over the same.
/// Losses in a row that are all so high are one spike. A loss that falls, as in the beginning,
/// is below the median of those before it and so never one; losses that are not finite are
/// divergence, not spikes, and left out.
///
/// The identifier of F. R. Hampel (1974): median and MAD do not move with the spike, as mean and
/// standard deviation do; `1.4826 MAD` is the standard deviation of normal values. With 8 instead
/// of the usual 3, noise between batches alone is hardly ever counted.
pub fn spikes(losses: &[f64]) -> usize {
    let finite: Vec<f64> = losses.iter().copied().filter(|l| l.is_finite()).collect();
    let high: Vec<bool> = (0..finite.len())
        .map(|i| {
            let before = &finite[i.saturating_sub(SPIKE_WINDOW)..i];
            is_spike(finite[i], before)
        })
        .collect();
    let starts = |i: &usize| high[*i] && (*i == 0 || !high[*i - 1]);
    (0..high.len()).filter(starts).count()
}

fn is_spike(loss: f64, before: &[f64]) -> bool {
    if before.len() < FEWEST {
        return false;
    }
    let middle = median(before.to_vec()).expect("not empty");
    let away = before.iter().map(|l| (l - middle).abs()).collect();
    let spread = 1.4826 * median(away).expect("not empty");
    loss - middle > SPIKE_HEIGHT * spread && spread > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(value: f64) -> Option<Reading> {
        Some(Reading {
            value,
            bound: false,
        })
    }

    fn bound(value: f64) -> Option<Reading> {
        Some(Reading { value, bound: true })
    }

    /// ln 1 and ln 4 have the mean ln 2, the standard deviation ln 4 / sqrt(2) and the standard
    /// error ln 2; the 97.5 % quantile at one degree of freedom is 12.7062.
    #[test]
    fn the_factor_over_seeds_is_a_geometric_mean_with_its_interval() {
        let both = Convergence::of(&[exact(1.0), exact(4.0)]).expect("two");
        assert!((both.factor - 2.0).abs() < 1e-12);
        let [low, high] = both.interval.expect("both get there");
        let reach = 2.0_f64.powf(12.7062);
        assert!(
            (low * reach / 2.0 - 1.0).abs() < 1e-4 && (high / (2.0 * reach) - 1.0).abs() < 1e-4
        );
    }

    #[test]
    fn a_seed_that_never_gets_there_takes_the_interval_away_and_is_counted() {
        let some = Convergence::of(&[exact(1.2), exact(1.2), None]).expect("two of three");
        assert_eq!((some.reached, some.pairs, some.interval), (2, 3, None));
        assert_eq!(Convergence::of(&[None, None]), None);
    }

    const BASELINE: [(u64, f64); 4] = [(100, 4.0), (200, 3.0), (300, 2.5), (400, 2.0)];

    #[test]
    fn a_curve_is_interpolated_between_its_points() {
        assert_eq!(tokens_to_reach(&BASELINE, 2.75), exact(250.0));
        assert_eq!(tokens_to_reach(&BASELINE, 3.0), exact(200.0));
        assert_eq!(tokens_to_reach(&BASELINE, 2.0), exact(400.0));
    }

    #[test]
    fn an_equal_arm_has_factor_one() {
        assert_eq!(convergence_factor(&BASELINE, &BASELINE), exact(1.0));
    }

    #[test]
    fn an_arm_there_in_half_the_tokens_has_factor_two() {
        let arm = [(100, 3.0), (200, 2.0), (400, 1.5)];
        assert_eq!(convergence_factor(&BASELINE, &arm), exact(2.0));
    }

    #[test]
    fn the_target_is_where_the_baseline_ends_not_its_best() {
        let baseline = [(100, 4.0), (200, 1.0), (400, 2.0)];
        let arm = [(100, 3.0), (200, 2.0), (400, 1.5)];
        assert_eq!(convergence_factor(&baseline, &arm), exact(2.0));
    }

    #[test]
    fn an_arm_that_ends_above_has_no_factor() {
        let arm = [(200, 1.9), (400, 2.01)];
        assert_eq!(convergence_factor(&BASELINE, &arm), None);
        let diverged = [(200, 1.9), (400, f64::NAN)];
        assert_eq!(convergence_factor(&BASELINE, &diverged), None);
        assert_eq!(convergence_factor(&BASELINE, &[]), None);
        assert_eq!(convergence_factor(&[], &BASELINE), None);
    }

    #[test]
    fn curves_that_are_out_of_order_or_count_no_tokens_are_no_reason_to_fail() {
        let backwards = [(400, 4.0), (300, 3.0), (200, 1.0)];
        assert_eq!(tokens_to_reach(&backwards, 2.0), exact(250.0));
        assert_eq!(convergence_factor(&[(0, 2.0)], &BASELINE), None);
        assert_eq!(convergence_factor(&BASELINE, &[(0, 1.0)]), None);
        let largest = [(0, f64::MAX), (u64::MAX, -f64::MAX)];
        assert!(tokens_to_reach(&largest, 0.0).is_some());
    }

    #[test]
    fn a_dip_that_does_not_last_does_not_count() {
        let arm = [(100, 1.9), (200, 2.5), (300, 2.0), (400, 1.9)];
        assert_eq!(tokens_to_reach(&arm, 2.0), exact(300.0));
    }

    #[test]
    fn a_curve_that_begins_below_gives_a_bound() {
        assert_eq!(tokens_to_reach(&BASELINE, 5.0), bound(100.0));
        assert_eq!(tokens_to_reach(&BASELINE, 4.0), exact(100.0));
        let after_an_overflow = [(100, f64::NAN), (200, 1.0)];
        assert_eq!(tokens_to_reach(&after_an_overflow, 2.0), bound(200.0));
        let arm = [(200, 1.9), (400, 1.5)];
        assert_eq!(convergence_factor(&BASELINE, &arm), bound(2.0));
    }

    #[test]
    fn a_bound_in_one_seed_makes_the_factor_a_bound_without_an_interval() {
        let both = Convergence::of(&[bound(2.0), exact(2.0)]).expect("two");
        assert_eq!((both.bounds, both.interval), (1, None));
        assert!((both.factor - 2.0).abs() < 1e-12);
    }

    /// Falls, with a pattern of deviations whose MAD is known.
    fn curve(n: usize) -> Vec<f64> {
        (0..n).map(|i| [2.0, 2.1, 1.9, 2.0][i % 4]).collect()
    }

    /// Of 2.0, 2.1, 1.9, 2.0 in turn the median is 2.0 and the deviations are 0 and 0.1 in equal
    /// numbers: MAD 0.05, so that the limit is 2 + 8 * 1.4826 * 0.05 = 2.593.
    #[test]
    fn a_jump_over_the_limit_counts_and_one_below_does_not() {
        for (jump, count) in [(2.59, 0), (2.60, 1)] {
            let mut losses = curve(40);
            losses[36] = jump;
            assert_eq!(spikes(&losses), count, "{jump}");
        }
    }

    #[test]
    fn fewer_than_sixteen_losses_before_it_make_no_spike() {
        let mut losses = curve(40);
        losses[15] = 5.0;
        assert_eq!(spikes(&losses), 0);
        losses.insert(0, 2.0);
        assert_eq!(spikes(&losses), 1);
    }

    /// The losses before the window are all of 9; with them the median would be higher.
    #[test]
    fn a_loss_is_compared_with_the_window_before_it_alone() {
        let mut losses = vec![9.0; 100];
        losses.extend(curve(33));
        losses[132] = 2.6;
        assert_eq!(spikes(&losses), 1);
        losses[132] = 2.59;
        assert_eq!(spikes(&losses), 0);
    }

    #[test]
    fn a_plateau_is_one_spike_and_two_jumps_are_two() {
        let mut losses = curve(60);
        losses[40] = 5.0;
        losses[41] = 4.0;
        losses[50] = 5.0;
        assert_eq!(spikes(&losses), 2);
    }

    #[test]
    fn the_fall_in_the_beginning_is_no_spike_nor_is_divergence() {
        let mut losses: Vec<f64> = (0..200).map(|i| 1.0 + 4.0 / f64::from(1 + i)).collect();
        assert_eq!(spikes(&losses), 0);
        losses.push(f64::NAN);
        assert_eq!(spikes(&losses), 0);
        assert_eq!(spikes(&[]), 0);
    }
}
