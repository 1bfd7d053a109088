//! How parameters start.

use crate::rng::Key;
use rand::distr::Distribution;
use rand_distr::{Normal, Uniform};

/// How the elements of a parameter start.
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
