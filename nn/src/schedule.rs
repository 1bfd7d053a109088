//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// Shape of a learning-rate schedule after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleShape {
    /// The peak throughout.
    Constant,
    /// Half a cosine, from the peak down.
    #[default]
    Cosine,
}

words!(ScheduleShape);

/// A learning rate as a function of the step.
///
/// With peak `p`, `w` warm-up steps, `n` steps in all and smallest rate `f p`:
/// step `s < w` has `p (s + 1) / w`, later ones `p` or
/// `p (f + (1 - f) (1 + cos(pi (s - w) / (n - w))) / 2)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The largest rate.
    pub peak: f64,
    /// Steps of linear warm-up.
    pub warmup: usize,
    /// Steps in all.
    pub steps: usize,
    /// Shape after the warm-up.
    pub shape: ScheduleShape,
    /// Where the cosine ends, as a fraction of the peak.
    pub min_ratio: f64,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        match self.shape {
            ScheduleShape::Constant => self.peak,
            ScheduleShape::Cosine => {
                let length = self.steps.saturating_sub(self.warmup).max(1);
                let done = ((step - self.warmup) as f64 / length as f64).min(1.0);
                let cosine = (1.0 + (std::f64::consts::PI * done).cos()) / 2.0;
                self.peak * (self.min_ratio + (1.0 - self.min_ratio) * cosine)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINE: Schedule = Schedule {
        peak: 2.0,
        warmup: 4,
        steps: 104,
        shape: ScheduleShape::Cosine,
        min_ratio: 0.1,
    };

    #[test]
    fn the_warm_up_is_linear_and_reaches_the_peak() {
        let rates: Vec<f64> = (0..5).map(|step| COSINE.rate(step)).collect();
        assert_eq!(rates, [0.5, 1.0, 1.5, 2.0, 2.0]);
    }

    #[test]
    fn the_cosine_is_half_way_in_the_middle_and_ends_at_its_fraction() {
        assert!((COSINE.rate(54) - 1.1).abs() < 1e-12);
        assert!((COSINE.rate(104) - 0.2).abs() < 1e-12);
        assert!((COSINE.rate(1000) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn a_constant_rate_stays() {
        let constant = Schedule {
            shape: ScheduleShape::Constant,
            warmup: 0,
            ..COSINE
        };
        assert!((0..200).all(|step| constant.rate(step) == 2.0));
    }
}
