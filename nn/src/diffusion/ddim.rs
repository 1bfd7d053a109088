//! From noise to images (Song et al., Denoising Diffusion Implicit Models, ICLR 2021).

use super::NoiseSchedule;

/// One way of going down a schedule.
///
/// A step from timestep `t` to an earlier one, `s`, with the predicted noise `eps`
/// (their equations 12 and 16):
///
/// ```text
/// x_0   = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t)
/// sigma = eta sqrt((1 - a_s) / (1 - a_t)) sqrt(1 - a_t / a_s)
/// x_s   = sqrt(a_s) x_0 + sqrt(1 - a_s - sigma²) eps + sigma z,   z normal
/// ```
///
/// where `a` is `alpha_bar`. With a `range`, `x_0` is clipped to it and `eps` becomes the
/// noise that leads to the clipped one; near T, where `1 / sqrt(a_t)` multiplies every error
/// of the network by thousands, pixels need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ddim {
    /// 0 is deterministic, 1 is DDPM's ancestral sampling.
    pub eta: f64,
    /// The smallest and the largest value of a pixel; `None` clips nothing.
    pub range: Option<[f32; 2]>,
}

/// The timesteps that `steps` steps begin at, from T down: `round(T i / steps)`, `i` from
/// `steps` to 1. After the last one comes 0.
///
/// # Panics
/// If there are no steps or more than T.
#[track_caller]
pub fn timesteps(last: usize, steps: usize) -> Vec<usize> {
    assert!((1..=last).contains(&steps), "ddim: {steps} steps of {last}");
    let nearest = |i: usize| (2 * last * i + steps) / (2 * steps);
    (1..=steps).rev().map(nearest).collect()
}

impl Ddim {
    /// Takes `x` from timestep `t` to `s < t`. `noise` is a normal number for each element;
    /// it is not read where `sigma` is 0.
    ///
    /// # Panics
    /// If the slices have different lengths or `s` is not before `t`.
    #[track_caller]
    pub fn step(
        &self,
        schedule: &NoiseSchedule,
        x: &mut [f32],
        predicted: &[f32],
        (t, s): (usize, usize),
        noise: &[f32],
    ) {
        assert!(s < t, "ddim: from {t} to {s}");
        assert_eq!(x.len(), predicted.len(), "ddim: the prediction");
        let [now, next] = [t, s].map(|t| schedule.alpha_bar(t));
        let [signal, spread] = [now.sqrt(), (1.0 - now).sqrt()];
        let sigma = self.sigma(now, next);
        assert!(sigma == 0.0 || x.len() == noise.len(), "ddim: the noise");
        let direction = (1.0 - next - sigma * sigma).max(0.0).sqrt();
        for (i, (x, &eps)) in x.iter_mut().zip(predicted).enumerate() {
            let (here, mut eps) = (f64::from(*x), f64::from(eps));
            let mut image = (here - spread * eps) / signal;
            if let Some(range) = self.range {
                let [low, high] = range.map(f64::from);
                image = image.clamp(low, high);
                eps = (here - signal * image) / spread;
            }
            let mut y = next.sqrt() * image + direction * eps;
            if sigma > 0.0 {
                y += sigma * f64::from(noise[i]);
            }
            *x = y as f32;
        }
    }

    fn sigma(&self, now: f64, next: f64) -> f64 {
        self.eta * ((1.0 - next) / (1.0 - now) * (1.0 - now / next)).sqrt()
    }
}

/// `eps = eps(no class) + w (eps(c) - eps(no class))`, written over `with_class`.
///
/// Classifier-free guidance (Ho and Salimans, 2022, arXiv 2207.12598). The weight is counted as in
/// DiT, whose `cfg = 1.5` is `w = 1.5`; in the paper's own notation it is `1 + w`. 1 is the
/// conditional prediction, 0 the unconditional one, more than 1 exaggerates what the class changes.
///
/// # Panics
/// If the predictions have different lengths.
#[track_caller]
pub fn guide(with_class: &mut [f32], without: &[f32], weight: f32) {
    assert_eq!(with_class.len(), without.len(), "guide: the predictions");
    // A weight of 1 is the conditional prediction to the last bit.
    for (y, x) in with_class.iter_mut().zip(without) {
        *y += (weight - 1.0) * (*y - x);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NoiseConfig, NoiseKind};
    use super::*;
    use engine::rng::Key;
    use rand::distr::Distribution;
    use rand_distr::StandardNormal;

    fn schedule(schedule: NoiseKind) -> NoiseSchedule {
        NoiseSchedule::new(NoiseConfig {
            schedule,
            ..NoiseConfig::default()
        })
    }

    fn normals(count: usize, seed: u64) -> Vec<f32> {
        let normals: rand::distr::Iter<_, _, f32> =
            StandardNormal.sample_iter(Key::new(seed).rng());
        normals.take(count).collect()
    }

    /// Images of one pixel from a normal distribution.
    const MEAN: f64 = 0.4;
    const DEVIATION: f64 = 0.3;

    /// The best prediction of the noise in `x_t`, in closed form: `E[eps | x_t]`.
    fn predict(schedule: &NoiseSchedule, x: &[f32], t: usize) -> Vec<f32> {
        let a = schedule.alpha_bar(t);
        let variance = a * DEVIATION * DEVIATION + 1.0 - a;
        let eps = |&x: &f32| (1.0 - a).sqrt() * (f64::from(x) - a.sqrt() * MEAN) / variance;
        x.iter().map(|x| eps(x) as f32).collect()
    }

    fn sample(schedule: &NoiseSchedule, ddim: Ddim, steps: usize, mut x: Vec<f32>) -> Vec<f32> {
        let path = timesteps(schedule.timesteps(), steps);
        for (i, &t) in path.iter().enumerate() {
            let s = path.get(i + 1).copied().unwrap_or(0);
            let eps = predict(schedule, &x, t);
            let noise = normals(x.len(), 1000 + t as u64);
            ddim.step(schedule, &mut x, &eps, (t, s), &noise);
        }
        x
    }

    #[test]
    fn without_noise_the_quantiles_of_normal_noise_become_those_of_the_data() {
        // The deterministic path maps -1, 0 and 1 standard deviations of the noise to -1, 0
        // and 1 standard deviations of the data.
        let ddim = Ddim {
            eta: 0.0,
            range: None,
        };
        for kind in [NoiseKind::Cosine, NoiseKind::Linear] {
            let x = sample(&schedule(kind), ddim, 1000, vec![-1.0, 0.0, 1.0]);
            for (x, quantile) in x.iter().zip([-1.0, 0.0, 1.0]) {
                let expected = MEAN + quantile * DEVIATION;
                assert!(
                    (f64::from(*x) - expected).abs() < 0.01,
                    "{kind:?}: {x}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn noise_of_any_amount_ends_in_the_same_distribution() {
        for eta in [0.0, 0.5, 1.0] {
            let ddim = Ddim { eta, range: None };
            let x = sample(&schedule(NoiseKind::Linear), ddim, 1000, normals(20_000, 7));
            let count = x.len() as f64;
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let squares = x.iter().map(|&x| (f64::from(x) - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count).sqrt();
            // Standard errors are 0.002 and 0.0015, the rest is the size of the steps.
            assert!((mean - MEAN).abs() < 0.01, "eta {eta}: mean {mean}");
            assert!(
                (deviation - DEVIATION).abs() < 0.01,
                "eta {eta}: deviation {deviation}"
            );
        }
    }

    #[test]
    fn eta_1_has_the_variance_of_the_posterior_of_ddpm() {
        let schedule = schedule(NoiseKind::Linear);
        let ddim = Ddim {
            eta: 1.0,
            range: None,
        };
        let [now, next] = [400, 399].map(|t| schedule.alpha_bar(t));
        let beta = 1.0 - now / next;
        let posterior = (1.0 - next) / (1.0 - now) * beta;
        assert!((ddim.sigma(now, next).powi(2) - posterior).abs() < 1e-12);
    }

    #[test]
    fn steps_begin_at_the_last_timestep_and_end_at_the_image() {
        assert_eq!(timesteps(1000, 4), [1000, 750, 500, 250]);
        assert_eq!(timesteps(1000, 1), [1000]);
        assert_eq!(timesteps(7, 7), [7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(timesteps(10, 3), [10, 7, 3]);
    }

    /// `x_t` is then made of the clipped image and of what is left of it as noise.
    #[test]
    fn a_clipped_image_goes_on_with_the_noise_that_fits_it() {
        let ddim = Ddim {
            eta: 0.0,
            range: Some([-1.0, 1.0]),
        };
        let schedule = schedule(NoiseKind::Cosine);
        let [now, next] = [600, 400].map(|t| schedule.alpha_bar(t));
        for here in [0.5, -2.0] {
            let (mut x, predicted) = ([here], 40.0 * here);
            ddim.step(&schedule, &mut x, &[predicted], (600, 400), &[]);
            let clipped = -f64::from(here).signum();
            let left = (f64::from(here) - now.sqrt() * clipped) / (1.0 - now).sqrt();
            let expected = next.sqrt() * clipped + (1.0 - next).sqrt() * left;
            assert!(
                (f64::from(x[0]) - expected).abs() < 1e-6,
                "{x:?}, not {expected}"
            );
        }
    }

    #[test]
    fn pixels_never_leave_their_range() {
        let ddim = Ddim {
            eta: 0.0,
            range: Some([-1.0, 1.0]),
        };
        let schedule = schedule(NoiseKind::Cosine);
        let mut x = [0.5, -2.0, 3.0];
        ddim.step(&schedule, &mut x, &[40.0, -40.0, 0.0], (1000, 0), &[]);
        assert_eq!(x, [-1.0, 1.0, 1.0]);
    }

    #[test]
    fn weight_1_is_conditional_0_unconditional_and_2_goes_as_far_again() {
        let guided = |weight| {
            let mut eps = [0.3, -1.5];
            guide(&mut eps, &[0.1, 0.5], weight);
            eps
        };
        assert_eq!(guided(1.0), [0.3, -1.5]);
        let near = |a: [f32; 2], b: [f32; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(guided(0.0), [0.1, 0.5]));
        assert!(near(guided(2.0), [0.5, -3.5]));
    }
}
