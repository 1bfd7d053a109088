//! The loss of a denoiser by how noisy its images are.

use crate::run_dir::{LossByNoiseLevel, NOISE_LEVELS};
use std::{array, ops::RangeInclusive};

/// Losses of single images, summed by noise level.
///
/// Level `k` holds the timesteps after `k T / NOISE_LEVELS` up to `(k + 1) T / NOISE_LEVELS`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoiseLevels {
    sums: [f64; NOISE_LEVELS],
    counts: [u32; NOISE_LEVELS],
}

impl NoiseLevels {
    /// The timesteps of a level, of T in all.
    pub fn timesteps(level: usize, last: usize) -> RangeInclusive<u32> {
        let end = |level: usize| (level * last / NOISE_LEVELS) as u32;
        end(level) + 1..=end(level + 1)
    }

    /// The level of a timestep, of T in all.
    pub fn of(timestep: u32, last: usize) -> usize {
        let holds = |&level: &usize| Self::timesteps(level, last).contains(&timestep);
        let level = (0..NOISE_LEVELS).find(holds);
        level.expect("a timestep from 1 to T")
    }

    /// Counts one image.
    pub fn add(&mut self, level: usize, loss: f64) {
        self.sums[level] += loss;
        self.counts[level] += 1;
    }

    /// Both together.
    pub fn merged(mut self, other: &Self) -> Self {
        for level in 0..NOISE_LEVELS {
            self.sums[level] += other.sums[level];
            self.counts[level] += other.counts[level];
        }
        self
    }

    /// The mean loss of each level; `None` where there was no image, or it is not finite.
    pub fn means(&self) -> LossByNoiseLevel {
        array::from_fn(|level| {
            let mean = self.sums[level] / f64::from(self.counts[level]);
            Some(mean).filter(|mean| mean.is_finite())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestep_has_one_level() {
        for last in [21, 100, 1000] {
            let all: Vec<u32> = (0..NOISE_LEVELS)
                .flat_map(|level| NoiseLevels::timesteps(level, last))
                .collect();
            assert_eq!(all, (1..=last as u32).collect::<Vec<_>>());
            assert_eq!(NoiseLevels::of(1, last), 0);
            assert_eq!(NoiseLevels::of(last as u32, last), NOISE_LEVELS - 1);
        }
    }

    #[test]
    fn levels_without_images_have_no_loss() {
        let mut levels = NoiseLevels::default();
        levels.add(2, 1.0);
        levels.add(2, 2.0);
        let mut other = NoiseLevels::default();
        other.add(2, 6.0);
        other.add(7, f64::NAN);
        let means = levels.merged(&other).means();
        assert_eq!(means[2], Some(3.0));
        assert_eq!(means.iter().flatten().count(), 1);
    }
}
