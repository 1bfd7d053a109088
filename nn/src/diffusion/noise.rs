//! Noise schedules and the forward process.

use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_2;

/// The decay of the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseKind {
    /// `alpha_bar_t = f(t) / f(0)`, `f(t) = cos²(pi/2 (t/T + s) / (1 + s))`, `s = 0.008`;
    /// betas at most 0.999 (Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic
    /// Models, ICML 2021). It keeps signal longer, which suits small images.
    #[default]
    Cosine,
    /// Betas from `0.1 / T` to `20 / T` in equal steps: 0.0001 to 0.02 for T = 1000 (Ho et
    /// al., 2020), as in DiT.
    Linear,
}

words!(NoiseKind);

settings! {
    /// A schedule as it stands in files.
    #[derive(Copy, Eq)]
    pub struct NoiseConfig {
        /// The decay of the signal.
        pub schedule: NoiseKind = NoiseKind::default(),
        /// T, the number of timesteps.
        pub timesteps: usize = 1000,
    }
}

impl NoiseConfig {
    /// Says what cannot be used, naming the key.
    ///
    /// # Errors
    /// With fewer timesteps than 21 the linear schedule has betas above 1; more than 100,000
    /// are taken for a mistake.
    pub fn validate(&self) -> Result<(), String> {
        if !(21..=100_000).contains(&self.timesteps) {
            return Err(format!(
                "timesteps is {}, expected 21 to 100000",
                self.timesteps
            ));
        }
        Ok(())
    }
}

/// `alpha_bar_t` for t from 0 (the image itself, 1) to T (almost only noise).
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    alpha_bars: Vec<f64>,
}

const COSINE_OFFSET: f64 = 0.008;
const LARGEST_BETA: f64 = 0.999;

impl NoiseSchedule {
    /// `alpha_bar_t = (1 - beta_1) .. (1 - beta_t)`.
    pub fn new(config: NoiseConfig) -> Self {
        let last = config.timesteps;
        let share = |t: usize| t as f64 / last as f64;
        let beta = |t: usize| match config.schedule {
            NoiseKind::Cosine => {
                let angle = |t| FRAC_PI_2 * (share(t) + COSINE_OFFSET) / (1.0 + COSINE_OFFSET);
                let f = |t| angle(t).cos().powi(2);
                (1.0 - f(t) / f(t - 1)).min(LARGEST_BETA)
            }
            NoiseKind::Linear => {
                let [first, rest] = [0.1, 20.0].map(|beta| beta / last as f64);
                first + (rest - first) * (t - 1) as f64 / (last - 1) as f64
            }
        };
        let mut alpha_bars = vec![1.0];
        for t in 1..=last {
            alpha_bars.push(alpha_bars[t - 1] * (1.0 - beta(t)));
        }
        Self { alpha_bars }
    }

    /// T.
    pub fn timesteps(&self) -> usize {
        self.alpha_bars.len() - 1
    }

    /// The share of the variance that is signal at timestep `t`, from 0 to T.
    pub fn alpha_bar(&self, t: usize) -> f64 {
        self.alpha_bars[t]
    }

    /// `x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps`, all of one length.
    ///
    /// # Panics
    /// If a slice has another length.
    #[track_caller]
    pub fn diffuse(&self, noisy: &mut [f32], image: &[f32], noise: &[f32], t: usize) {
        assert_eq!(noisy.len(), image.len(), "diffuse: the image");
        assert_eq!(noisy.len(), noise.len(), "diffuse: the noise");
        let alpha_bar = self.alpha_bar(t);
        let [signal, spread] = [alpha_bar.sqrt() as f32, (1.0 - alpha_bar).sqrt() as f32];
        for (noisy, (x, eps)) in noisy.iter_mut().zip(image.iter().zip(noise)) {
            *noisy = signal * x + spread * eps;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(schedule: NoiseKind, timesteps: usize) -> NoiseSchedule {
        NoiseSchedule::new(NoiseConfig {
            schedule,
            timesteps,
        })
    }

    #[test]
    fn the_signal_fades_from_all_to_next_to_nothing() {
        for kind in [NoiseKind::Cosine, NoiseKind::Linear] {
            for timesteps in [21, 100, 1000, 4000] {
                let schedule = schedule(kind, timesteps);
                assert_eq!(schedule.timesteps(), timesteps);
                assert_eq!(schedule.alpha_bar(0), 1.0);
                let falls = (1..=timesteps).all(|t| {
                    let [before, after] = [t - 1, t].map(|t| schedule.alpha_bar(t));
                    0.0 < after && after < before
                });
                assert!(falls, "{kind:?} over {timesteps}");
                assert!(
                    schedule.alpha_bar(timesteps) < 1e-4,
                    "{kind:?} over {timesteps}"
                );
            }
        }
    }

    #[test]
    fn the_cosine_schedule_is_its_closed_form_until_the_largest_beta() {
        let schedule = schedule(NoiseKind::Cosine, 1000);
        let f = |t: f64| (FRAC_PI_2 * (t / 1000.0 + 0.008) / 1.008).cos().powi(2);
        for t in [1, 10, 500, 999] {
            let expected = f(t as f64) / f(0.0);
            let got = schedule.alpha_bar(t);
            assert!((got - expected).abs() < 1e-12, "{t}: {got} and {expected}");
        }
        let last_beta = 1.0 - schedule.alpha_bar(1000) / schedule.alpha_bar(999);
        assert!((last_beta - 0.999).abs() < 1e-9, "{last_beta}");
    }

    #[test]
    fn the_linear_schedule_is_that_of_ho_et_al() {
        let schedule = schedule(NoiseKind::Linear, 1000);
        let beta = |t: usize| 1.0 - schedule.alpha_bar(t) / schedule.alpha_bar(t - 1);
        assert!((beta(1) - 1e-4).abs() < 1e-12);
        assert!((beta(1000) - 0.02).abs() < 1e-9);
        // The value that their code computes.
        assert!((schedule.alpha_bar(1000) - 4.0358e-5).abs() < 1e-8);
    }

    #[test]
    fn image_and_noise_count_the_roots_of_their_shares_at_this_very_timestep() {
        for kind in [NoiseKind::Cosine, NoiseKind::Linear] {
            let schedule = schedule(kind, 100);
            for t in [0, 1, 40, 99, 100] {
                let mut noisy = [0.0; 3];
                schedule.diffuse(&mut noisy, &[1.0, 0.0, -2.0], &[0.0, 1.0, 0.5], t);
                let share = schedule.alpha_bar(t);
                let [signal, spread] = [share.sqrt(), (1.0 - share).sqrt()];
                let expected = [signal, spread, 0.5 * spread - 2.0 * signal];
                for (x, expected) in noisy.iter().zip(expected) {
                    let error = (f64::from(*x) - expected).abs();
                    assert!(error < 1e-6, "{kind:?} at {t}: {noisy:?}");
                }
            }
        }
    }
}
