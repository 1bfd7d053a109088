//! Denoising diffusion: how images are noised, what a network learns from it, and how noise
//! becomes images again.
//!
//! | what | where |
//! |------|-------|
//! | `alpha_bar_t`, `x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps` | [`NoiseSchedule`] |
//! | steps from `x_t` to `x_s` | [`Ddim`] |
//! | `eps(c)` and `eps(no class)` together | [`guide`] |
//!
//! The network predicts the noise `eps` (Ho et al., Denoising Diffusion Probabilistic Models,
//! NeurIPS 2020, "simple" loss): the mean of `(eps - eps_theta(x_t, t, c))²` over pixels,
//! images and timesteps `t` sampled uniformly from 1 to T. Variances are not learned.

mod ddim;
mod noise;

pub use ddim::{Ddim, guide, timesteps};
pub use noise::{NoiseConfig, NoiseKind, NoiseSchedule};
