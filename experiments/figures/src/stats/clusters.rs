//! Uncertainty of a difference that comes from the validation text, beside that from seeds.

use super::{Estimate, estimate::reach, student_t};
use std::collections::BTreeMap;

/// Standard error of a mean over the choice of its clusters: the files of a text, or images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterError {
    /// Standard error.
    pub se: f64,
    /// Number of clusters F, at least 2.
    pub clusters: usize,
    /// Degrees of freedom: `N^2 / sum_f N_f^2 - 1`, at least 1, with N_f of the N values in cluster
    /// f; F - 1 where all clusters are of one size (A. Carter, K. Schnepel and D. Steigerwald,
    /// "Asymptotic behavior of a t-test robust to cluster heterogeneity", 2017).
    pub freedom: f64,
}

impl ClusterError {
    /// The error of the mean of `values`, each in the cluster at its position, by the jackknife that
    /// leaves out one cluster at a time: `sqrt((F - 1) / F sum_f (mean without f - mean)^2)`
    /// (J. Tukey, 1958; of clusters R. Bell and D. McCaffrey, "Bias reduction in standard errors for
    /// linear regression with multi-stage samples", 2002). `None` for fewer than two clusters, and
    /// where a value is not finite.
    ///
    /// # Panics
    /// If there are not as many values as clusters.
    #[track_caller]
    pub fn of(values: &[f64], clusters: &[u32]) -> Option<Self> {
        let (n, m) = (values.len(), clusters.len());
        assert_eq!(n, m, "cluster error: {n} values, {m} clusters");
        let n = n as f64;
        let mean = values.iter().sum::<f64>() / n;
        let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for (value, cluster) in values.iter().zip(clusters) {
            let (sum, count) = sums.entry(*cluster).or_default();
            *sum += value - mean;
            *count += 1.0;
        }
        let f = sums.len() as f64;
        let moves = sums.values().map(|(sum, count)| sum / (n - count));
        let squares: f64 = moves.map(|moved| moved * moved).sum();
        let se = ((f - 1.0) / f * squares).sqrt();
        let of_counts: f64 = sums.values().map(|(_, count)| count * count).sum();
        (sums.len() > 1 && se.is_finite()).then(|| Self {
            se,
            clusters: sums.len(),
            freedom: (n * n / of_counts - 1.0).max(1.0),
        })
    }

    /// Standard error of both sources, with its degrees of freedom, where `variance` of the mean
    /// comes from seeds with their own: `V = V_s + V_t`, and
    /// `V^2 / (V_s^2 / f_s + V_t^2 / f_t)` degrees (F. Satterthwaite, "An approximate distribution
    /// of estimates of variance components", 1946).
    pub(super) fn with(&self, variance: f64, freedom: usize) -> (f64, f64) {
        let text = self.se * self.se;
        let both = variance + text;
        let shares = [(variance, freedom as f64), (text, self.freedom)];
        let inverse = shares.map(|(part, freedom)| (part / both).powi(2) / freedom);
        (both.sqrt(), 1.0 / inverse.iter().sum::<f64>())
    }
}

impl Estimate {
    /// The estimate with `text`, the error of the same mean over the validation text, in its
    /// standard error, interval and p value; the standard deviation stays that over seeds. The
    /// model is one of crossed random effects, `d_sf = mean + a_s + b_f + e_sf` of seed s and
    /// cluster f: the spread of the means of seeds and that of the means of clusters hold `e` both,
    /// so that their sum errs on the wide side. The interval is never narrower than that over seeds.
    pub fn with_text(self, text: &ClusterError) -> Self {
        let (se, freedom) = text.with(self.se * self.se, self.n - 1);
        if !(se.is_finite() && se > 0.0 && self.low.is_finite() && self.high.is_finite()) {
            return self;
        }
        let of_seeds = (self.high - self.low) / 2.0;
        let reach = reach(freedom, se).max(of_seeds);
        Self {
            se,
            freedom,
            low: self.mean - reach,
            high: self.mean + reach,
            p_value: student_t::two_sided_p(self.mean / se, freedom).max(self.p_value),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normals::Normals;

    /// Clusters with the means 1, 3 and 8 around 4, of two values each: as the standard error of
    /// three values with the variance 13, `sqrt(13 / 3)`.
    #[test]
    fn of_equal_clusters_it_is_the_standard_error_of_their_means() {
        let values = [0.0, 2.0, 3.0, 3.0, 10.0, 6.0];
        let error = ClusterError::of(&values, &[7, 7, 1, 1, 2, 2]).expect("three");
        assert!((error.se - (13.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((error.clusters, error.freedom), (3, 2.0));
    }

    /// Mean 2 of (0, 0, 6, 2): without the first cluster 4, without the second 0; half of the sum of
    /// squares, 4. Of sizes 3 and 1 there is `16 / 10 - 1` of a degree, taken as one.
    #[test]
    fn of_unequal_clusters_it_is_the_jackknife() {
        let error = ClusterError::of(&[0.0, 0.0, 6.0, 2.0], &[0, 0, 1, 1]).expect("two");
        assert!((error.se - 2.0).abs() < 1e-12, "{error:?}");
        let error = ClusterError::of(&[1.0, 2.0, 3.0, 6.0], &[0, 0, 0, 1]).expect("two");
        // Without the first cluster 6, without the second 2; the mean is 3.
        assert!((error.se - 5.0_f64.sqrt()).abs() < 1e-12, "{error:?}");
        assert_eq!(error.freedom, 1.0);
    }

    #[test]
    fn one_cluster_and_what_is_not_finite_have_no_error() {
        assert_eq!(ClusterError::of(&[1.0, 2.0], &[3, 3]), None);
        assert_eq!(ClusterError::of(&[1.0, f64::NAN], &[0, 1]), None);
        assert_eq!(ClusterError::of(&[f64::MAX, -f64::MAX], &[0, 1]), None);
        assert_eq!(ClusterError::of(&[], &[]), None);
    }

    fn text(se: f64, clusters: usize) -> ClusterError {
        let freedom = clusters as f64 - 1.0;
        ClusterError {
            se,
            clusters,
            freedom,
        }
    }

    /// Seeds -2, 0, 2 and 4 have the mean 1 and the variance 20/3, so V_s = 5/3 with 3 degrees. With
    /// V_t = 5/3 of 13 clusters: V = 10/3, and 4 / (1/3 + 1/12) = 9.6 degrees.
    #[test]
    fn both_errors_add_as_satterthwaite_has_it() {
        let seeds = Estimate::of(&[-2.0, 0.0, 2.0, 4.0]).expect("four");
        let (se, freedom) = text((5.0_f64 / 3.0).sqrt(), 13).with(seeds.se * seeds.se, 3);
        assert!((se - (10.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((freedom - 9.6).abs() < 1e-12, "{freedom}");
        // Without an error of the text nothing changes, with a large one it is the text's alone.
        assert_eq!(seeds.with_text(&text(0.0, 13)), seeds);
        let large = seeds.with_text(&text(1e6, 13));
        let reach = 2.178_812_8 * 1e6;
        assert!((large.high - 1.0 - reach).abs() < 1.0, "{large:?}");
        assert_eq!((large.sd, large.mean, large.n), (seeds.sd, 1.0, 4));
        assert!(large.p_value > 0.99);
    }

    #[test]
    fn the_interval_is_never_narrower_than_that_of_the_seeds() {
        let seeds = Estimate::of(&[-2.0, 0.0, 2.0, 4.0]).expect("four");
        for se in [1e-9, 0.1, 0.5, 1.0, 2.0] {
            let both = seeds.with_text(&text(se, 50));
            assert!(both.low <= seeds.low && seeds.high <= both.high, "{both:?}");
            assert!(both.p_value >= seeds.p_value);
            assert_eq!(both.excludes_zero(), both.p_value < 0.05);
        }
    }

    /// Share of 2000 tables of seeds and windows in files, all of mean zero, whose interval holds
    /// zero; and of those over seeds alone.
    fn coverage(seeds: usize, files: u32, [of_seed, of_file, rest]: [f64; 3]) -> [f64; 2] {
        const TABLES: usize = 2000;
        const WINDOWS: u32 = 3;
        let mut normals = Normals::new(18);
        let mut held = [0; 2];
        for _ in 0..TABLES {
            let by_file: Vec<f64> = (0..files).map(|_| normals.next(of_file)).collect();
            let clusters: Vec<u32> = (0..files * WINDOWS).map(|unit| unit / WINDOWS).collect();
            let mut units = vec![0.0; clusters.len()];
            let mut means = Vec::new();
            for _ in 0..seeds {
                let by_seed = normals.next(of_seed);
                let row = clusters.iter().map(|&file| by_file[file as usize]);
                let row: Vec<f64> = row.map(|b| by_seed + b + normals.next(rest)).collect();
                means.push(row.iter().sum::<f64>() / row.len() as f64);
                units.iter_mut().zip(&row).for_each(|(sum, x)| *sum += x);
            }
            units.iter_mut().for_each(|sum| *sum /= seeds as f64);
            let alone = Estimate::of(&means).expect("seeds");
            let text = ClusterError::of(&units, &clusters).expect("files");
            for (held, estimate) in held.iter_mut().zip([alone.with_text(&text), alone]) {
                *held += usize::from(!estimate.excludes_zero());
            }
        }
        held.map(|held| held as f64 / TABLES as f64)
    }

    #[test]
    fn the_interval_covers_what_it_says() {
        for (seeds, files, effects) in [
            (4, 40, [1.0, 3.0, 0.3]),
            (4, 12, [1.0, 2.0, 0.5]),
            (8, 40, [1.0, 1.0, 0.3]),
            (8, 100, [0.1, 3.0, 0.3]),
            (16, 40, [1.0, 2.0, 1.0]),
        ] {
            let [both, alone] = coverage(seeds, files, effects);
            assert!((both - 0.95).abs() < 0.015, "{effects:?}: {both} {alone}");
        }
        // Over seeds alone one claims too much where the text decides.
        assert!(coverage(8, 100, [0.1, 3.0, 0.3])[1] < 0.6);
    }
}
