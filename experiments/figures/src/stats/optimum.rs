//! The minimum of a curve that is known at three places.

use super::estimate::{mean, reach};

/// Minimum of the parabola through three points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minimum {
    /// Place of the minimum.
    pub at: f64,
    /// Ends of the 95 % interval of the place over samples.
    pub interval: Option<[f64; 2]>,
    /// Half the second derivative: at a distance d from its minimum the parabola is `curvature d^2`
    /// above it.
    pub curvature: f64,
}

impl Minimum {
    /// The minimum of the mean of curves that are known at the same three places, one for each
    /// sample; `None` if their parabola has none. The interval is by the jackknife that leaves out one
    /// sample at a time, `t(0.975, n - 1) sqrt((n - 1) / n sum_s (m_(s) - mean m)^2)` (J. Tukey, 1958),
    /// around the minimum of all; `None` for one sample, and where the parabola of the others has no
    /// minimum.
    pub fn of(places: [f64; 3], samples: &[[f64; 3]]) -> Option<Self> {
        let without = |left_out: Option<usize>| {
            let kept = samples.iter().enumerate();
            let kept = kept.filter(|(index, _)| Some(*index) != left_out);
            let kept: Vec<[f64; 3]> = kept.map(|(_, sample)| *sample).collect();
            if kept.is_empty() {
                return None;
            }
            let column = |place: usize| kept.iter().map(|one| one[place]).collect::<Vec<f64>>();
            vertex(places, [0, 1, 2].map(|place| mean(&column(place))))
        };
        let (at, curvature) = without(None)?;
        let n = samples.len();
        let moved: Option<Vec<f64>> = (0..n).map(|one| Some(without(Some(one))?.0)).collect();
        let interval = moved.filter(|_| n > 1).map(|moved| {
            let middle = mean(&moved);
            let squares: f64 = moved.iter().map(|one| (one - middle).powi(2)).sum();
            let freedom = (n - 1) as f64;
            let half = reach(freedom, (freedom / n as f64 * squares).sqrt());
            [at - half, at + half]
        });
        Some(Self {
            at,
            interval,
            curvature,
        })
    }
}

/// Place and curvature of the minimum of the parabola through three points, by divided differences.
fn vertex([a, b, c]: [f64; 3], [f, g, h]: [f64; 3]) -> Option<(f64, f64)> {
    let first = (g - f) / (b - a);
    let curvature = ((h - g) / (c - b) - first) / (c - a);
    let at = (a + b) / 2.0 - first / (2.0 * curvature);
    (curvature > 0.0 && at.is_finite()).then_some((at, curvature))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [f64; 3] = [-1.0, 0.5, 2.0];

    fn parabola(at: f64, curvature: f64, lowest: f64) -> [f64; 3] {
        PLACES.map(|x| lowest + curvature * (x - at).powi(2))
    }

    #[test]
    fn a_parabola_is_found_again() {
        let found = Minimum::of(PLACES, &[parabola(0.7, 0.3, 2.0)]).expect("a minimum");
        assert!((found.at - 0.7).abs() < 1e-12 && (found.curvature - 0.3).abs() < 1e-12);
        assert_eq!(found.interval, None, "one sample");
        assert_eq!(Minimum::of(PLACES, &[parabola(0.7, -0.3, 2.0)]), None);
        assert_eq!(Minimum::of(PLACES, &[[1.0, 1.0, 1.0]]), None);
        assert_eq!(Minimum::of(PLACES, &[]), None);
    }

    /// Of curves that differ in their place alone the minimum of the mean is the mean of the minima,
    /// and the jackknife is the standard error of a mean. The places
    /// here have the standard deviation 0.1, and t(0.975, 2) is 4.3027.
    #[test]
    fn the_interval_is_that_of_a_mean_where_curves_differ_in_place_alone() {
        let samples = [0.4, 0.5, 0.6].map(|at| parabola(at, 0.3, 2.0 + at));
        let found = Minimum::of(PLACES, &samples).expect("a minimum");
        let [low, high] = found.interval.expect("three samples");
        let half = 4.302_652_7 * 0.1 / 3.0_f64.sqrt();
        assert!((found.at - 0.5).abs() < 1e-9, "{found:?}");
        assert!((low - 0.5 + half).abs() < 1e-6 && (high - 0.5 - half).abs() < 1e-6);
        let flat = [parabola(0.5, 0.3, 2.0), parabola(0.5, -0.1, 2.0)];
        let found = Minimum::of(PLACES, &flat).expect("of the mean");
        assert_eq!(found.interval, None, "one of the two alone has none");
    }
}
