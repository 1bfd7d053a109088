//! Initialisation of parameters.

use crate::rng::Key;
use rand::distr::Distribution;
use rand_distr::{Normal, Uniform};

/// Initial values of the elements of a parameter.
#[derive(Clone, Debug)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// All the same.
    Constant(f32),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half the width of the interval.
        bound: f32,
    },
    /// Normal with mean zero.
    Normal {
        /// The standard deviation.
        std: f32,
    },
    /// Normal with mean zero, redrawn where it is more than `cut` standard
    /// deviations from it.
    TruncatedNormal {
        /// The standard deviation before the cut.
        std: f32,
        /// The cut in standard deviations.
        cut: f32,
    },
    /// These elements.
    Values(Vec<f32>),
}

impl Init {
    pub(super) fn fill(&self, key: Key, out: &mut [f32]) {
        match self {
            Init::Zeros => out.fill(0.0),
            Init::Ones => out.fill(1.0),
            Init::Constant(value) => out.fill(*value),
            Init::Uniform { bound } => {
                let mut rng = key.rng();
                let uniform = Uniform::new(-bound, *bound).expect("a positive finite bound");
                out.fill_with(|| uniform.sample(&mut rng));
            }
            Init::Normal { std } => {
                let mut rng = key.rng();
                let normal = Normal::new(0.0, *std).expect("a finite standard deviation");
                out.fill_with(|| normal.sample(&mut rng));
            }
            Init::TruncatedNormal { std, cut } => {
                let mut rng = key.rng();
                let normal = Normal::new(0.0, 1.0).expect("unit normal");
                out.fill_with(|| {
                    loop {
                        let x: f32 = normal.sample(&mut rng);
                        if x.abs() <= *cut {
                            return x * std;
                        }
                    }
                });
            }
            Init::Values(values) => {
                assert_eq!(values.len(), out.len(), "init: wrong number of values");
                out.copy_from_slice(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest magnitude, mean and standard deviation of many elements.
    fn moments(init: &Init) -> [f64; 3] {
        let mut values = vec![0.0; 40_000];
        init.fill(Key::new(1), &mut values);
        let count = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2));
        let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        [largest.into(), mean, (squares.sum::<f64>() / count).sqrt()]
    }

    /// A standard error of the mean is a two-hundredth of the deviation.
    #[test]
    fn random_starts_have_the_mean_and_the_spread_that_they_say() {
        // A normal variable cut at two deviations has a deviation of 0.8796.
        for (init, end, deviation) in [
            (Init::Uniform { bound: 0.3 }, 0.3, 0.3 / 3_f64.sqrt()),
            (Init::Normal { std: 0.1 }, 0.5, 0.1),
            (Init::TruncatedNormal { std: 0.1, cut: 2.0 }, 0.2, 0.08796),
        ] {
            let [largest, mean, found] = moments(&init);
            assert!(
                (0.7 * end..end + 1e-6).contains(&largest),
                "{init:?}: {largest}"
            );
            assert!(mean.abs() < 0.02 * deviation, "{init:?}: {mean}");
            assert!((found / deviation - 1.0).abs() < 0.02, "{init:?}: {found}");
        }
    }
}
