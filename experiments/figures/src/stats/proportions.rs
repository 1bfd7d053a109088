//! Comparison of two counts, such as runs that diverged.

use super::estimate::CONFIDENCE;
use statrs::distribution::{ContinuousCDF, Discrete, Hypergeometric, Normal};

/// A number of cases, `with` out of `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proportion {
    /// Cases that have the property.
    pub with: u64,
    /// All cases.
    pub all: u64,
}

impl Proportion {
    /// The share; `None` of no cases.
    pub fn share(self) -> Option<f64> {
        (self.all > 0).then(|| self.with as f64 / self.all as f64)
    }

    /// Ends of Wilson's score interval at 95 % (E. Wilson, "Probable inference, the law of
    /// succession, and statistical inference", 1927); all of 0 to 1 without cases.
    fn interval(self) -> [f64; 2] {
        let Some(share) = self.share() else {
            return [0.0, 1.0];
        };
        let n = self.all as f64;
        let z = Normal::standard().inverse_cdf((1.0 + CONFIDENCE) / 2.0);
        let scale = 1.0 + z * z / n;
        let centre = (share + z * z / (2.0 * n)) / scale;
        let reach = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / scale;
        // At 0 and 1 one end is exact, and rounding would move it.
        let low = if self.with == 0 { 0.0 } else { centre - reach };
        let high = if self.with == self.all {
            1.0
        } else {
            centre + reach
        };
        [low, high]
    }

    /// The share minus that of `other`, with the ends of its 95 % interval by the hybrid score
    /// method: with shares p and q and their Wilson intervals,
    /// `p - q - sqrt((p - p_low)^2 + (q_high - q)^2)` to
    /// `p - q + sqrt((p_high - p)^2 + (q - q_low)^2)` (R. Newcombe, "Interval estimation for the
    /// difference between independent proportions", 1998, method 10). `None` where one has no cases.
    pub fn minus(self, other: Self) -> Option<(f64, [f64; 2])> {
        let (p, q) = (self.share()?, other.share()?);
        let ([p_low, p_high], [q_low, q_high]) = (self.interval(), other.interval());
        let low = f64::hypot(p - p_low, q_high - q);
        let high = f64::hypot(p_high - p, q - q_low);
        Some((p - q, [p - q - low, p - q + high]))
    }

    /// Two-sided p value of equal proportions by Fisher's exact test: the probability, given all
    /// margins, of the tables that are no more probable than this one (R. Fisher, "Statistical
    /// methods for research workers", 1934). 1 where one has no cases.
    pub fn fisher_p(self, other: Self) -> f64 {
        /// Rounding must not make equally probable tables differ.
        const EQUAL: f64 = 1.0 + 1e-7;
        let [with, all] = [self.with + other.with, self.all + other.all];
        let tables = Hypergeometric::new(all, with, self.all).expect("parts of a whole");
        let this = tables.pmf(self.with);
        let fewest = with.saturating_sub(other.all);
        let probable = (fewest..=with.min(self.all)).map(|k| tables.pmf(k));
        let as_rare = probable.filter(|p| *p <= this * EQUAL);
        as_rare.sum::<f64>().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(with: u64, all: u64) -> Proportion {
        Proportion { with, all }
    }

    /// The lady who tastes tea, 34/70; R's `fisher.test` of convictions of twins, of job
    /// satisfaction's corner, and of what every textbook computes by hand.
    #[test]
    fn fisher_is_that_of_the_textbooks() {
        for (a, b, known) in [
            (of(3, 4), of(1, 4), 34.0 / 70.0),
            (of(10, 13), of(2, 17), 0.000_536_7),
            (of(0, 4), of(4, 4), 2.0 / 70.0),
            (of(0, 3), of(3, 3), 0.1),
            (of(1, 8), of(0, 8), 1.0),
            (of(0, 8), of(6, 8), 0.006_993),
            (of(0, 5), of(0, 5), 1.0),
            (of(0, 0), of(3, 5), 1.0),
        ] {
            for (a, b) in [(a, b), (b, a)] {
                assert!(
                    (a.fisher_p(b) - known).abs() < 1e-6,
                    "{a:?} {b:?}: {}",
                    a.fisher_p(b)
                );
            }
        }
    }

    /// All tables of the margins, each as often as Fisher says: a p value at or below 5 % has a
    /// probability of at most 5 %.
    #[test]
    fn fisher_is_never_wrong_more_often_than_it_says() {
        for (n, with) in [(4, 4), (6, 5), (12, 7)] {
            let tables = Hypergeometric::new(2 * n, with, n).expect("a whole");
            let shown = |k: &u64| of(*k, n).fisher_p(of(with - k, n)) <= 0.05;
            let wrong: f64 = (0..=with.min(n)).filter(shown).map(|k| tables.pmf(k)).sum();
            assert!(wrong <= 0.05 + 1e-12, "{n} {with}: {wrong}");
        }
    }

    /// Table II of Newcombe (1998), method 10.
    #[test]
    fn the_interval_is_that_of_newcombe() {
        for (a, b, low, high) in [
            (of(56, 70), of(48, 80), 0.0524, 0.3339),
            (of(9, 10), of(3, 10), 0.1705, 0.8090),
            (of(6, 7), of(2, 7), 0.0582, 0.8062),
            (of(5, 56), of(0, 29), -0.0381, 0.1926),
            (of(0, 10), of(0, 20), -0.1611, 0.2775),
            (of(10, 10), of(0, 20), 0.6791, 1.0),
        ] {
            let (difference, ends) = a.minus(b).expect("cases");
            let share = a.with as f64 / a.all as f64 - b.with as f64 / b.all as f64;
            assert!((difference - share).abs() < 1e-12);
            assert!((ends[0] - low).abs() < 6e-5, "{a:?} {b:?}: {ends:?}");
            assert!((ends[1] - high).abs() < 6e-5, "{a:?} {b:?}: {ends:?}");
            let (_, [back_low, back_high]) = b.minus(a).expect("cases");
            assert!((back_low + ends[1]).abs() < 1e-12 && (back_high + ends[0]).abs() < 1e-12);
        }
        assert_eq!(of(0, 0).minus(of(1, 2)), None);
    }
}
