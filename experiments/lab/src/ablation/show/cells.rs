//! Numbers and verdicts as the cells of a table.

use crate::ablation::{ArmTiming, Delta, calibration::is_notable};
use figures::{
    stats::{Convergence, MAX_SEEDS, Verdict},
    table::{Cell, Tone},
};

/// A difference with the half-width of its interval, in a unit `scale` times smaller.
pub(super) fn with_interval(delta: &Delta, scale: f64, digits: usize) -> String {
    let mean = signed(scale * delta.mean, digits);
    match delta.interval {
        Some([low, high]) => format!("{mean} ±{:.digits$}", scale * (high - low) / 2.0),
        None => format!("{mean} (n=1)"),
    }
}

/// A verdict in a word or two.
pub(super) fn spoken(verdict: Option<Verdict>) -> Cell {
    let Some(verdict) = verdict else {
        return Cell::from("");
    };
    let tone = match verdict {
        Verdict::Better => Tone::Good,
        Verdict::Worse => Tone::Bad,
        Verdict::NoDifferenceShown => Tone::Plain,
        Verdict::TooFewSeeds => Tone::Faint,
    };
    Cell::new(verdict.to_string(), tone)
}

/// A factor with its interval or with the seeds that it is of; `≥` before a lower bound.
pub(super) fn tokens_factor(convergence: Convergence) -> String {
    let Convergence {
        factor,
        interval,
        bounds,
        reached,
        pairs,
    } = convergence;
    let least = if bounds > 0 { "≥" } else { "" };
    match interval {
        Some([low, high]) => format!("{factor:.2} [{low:.2}, {high:.2}]"),
        None => format!("{least}{factor:.2} ({reached}/{pairs})"),
    }
}

/// A step time, in brackets how far its rounds spread if it was calibrated, with a mark if they
/// spread too far.
pub(super) fn step_time(timing: &ArmTiming) -> Cell {
    let Some(ms) = timing.step_ms else {
        return Cell::from("");
    };
    match timing.step_spread {
        None => Cell::from(format!("{ms:.1}")),
        Some(spread) => {
            let shown = format!("{ms:.1} ({:.0} %)", 100.0 * spread);
            match is_notable(spread) {
                true => Cell::new(shown + "!", Tone::Bad),
                false => Cell::from(shown),
            }
        }
    }
}

/// Half-width of the interval over seeds alone.
pub(super) fn of_seeds(delta: &Delta, scale: f64, digits: usize) -> Option<String> {
    let [low, high] = delta.seed_interval?;
    Some(format!("±{:.digits$}", scale * (high - low) / 2.0))
}

/// Standard error over the validation text.
pub(super) fn of_text(delta: &Delta, scale: f64, digits: usize) -> Option<String> {
    Some(format!("{:.digits$}", scale * delta.text_se?))
}

/// Seeds needed, or what is needed in their place.
pub(in crate::ablation) fn still_needed(delta: &Delta) -> Cell {
    match (delta.seeds_needed_range, delta.text_se) {
        (Some(range), _) => Cell::from(seeds_needed(range)),
        (None, Some(_)) if delta.p_value.is_some() => Cell::from("more text"),
        (None, _) => Cell::from(""),
    }
}

/// Seeds needed, at both ends of the interval of the spread: `3 to 14`, or `≥500` where the upper
/// end was not found.
pub(super) fn seeds_needed([low, high]: [usize; 2]) -> String {
    match (low == high, high < MAX_SEEDS) {
        (_, false) => format!("≥{low}"),
        (true, true) => low.to_string(),
        (false, true) => format!("{low} to {high}"),
    }
}

/// A p value.
pub(super) fn p(p: f64) -> String {
    match p < 5e-4 {
        true => "<0.001".to_owned(),
        false => format!("{p:.3}"),
    }
}

pub(in crate::ablation) fn number<T>(value: Option<T>, shown: impl FnOnce(T) -> String) -> Cell {
    value.map_or(Cell::from(""), |value| Cell::from(shown(value)))
}

/// With its sign, and a true minus, which is as wide as the plus.
pub(crate) fn signed(value: f64, digits: usize) -> String {
    let magnitude = format!("{:.digits$}", value.abs());
    let zero = magnitude.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match (zero, value < 0.0) {
        (true, _) => magnitude,
        (_, true) => format!("−{magnitude}"),
        (_, false) => format!("+{magnitude}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_plus_or_minus_stands_half_of_the_interval() {
        let mut delta = Delta {
            seeds: vec![0, 1],
            mean: -0.05,
            interval: Some([-0.08, -0.02]),
            ..Delta::default()
        };
        assert_eq!(with_interval(&delta, 1.0, 4), "−0.0500 ±0.0300");
        assert_eq!(with_interval(&delta, 100.0, 2), "−5.00 ±3.00");
        delta.interval = None;
        assert_eq!(with_interval(&delta, 1.0, 2), "−0.05 (n=1)");
    }

    #[test]
    fn signs_are_shown_but_not_of_zero() {
        assert_eq!(signed(-0.0213, 4), "−0.0213");
        assert_eq!(signed(0.011, 3), "+0.011");
        assert_eq!(signed(-0.00001, 4), "0.0000");
    }

    #[test]
    fn seeds_are_a_range_or_a_lower_bound() {
        assert_eq!(seeds_needed([3, 3]), "3");
        assert_eq!(seeds_needed([3, 16]), "3 to 16");
        assert_eq!(seeds_needed([500, MAX_SEEDS]), "≥500");
    }

    #[test]
    fn a_factor_that_is_a_lower_bound_says_so() {
        let factor = |bounds, interval| {
            tokens_factor(Convergence {
                factor: 2.0,
                interval,
                bounds,
                reached: 2,
                pairs: 2,
            })
        };
        assert_eq!(factor(0, Some([1.5, 2.5])), "2.00 [1.50, 2.50]");
        assert_eq!(factor(1, None), "≥2.00 (2/2)");
        assert_eq!(factor(0, None), "2.00 (2/2)");
    }
}
