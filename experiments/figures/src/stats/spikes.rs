//! Jumps of the training loss.

use super::median;

/// Recorded losses before one that it is compared with.
pub const SPIKE_WINDOW: usize = 32;
/// Fewer say nothing.
const FEWEST: usize = 16;
/// How many robust standard deviations above the median a spike is.
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
