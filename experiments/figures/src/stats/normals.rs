//! Normal values for simulated experiments.

use statrs::distribution::{ContinuousCDF, Normal};

/// Normal values: the quantile of a uniform one of a linear congruential generator (Knuth's).
pub(super) struct Normals(u64);

impl Normals {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self, sd: f64) -> f64 {
        let step = |x: u64| x.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step(self.0).wrapping_add(1_442_695_040_888_963_407);
        let uniform = ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        sd * Normal::standard().inverse_cdf(uniform)
    }
}
