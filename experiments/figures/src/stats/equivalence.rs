//! Whether a difference is as good as none: tests against a margin.

use super::{Estimate, student_t};

impl Estimate {
    /// p value of two one-sided tests of `|mean| >= margin`: the larger of those of
    /// `mean <= -margin` and of `mean >= margin` (D. Schuirmann, "A comparison of the two one-sided
    /// tests procedure and the power approach", 1987). Below 5 % where the 90 % interval lies
    /// within the margin: the mean is shown to be equivalent to zero.
    pub fn equivalence_p(&self, margin: f64) -> f64 {
        self.one_sided_p(margin - self.mean.abs())
    }

    /// p value of `|mean| <= margin`, two-sided: below 5 % where the 95 % interval lies beyond the
    /// margin.
    pub fn beyond_p(&self, margin: f64) -> f64 {
        (2.0 * self.one_sided_p(self.mean.abs() - margin)).min(1.0)
    }

    /// The probability of an estimate at least so far above zero.
    fn one_sided_p(&self, distance: f64) -> f64 {
        match (distance / self.se).is_nan() || !self.se.is_finite() {
            true => 1.0,
            false => student_t::upper_p(distance / self.se, self.freedom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 1 of four seeds with the standard error `sqrt(5 / 3)` and 3 degrees of freedom, of which
    /// t(0.95) is 2.353 and t(0.975) is 3.182.
    #[test]
    fn both_tests_meet_five_percent_where_their_intervals_end() {
        let estimate = Estimate::of(&[-2.0, 0.0, 2.0, 4.0]).expect("four");
        let se = (5.0_f64 / 3.0).sqrt();
        for mean in [1.0, -1.0] {
            let estimate = Estimate { mean, ..estimate };
            let p = estimate.equivalence_p(1.0 + 2.353_363 * se);
            assert!((p - 0.05).abs() < 1e-6, "{p}");
            assert!(estimate.equivalence_p(1.0 + 3.0 * se) < 0.05);
            assert!((estimate.equivalence_p(1.0) - 0.5).abs() < 1e-9);
        }
        let far = Estimate {
            mean: -7.0,
            ..estimate
        };
        let p = far.beyond_p(7.0 - 3.182_446 * se);
        assert!((p - 0.05).abs() < 1e-6, "{p}");
        assert!(far.beyond_p(9.0) == 1.0 && far.equivalence_p(1.0) > 0.5);
    }

    #[test]
    fn what_is_known_exactly_is_within_or_beyond() {
        let exact = Estimate::of(&[0.5; 3]).expect("three");
        assert_eq!((exact.equivalence_p(1.0), exact.beyond_p(1.0)), (0.0, 1.0));
        assert_eq!((exact.equivalence_p(0.1), exact.beyond_p(0.1)), (1.0, 0.0));
        assert_eq!(exact.equivalence_p(0.5), 1.0);
        let unknown = Estimate::of(&[f64::MAX, -f64::MAX]).expect("two");
        assert_eq!(unknown.equivalence_p(1.0), 1.0);
    }
}
