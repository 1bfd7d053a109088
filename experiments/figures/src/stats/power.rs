//! What a number of seeds can and cannot show.

use super::{ClusterError, MIN_SEEDS, estimate::CONFIDENCE, student_t};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Power for which effects and seeds are computed: four in five such experiments would show it.
pub const POWER: f64 = 0.8;

/// More seeds than anyone will run: a number of seeds is not looked for beyond it.
pub const MAX_SEEDS: usize = 1_000_000;

/// Claim that seeds are to show in a test at 5 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// A difference from zero, two-sided.
    Difference,
    /// A difference within this margin, by two one-sided tests.
    Within(f64),
}

impl Aim {
    /// The probability that the test shows it of a true difference `mean` with the standard error
    /// `se` of so many degrees of freedom: `P(|T| > t(0.975))` for T of the noncentral t
    /// distribution with noncentrality `mean / se`; of a margin m, that of both
    /// `T > t(0.95)` with `(m - mean) / se` and with `(m + mean) / se`, at least.
    fn power(self, mean: f64, se: f64, freedom: f64) -> f64 {
        match self {
            Self::Difference if se == 0.0 => f64::from(u8::from(mean != 0.0)),
            Self::Difference => {
                let critical = student_t::quantile((1.0 + CONFIDENCE) / 2.0, freedom);
                student_t::noncentral_two_sided_p(critical, freedom, mean / se)
            }
            Self::Within(margin) if se == 0.0 => f64::from(u8::from(mean.abs() < margin)),
            Self::Within(margin) => {
                let critical = student_t::quantile(CONFIDENCE, freedom);
                let side =
                    |distance: f64| student_t::noncentral_upper_p(critical, freedom, distance / se);
                (side(margin - mean) + side(margin + mean) - 1.0).max(0.0)
            }
        }
    }

    /// [`Aim::power`] with `n` paired seeds of this standard deviation, where the interval has the
    /// error `text` of the validation text in it too, as in
    /// [`Estimate::with_text`](super::Estimate::with_text). More seeds leave that error as it is.
    /// 0 for fewer than two seeds.
    fn power_with(self, mean: f64, sd: f64, n: usize, text: Option<&ClusterError>) -> f64 {
        let Some(freedom) = n.checked_sub(1).filter(|freedom| *freedom > 0) else {
            return 0.0;
        };
        let of_seeds = self.power(mean, sd / (n as f64).sqrt(), freedom as f64);
        match text.filter(|text| text.se > 0.0) {
            Some(text) if of_seeds > 0.0 => {
                let (se, freedom) = text.with(sd * sd / n as f64, freedom);
                self.power(mean, se, freedom).min(of_seeds)
            }
            _ => of_seeds,
        }
    }
}

/// The probability that `n` paired seeds show a mean difference of `effect` standard deviations in
/// a two-sided test at 5 %. 0 for fewer than two seeds.
pub fn power(effect: f64, n: usize) -> f64 {
    Aim::Difference.power_with(effect, 1.0, n, None)
}

/// The smallest mean difference that `n` paired seeds show with 80 % power, where `sd`
/// is the standard deviation of the differences and `text` their error over the validation text, if
/// that is known. `None` for fewer than two seeds.
pub fn minimum_detectable_effect(sd: f64, n: usize, text: Option<&ClusterError>) -> Option<f64> {
    if n < 2 {
        return None;
    }
    if sd == 0.0 {
        return Some(0.0).filter(|_| text.is_none());
    }
    let suffices = |mean| Aim::Difference.power_with(mean, sd, n, text) >= POWER;
    // Power grows with the effect: double until it suffices, then halve the range.
    let mut high = sd;
    while !suffices(high) {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        match suffices(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    Some(high)
}

/// The number of paired seeds that show `aim` with 80 % power if the true difference is `mean`; at
/// least [`MIN_SEEDS`]. `None` if it is a difference of zero or one beyond the margin, or would need
/// over a million, as one does that is small beside the error `text` of the validation text: no
/// number of seeds makes that smaller.
pub fn seeds_needed(aim: Aim, mean: f64, sd: f64, text: Option<&ClusterError>) -> Option<usize> {
    let suffices = |n| aim.power_with(mean, sd, n, text) >= POWER;
    if mean.is_nan() || sd.is_nan() || !suffices(MAX_SEEDS) {
        return None;
    }
    if suffices(MIN_SEEDS) {
        return Some(MIN_SEEDS);
    }
    // Power grows with n, so halve the range (low, high]: high suffices, low does not.
    let (mut low, mut high) = (MIN_SEEDS, MAX_SEEDS);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match suffices(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    Some(high)
}

/// [`seeds_needed`] at both ends of the 95 % interval of the standard deviation, of which `n` seeds
/// have seen `sd`: `sd * sqrt((n - 1) / chi2(0.975, n - 1))` to
/// `sd * sqrt((n - 1) / chi2(0.025, n - 1))`. The upper end is a million where it would be more.
pub fn seeds_needed_range(
    aim: Aim,
    mean: f64,
    sd: f64,
    n: usize,
    text: Option<&ClusterError>,
) -> Option<[usize; 2]> {
    let freedom = n.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    let spread = ChiSquared::new(freedom).expect("at least one degree of freedom");
    let end = |p: f64| sd * (freedom / spread.inverse_cdf(p)).sqrt();
    let low = seeds_needed(aim, mean, end((1.0 + CONFIDENCE) / 2.0), text)?;
    let high = seeds_needed(aim, mean, end((1.0 - CONFIDENCE) / 2.0), text);
    Some([low, high.unwrap_or(MAX_SEEDS)])
}

#[cfg(test)]
mod tests {
    use super::{Aim::*, *};

    /// The textbook approximation by the central t distribution,
    /// `(t(0.975, n - 1) + t(0.8, n - 1)) / sqrt(n)`, promises 80 % and has less with few seeds:
    /// the values are R's `power.t.test(type = "paired")`.
    #[test]
    fn the_power_of_few_seeds_is_below_what_the_central_t_promises() {
        for (n, known) in [(3, 0.766), (4, 0.784)] {
            let quantile = |p| student_t::quantile(p, (n - 1) as f64);
            let effect = (quantile(0.975) + quantile(0.8)) / (n as f64).sqrt();
            assert!((power(effect, n) - known).abs() < 1e-3, "{n}");
        }
    }

    #[test]
    fn an_effect_of_zero_is_shown_as_often_as_the_test_is_wrong() {
        for n in [2, 3, 5, 30, 1000] {
            assert!(
                (power(0.0, n) - 0.05).abs() < 1e-6,
                "{n}: {}",
                power(0.0, n)
            );
        }
        assert_eq!(power(1.0, 1), 0.0);
    }

    #[test]
    fn the_detectable_effect_has_the_power_and_scales_with_the_spread() {
        for n in [2, 3, 4, 5, 10, 100] {
            let effect = minimum_detectable_effect(1.0, n, None).expect("two at least");
            assert!((power(effect, n) - POWER).abs() < 1e-6, "{n}");
        }
        let of = |sd| minimum_detectable_effect(sd, 4, None).expect("four");
        assert!((of(0.02) - 2.0 * of(0.01)).abs() < 1e-15);
        assert_eq!(minimum_detectable_effect(1.0, 1, None), None);
    }

    /// J. Cohen (1988), paired t test, two-sided 5 %, power 0.8.
    #[test]
    fn the_seeds_needed_are_those_of_cohen() {
        for (d, cohen) in [(0.2, 199), (0.5, 34), (0.8, 15)] {
            assert_eq!(seeds_needed(Difference, -d, 1.0, None), Some(cohen), "{d}");
        }
    }

    #[test]
    fn the_seeds_needed_are_the_fewest_that_detect_the_effect() {
        for d in [0.05, 0.3, 0.7, 1.1, 1.9] {
            let n = seeds_needed(Difference, d, 1.0, None).expect("finite");
            assert!(power(d, n) >= POWER);
            assert!(n == MIN_SEEDS || power(d, n - 1) < POWER);
        }
    }

    #[test]
    fn no_effect_needs_no_number_of_seeds() {
        assert_eq!(seeds_needed(Difference, 0.0, 1.0, None), None);
        assert_eq!(seeds_needed(Difference, 0.0, 0.0, None), None);
        assert_eq!(seeds_needed(Difference, 1e-9, 1.0, None), None);
        assert_eq!(seeds_needed(Difference, 0.1, 0.0, None), Some(MIN_SEEDS));
        assert_eq!(seeds_needed(Difference, f64::NAN, 1.0, None), None);
        assert_eq!(seeds_needed_range(Difference, 0.1, 0.1, 1, None), None);
    }

    /// Between 231 and 320 degrees of freedom the density of chi-squared overflows.
    #[test]
    fn hundreds_of_seeds_are_counted() {
        for (d, expected) in [(0.18, 245), (0.15, 351), (0.13, 467)] {
            assert_eq!(
                seeds_needed(Difference, d, 1.0, None),
                Some(expected),
                "{d}"
            );
        }
    }

    /// Exact powers of the two tests, by integration over both coordinates of the estimate: with a
    /// margin of half a standard deviation 36 seeds where nothing differs (K. Phillips, "Power of
    /// the two one-sided tests procedure in bioequivalence", 1990).
    #[test]
    fn equivalence_needs_other_numbers_of_seeds_than_a_difference() {
        assert_eq!(seeds_needed(Within(0.5), 0.0, 1.0, None), Some(36));
        assert!(seeds_needed(Within(0.5), 0.2, 1.0, None) > Some(36));
        assert_eq!(seeds_needed(Within(0.5), 0.5, 1.0, None), None);
        assert_eq!(seeds_needed(Within(0.5), -0.6, 0.0, None), None);
        assert_eq!(seeds_needed(Within(0.5), 0.4, 0.0, None), Some(MIN_SEEDS));
    }

    /// Of four seeds chi2(0.975, 3) = 9.348 and chi2(0.025, 3) = 0.2158: the standard deviation is
    /// known to a factor of 0.567 to 3.729 only.
    #[test]
    fn the_range_of_seeds_is_that_of_the_spread_and_narrows_with_seeds() {
        let four = seeds_needed_range(Difference, 1.0, 1.0, 4, None).expect("four");
        let ends = [0.5665, 3.7285]
            .map(|factor| seeds_needed(Difference, 1.0, factor, None).expect("finite"));
        assert_eq!(four, ends);
        let [low, high] = seeds_needed_range(Difference, 1.0, 1.0, 100, None).expect("a hundred");
        assert!(four[0] <= low && high < four[1]);
        let rare = seeds_needed_range(Difference, 4e-3, 1.0, 3, None).expect("below a million");
        assert!(rare[0] < 500_000 && rare[1] == MAX_SEEDS, "{rare:?}");
    }

    /// Of 9 seeds with the deviation 3, V_s = 1; with V_t = 1 of 9 clusters V = 2 with 16 degrees.
    #[test]
    fn the_error_of_the_text_needs_larger_effects_and_cannot_be_overcome_by_seeds() {
        let text = ClusterError {
            se: 1.0,
            clusters: 9,
            freedom: 8.0,
        };
        let found = minimum_detectable_effect(3.0, 9, Some(&text)).expect("nine");
        let expected = Difference.power(found, 2.0_f64.sqrt(), 16.0);
        assert!((expected - POWER).abs() < 1e-6, "{found}");
        assert!(found > minimum_detectable_effect(3.0, 9, None).expect("nine"));
        // The detectable effect of this many seeds needs this many.
        let needed = seeds_needed(Difference, 1.0001 * found, 3.0, Some(&text)).expect("nine");
        assert_eq!(needed, 9);
        assert_eq!(seeds_needed(Difference, 2.0, 3.0, Some(&text)), None);
        assert!(seeds_needed(Difference, 2.0, 3.0, None).is_some());
        // Seeds that all say the same leave the error of the text.
        assert_eq!(seeds_needed(Difference, 2.0, 0.0, Some(&text)), None);
        assert_eq!(
            seeds_needed(Difference, 4.0, 0.0, Some(&text)),
            Some(MIN_SEEDS)
        );
        assert_eq!(minimum_detectable_effect(0.0, 3, Some(&text)), None);
    }
}
