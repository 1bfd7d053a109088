//! What a number of seeds can and cannot show.

use super::{MIN_SEEDS, estimate::CONFIDENCE, student_t};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Power for which effects and seeds are computed: four in five such experiments would show it.
pub const POWER: f64 = 0.8;

/// More seeds than anyone will run: a number of seeds is not looked for beyond it.
pub const MAX_SEEDS: usize = 1_000_000;

/// The probability that `n` paired seeds show a mean difference of `effect` standard deviations in
/// a two-sided test at 5 %: `P(|T| > t(0.975, n - 1))` for T of the noncentral t distribution with
/// noncentrality `effect * sqrt(n)`. 0 for fewer than two seeds.
pub fn power(effect: f64, n: usize) -> f64 {
    let Some(freedom) = n.checked_sub(1).filter(|freedom| *freedom > 0) else {
        return 0.0;
    };
    let critical = student_t::quantile((1.0 + CONFIDENCE) / 2.0, freedom);
    student_t::noncentral_two_sided_p(critical, freedom, effect * (n as f64).sqrt())
}

/// The smallest mean difference that `n` paired seeds show with 80 % power ([`power`]), where `sd`
/// is the standard deviation of the differences. `None` for fewer than two seeds.
pub fn minimum_detectable_effect(sd: f64, n: usize) -> Option<f64> {
    if n < 2 {
        return None;
    }
    // Power grows with the effect: double until it suffices, then halve the range.
    let mut high = 1.0;
    while power(high, n) < POWER {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if power(middle, n) < POWER {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high * sd)
}

/// The number of paired seeds that show the effect `mean` with 80 % power ([`power`]); at least
/// [`MIN_SEEDS`]. `None` if the effect is zero or would need over a million.
pub fn seeds_needed(mean: f64, sd: f64) -> Option<usize> {
    let effect = mean.abs() / sd;
    let suffices = |n| power(effect, n) >= POWER;
    if mean == 0.0 || effect.is_nan() || !(effect.is_infinite() || suffices(MAX_SEEDS)) {
        return None;
    }
    if effect.is_infinite() || suffices(MIN_SEEDS) {
        return Some(MIN_SEEDS);
    }
    // Power grows with n, so halve the range (low, high]: high suffices, low does not.
    let (mut low, mut high) = (MIN_SEEDS, MAX_SEEDS);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if suffices(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// [`seeds_needed`] at both ends of the 95 % interval of the standard deviation, of which `n` seeds
/// have seen `sd`: `sd * sqrt((n - 1) / chi2(0.975, n - 1))` to
/// `sd * sqrt((n - 1) / chi2(0.025, n - 1))`. The upper end is a million where it would be more.
pub fn seeds_needed_range(mean: f64, sd: f64, n: usize) -> Option<[usize; 2]> {
    let freedom = n.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    let spread = ChiSquared::new(freedom).expect("at least one degree of freedom");
    let end = |p: f64| sd * (freedom / spread.inverse_cdf(p)).sqrt();
    let low = seeds_needed(mean, end((1.0 + CONFIDENCE) / 2.0))?;
    let high = seeds_needed(mean, end((1.0 - CONFIDENCE) / 2.0));
    Some([low, high.unwrap_or(MAX_SEEDS)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook approximation by the central t distribution,
    /// `(t(0.975, n - 1) + t(0.8, n - 1)) / sqrt(n)`, promises 80 % and has less with few seeds:
    /// the values are R's `power.t.test(type = "paired")`.
    #[test]
    fn the_power_of_few_seeds_is_below_what_the_central_t_promises() {
        for (n, known) in [(3, 0.766), (4, 0.784)] {
            let quantile = |p| student_t::quantile(p, n - 1);
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
            let effect = minimum_detectable_effect(1.0, n).expect("two at least");
            assert!((power(effect, n) - POWER).abs() < 1e-6, "{n}");
        }
        let of = |sd| minimum_detectable_effect(sd, 4).expect("four");
        assert!((of(0.02) - 2.0 * of(0.01)).abs() < 1e-15);
        assert_eq!(minimum_detectable_effect(1.0, 1), None);
    }

    /// J. Cohen (1988), paired t test, two-sided 5 %, power 0.8.
    #[test]
    fn the_seeds_needed_are_those_of_cohen() {
        for (d, cohen) in [(0.2, 199), (0.5, 34), (0.8, 15)] {
            assert_eq!(seeds_needed(-d, 1.0), Some(cohen), "{d}");
        }
    }

    #[test]
    fn the_seeds_needed_are_the_fewest_that_detect_the_effect() {
        for d in [0.05, 0.3, 0.7, 1.1, 1.9] {
            let n = seeds_needed(d, 1.0).expect("finite");
            assert!(power(d, n) >= POWER);
            assert!(n == MIN_SEEDS || power(d, n - 1) < POWER);
        }
    }

    #[test]
    fn no_effect_needs_no_number_of_seeds() {
        assert_eq!(seeds_needed(0.0, 1.0), None);
        assert_eq!(seeds_needed(0.0, 0.0), None);
        assert_eq!(seeds_needed(1e-9, 1.0), None);
        assert_eq!(seeds_needed(0.1, 0.0), Some(MIN_SEEDS));
        assert_eq!(seeds_needed(f64::NAN, 1.0), None);
        assert_eq!(seeds_needed_range(0.1, 0.1, 1), None);
    }

    /// Of four seeds chi2(0.975, 3) = 9.348 and chi2(0.025, 3) = 0.2158: the standard deviation is
    /// known to a factor of 0.567 to 3.729 only.
    #[test]
    fn the_range_of_seeds_is_that_of_the_spread_and_narrows_with_seeds() {
        let four = seeds_needed_range(1.0, 1.0, 4).expect("four");
        let ends = [0.5665, 3.7285].map(|factor| seeds_needed(1.0, factor).expect("finite"));
        assert_eq!(four, ends);
        let [low, high] = seeds_needed_range(1.0, 1.0, 100).expect("a hundred");
        assert!(four[0] <= low && high < four[1]);
        let rare = seeds_needed_range(4e-3, 1.0, 3).expect("below a million");
        assert!(rare[0] < 500_000 && rare[1] == MAX_SEEDS, "{rare:?}");
    }
}
