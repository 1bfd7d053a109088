//! Student's t distribution, as this module needs it.

use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, Normal, StudentsT};

/// Intervals of the rule that integrates over the standard deviation; even.
const INTERVALS: usize = 800;
/// Number of its own standard deviations on either side of 1 that the standard deviation goes.
const REACH: f64 = 10.0;

fn distribution(degrees_of_freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, degrees_of_freedom).expect("degrees of freedom above zero")
}

/// The value below which a share `p` of the distribution lies.
pub(super) fn quantile(p: f64, degrees_of_freedom: f64) -> f64 {
    distribution(degrees_of_freedom).inverse_cdf(p)
}

/// The probability of a value of at least `t`.
pub(super) fn upper_p(t: f64, degrees_of_freedom: f64) -> f64 {
    match t.is_finite() {
        true => distribution(degrees_of_freedom).sf(t),
        false => f64::from(u8::from(t < 0.0)),
    }
}

/// The probability of a value at least as far from zero as `t`; 1 if that is not a number.
pub(super) fn two_sided_p(t: f64, degrees_of_freedom: f64) -> f64 {
    match t.is_finite() {
        true => 2.0 * distribution(degrees_of_freedom).sf(t.abs()),
        false if t.is_nan() => 1.0,
        false => 0.0,
    }
}

/// The probability of a value at least as far from zero as `t` of the noncentral t distribution.
pub(super) fn noncentral_two_sided_p(t: f64, freedom: f64, noncentrality: f64) -> f64 {
    let sides = [noncentrality, -noncentrality];
    sides
        .map(|side| noncentral_upper_p(t, freedom, side))
        .iter()
        .sum()
}

/// The probability of a value of at least `t` of the noncentral t distribution: of
/// `(Z + noncentrality) / S`, Z normal and `S^2` chi-squared over its degrees of freedom. Simpson's
/// rule over S, given which the probability is one of a normal distribution.
pub(super) fn noncentral_upper_p(t: f64, freedom: f64, noncentrality: f64) -> f64 {
    let squared = ChiSquared::new(freedom).expect("degrees of freedom above zero");
    let normal = Normal::standard();
    let spread = REACH / (2.0 * freedom).sqrt();
    let low = (1.0 - spread).max(0.0);
    let step = (1.0 + spread - low) / INTERVALS as f64;
    let at = |s: f64| {
        // At 0 the density of one degree of freedom is that of |Z|, of more it is 0.
        let s = s.max(1e-9);
        // The density itself overflows on the way from 231 to 320 degrees.
        let density = 2.0 * freedom * s * squared.ln_pdf(freedom * s * s).exp();
        density * normal.cdf(noncentrality - t * s)
    };
    let sum: f64 = (0..=INTERVALS)
        .map(|i| {
            let weight = match i {
                0 | INTERVALS => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * at(low + i as f64 * step)
        })
        .sum();
    sum * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tables in every textbook: degrees of freedom, 80 %, 97.5 % and 99.5 % quantiles.
    const TABLE: [(f64, f64, f64, f64); 8] = [
        (1.0, 1.376, 12.706, 63.657),
        (2.0, 1.061, 4.303, 9.925),
        (3.0, 0.978, 3.182, 5.841),
        (4.0, 0.941, 2.776, 4.604),
        (5.0, 0.920, 2.571, 4.032),
        (10.0, 0.879, 2.228, 3.169),
        (30.0, 0.854, 2.042, 2.750),
        (120.0, 0.845, 1.980, 2.617),
    ];

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (df, p80, p975, p995) in TABLE {
            for (p, tabulated) in [(0.8, p80), (0.975, p975), (0.995, p995)] {
                let t = quantile(p, df);
                assert!((t - tabulated).abs() < 6e-4, "{p} at {df}: {t}");
                assert!((quantile(1.0 - p, df) + t).abs() < 1e-9 * t);
            }
        }
    }

    #[test]
    fn quantiles_agree_with_the_closed_forms_of_one_and_two_degrees() {
        for p in [0.6, 0.8, 0.9, 0.975, 0.995, 0.9995] {
            let one = (std::f64::consts::PI * (p - 0.5)).tan();
            let q = 2.0 * p - 1.0;
            let two = q * (2.0 / (1.0 - q * q)).sqrt();
            assert!((quantile(p, 1.0) / one - 1.0).abs() < 1e-8);
            assert!((quantile(p, 2.0) / two - 1.0).abs() < 1e-8);
        }
    }

    #[test]
    fn the_noncentral_distribution_of_noncentrality_zero_is_students() {
        for df in [1.0, 2.0, 3.0, 7.0, 50.0, 240.0, 300.0, 319.0, 1000.0] {
            for t in [0.0, 0.7, 2.5, 12.7] {
                let (central, found) = (two_sided_p(t, df), noncentral_two_sided_p(t, df, 0.0));
                assert!(
                    (found - central).abs() < 1e-6,
                    "{t} {df}: {found} {central}"
                );
            }
        }
    }

    #[test]
    fn the_p_value_undoes_the_quantile() {
        for df in [1.0, 2.0, 3.0, 7.0, 50.0, 1000.0] {
            for p in [0.001, 0.05, 0.3] {
                let t = quantile(1.0 - p / 2.0, df);
                assert!((two_sided_p(t, df) / p - 1.0).abs() < 1e-8);
                assert_eq!(two_sided_p(t, df), two_sided_p(-t, df));
            }
            assert!((two_sided_p(0.0, df) - 1.0).abs() < 1e-12);
        }
    }
}
