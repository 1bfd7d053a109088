//! A mean with its uncertainty.

use super::student_t;
use statrs::function::gamma::ln_gamma;

/// Confidence of all intervals: 95 %, two-sided.
pub const CONFIDENCE: f64 = 0.95;

/// Mean of a sample, `sum x_i / n`.
///
/// # Panics
/// If the sample is empty.
#[track_caller]
pub fn mean(sample: &[f64]) -> f64 {
    assert!(!sample.is_empty(), "mean: the sample is empty");
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    // The sum of finite values can be too large where their mean is not.
    if mean.is_finite() {
        mean
    } else {
        sample.iter().map(|x| x / n).sum()
    }
}

/// The middle of a sample, or the mean of its two middle values; `None` if it is empty.
pub fn median(mut sample: Vec<f64>) -> Option<f64> {
    sample.sort_by(f64::total_cmp);
    let upper = *sample.get(sample.len() / 2)?;
    let lower = sample[(sample.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The value of a sample below which a share `p` of it lies: of the ascending values `x_0` to
/// `x_(n-1)` that at `p (n - 1)`, interpolated (R. Hyndman and Y. Fan, "Sample quantiles in
/// statistical packages", 1996, definition 7). `None` if the sample is empty.
pub fn quantile(mut sample: Vec<f64>, p: f64) -> Option<f64> {
    sample.sort_by(f64::total_cmp);
    let at = p * sample.len().checked_sub(1)? as f64;
    let (low, high) = (sample[at.floor() as usize], sample[at.ceil() as usize]);
    Some(low + at.fract() * (high - low))
}

/// Standard deviation of a sample, `sqrt(sum (x_i - mean)^2 / (n - 1))`; `None` for fewer than
/// two values.
pub fn sd(sample: &[f64]) -> Option<f64> {
    if sample.len() < 2 {
        return None;
    }
    let mean = mean(sample);
    let squares: f64 = sample.iter().map(|x| (x - mean).powi(2)).sum();
    Some((squares / (sample.len() - 1) as f64).sqrt())
}

/// The spread common to several groups, each around its own mean:
/// `sqrt(sum_g (n_g - 1) sd_g^2 / sum_g (n_g - 1))`; `None` if no group has two values.
pub fn pooled_sd<'a>(groups: impl IntoIterator<Item = &'a [f64]>) -> Option<f64> {
    let (mut squares, mut freedom) = (0.0, 0);
    for group in groups {
        if let Some(sd) = sd(group) {
            squares += sd * sd * (group.len() - 1) as f64;
            freedom += group.len() - 1;
        }
    }
    (freedom > 0).then(|| (squares / freedom as f64).sqrt())
}

/// Half-width of the 95 % interval of a standard error with its degrees of freedom.
pub(super) fn reach(freedom: f64, se: f64) -> f64 {
    student_t::quantile((1.0 + CONFIDENCE) / 2.0, freedom) * se
}

/// The mean of a sample with its interval and its test against zero. Values so large that their
/// spread is not finite have an interval without ends and show nothing. Of a sample of paired
/// differences this is the paired t test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Sample size, at least 2.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the sample.
    pub sd: f64,
    /// Standard error of the mean, `sd / sqrt(n)`.
    pub se: f64,
    /// Degrees of freedom of the standard error.
    pub freedom: f64,
    /// Lower end of the 95 % interval, `mean - t(0.975, n - 1) se`.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Two-sided p value of the mean being zero.
    pub p_value: f64,
}

impl Estimate {
    /// The estimate from a sample; `None` for fewer than two values.
    pub fn of(sample: &[f64]) -> Option<Self> {
        let sd = sd(sample)?;
        let n = sample.len();
        let mean = mean(sample);
        let se = sd / (n as f64).sqrt();
        let known = se.is_finite() && mean.is_finite();
        let reach = match known {
            true => reach((n - 1) as f64, se),
            false => f64::INFINITY,
        };
        let p_value = if !known {
            1.0
        } else if se > 0.0 {
            student_t::two_sided_p(mean / se, (n - 1) as f64)
        } else if mean == 0.0 {
            1.0
        } else {
            0.0
        };
        Some(Self {
            n,
            mean,
            sd,
            se,
            freedom: (n - 1) as f64,
            low: if known { mean - reach } else { -reach },
            high: if known { mean + reach } else { reach },
            p_value,
        })
    }

    /// Returns whether zero lies outside the interval.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }

    /// Cohen's d of paired differences, `d_z = mean / sd`; `None` if they do not differ.
    pub fn effect_size(&self) -> Option<f64> {
        (self.sd > 0.0).then(|| self.mean / self.sd)
    }

    /// The effect size without the bias of a small sample, `J(n - 1) d_z` with
    /// `J(m) = Γ(m / 2) / (sqrt(m / 2) Γ((m - 1) / 2))` (L. V. Hedges, "Distribution theory for
    /// Glass's estimator of effect size", 1981): with five seeds `d_z` is a quarter too large on
    /// average. `None` for two seeds, for which there is no such factor, and where `d_z` is.
    pub fn corrected_effect_size(&self) -> Option<f64> {
        let freedom = (self.n - 1) as f64;
        let factor = (ln_gamma(freedom / 2.0) - ln_gamma((freedom - 1.0) / 2.0)).exp()
            / (freedom / 2.0).sqrt();
        self.effect_size()
            .filter(|_| self.n > 2)
            .map(|size| factor * size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-3 * b.abs().max(1.0)
    }

    #[test]
    fn mean_and_spread_are_those_worked_out_by_hand() {
        let sample = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&sample), 5.0);
        assert!((sd(&sample).expect("eight") - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(sd(&[1.0]), None);
    }

    /// W. S. Gosset, "The probable error of a mean" (1908): additional hours of sleep by one
    /// soporific over the other for ten patients; t = 4.06, p = 0.00283, interval 0.70 to 2.46.
    #[test]
    fn students_own_sleep_data_give_his_result() {
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let differences: Vec<f64> = second.iter().zip(first).map(|(b, a)| b - a).collect();
        let estimate = Estimate::of(&differences).expect("ten");
        assert!(close(estimate.mean, 1.58) && close(estimate.sd, 1.2300));
        assert!(close(estimate.mean / estimate.se, 4.0621));
        assert!((estimate.p_value - 0.002833).abs() < 1e-6);
        assert!(close(estimate.low, 0.7001) && close(estimate.high, 2.4599));
        assert!(close(estimate.effect_size().expect("they differ"), 1.2845));
        assert!(estimate.excludes_zero());
    }

    /// By hand `J(2) = Γ(1) / Γ(1/2) = 1 / sqrt(pi)` and `J(4) = Γ(2) / (sqrt(2) Γ(3/2)) =
    /// sqrt(2 / pi)`; for more, Hedges' own approximation `1 - 3 / (4 m - 1)`.
    #[test]
    fn the_corrected_effect_size_has_the_factors_of_hedges() {
        use std::f64::consts::PI;
        let cases = [
            (3, PI.powf(-0.5), 1e-12),
            (5, (2.0 / PI).sqrt(), 1e-12),
            (11, 1.0 - 3.0 / 39.0, 5e-4),
            (41, 1.0 - 3.0 / 159.0, 5e-5),
        ];
        for (n, factor, tolerance) in cases {
            let sample: Vec<f64> = (0..n).map(f64::from).collect();
            let estimate = Estimate::of(&sample).expect("more than two");
            let size = estimate.effect_size().expect("they differ");
            let corrected = estimate.corrected_effect_size().expect("more than two");
            assert!((corrected / size - factor).abs() < tolerance, "{n}");
        }
        let two = Estimate::of(&[1.0, 2.0]).expect("two");
        assert_eq!(two.corrected_effect_size(), None);
    }

    #[test]
    fn quantiles_are_interpolated_between_values() {
        let sample = vec![4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!(quantile(sample.clone(), 0.5), Some(3.0));
        assert_eq!(quantile(sample.clone(), 0.1), Some(1.4));
        assert_eq!(quantile(sample, 1.0), Some(5.0));
        assert_eq!(quantile(Vec::new(), 0.5), None);
    }

    #[test]
    fn one_value_has_no_interval() {
        assert_eq!(Estimate::of(&[-0.1]), None);
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn numbers_of_any_size_have_an_estimate_that_claims_nothing_it_cannot_know() {
        const LARGE: f64 = f64::MAX;
        for sample in [
            &[LARGE, -LARGE][..],
            &[1e308, 1e308, -1e308],
            &[LARGE, LARGE, LARGE],
            &[0.0, 1e200],
            &[f64::INFINITY, 1.0, 2.0],
            &[f64::NAN, 1.0, 2.0],
            &[f64::MIN_POSITIVE, -f64::MIN_POSITIVE],
        ] {
            let estimate = Estimate::of(sample).expect("two at least");
            assert!(
                (0.0..=1.0).contains(&estimate.p_value),
                "{sample:?}: {estimate:?}"
            );
            let _ = (estimate.effect_size(), estimate.corrected_effect_size());
            let _ = (quantile(sample.to_vec(), 0.3), median(sample.to_vec()));
        }
        assert_eq!(mean(&[1e308, 1e308]), 1e308);
        let spread = Estimate::of(&[LARGE, -LARGE]).expect("two");
        assert!(!spread.excludes_zero() && spread.p_value == 1.0);
    }

    #[test]
    fn differences_that_are_all_the_same_leave_no_doubt() {
        let estimate = Estimate::of(&[-0.25; 3]).expect("three");
        assert!(estimate.excludes_zero());
        assert_eq!((estimate.p_value, estimate.effect_size()), (0.0, None));
    }

    #[test]
    fn equal_runs_are_no_effect() {
        let estimate = Estimate::of(&[0.0; 4]).expect("four");
        assert!(!estimate.excludes_zero());
        assert_eq!((estimate.p_value, estimate.effect_size()), (1.0, None));
    }

    #[test]
    fn the_pooled_spread_weighs_groups_by_their_freedom() {
        // Variances 1 and 4 with 2 and 1 degrees of freedom: (2 * 1 + 1 * 8) / 3.
        let groups: [&[f64]; 3] = [&[1.0, 2.0, 3.0], &[10.0, 14.0], &[5.0]];
        let pooled = pooled_sd(groups).expect("three degrees");
        assert!((pooled - (10.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(pooled_sd([&[1.0][..], &[2.0]]), None);
    }
}
