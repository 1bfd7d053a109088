//! Errors relative to reference values.

use serde::Serialize;

/// The worst of a group of compared tensors.
#[derive(Clone, Debug, Serialize)]
pub struct Worst {
    /// The largest difference relative to the largest magnitude of the reference;
    /// infinite if anything is not finite.
    pub error: f64,
    /// The tensor where it was found.
    pub tensor: String,
    /// The error that rounding in f32 explains.
    pub tolerance: f64,
}

impl Worst {
    /// Returns whether the error stays within the tolerance.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// A named result beside its reference.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) got: Vec<f32>,
    pub(super) expected: Vec<f32>,
}

/// Tolerance of a group of tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The largest difference relative to the largest magnitude of the reference.
    pub(super) tolerance: f64,
    /// Every reference counts as at least this share of the largest of its group: what
    /// is zero or nearly so in exact arithmetic is the rounding of its neighbours.
    pub(super) floor: f64,
}

impl Rule {
    /// The worst of `pairs`, `None` if there are none.
    pub(super) fn worst(self, pairs: &[Pair]) -> Option<Worst> {
        let size = |pair: &Pair| largest(pair.expected.iter().map(|&x| f64::from(x)));
        let smallest = self.floor * pairs.iter().map(size).fold(0.0, f64::max);
        let mut worst: Option<Worst> = None;
        for pair in pairs {
            let error = match (difference(pair), size(pair).max(smallest)) {
                (0.0, _) => 0.0,
                (difference, size) if size.is_finite() => difference / size,
                _ => f64::INFINITY,
            };
            if worst.as_ref().is_none_or(|worst| error > worst.error) {
                worst = Some(Worst {
                    error,
                    tensor: pair.name.clone(),
                    tolerance: self.tolerance,
                });
            }
        }
        worst
    }
}

/// The largest magnitude; infinite if anything is not finite.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, x| match x.is_finite() {
        true => x.abs().max(largest),
        false => f64::INFINITY,
    })
}

fn difference(pair: &Pair) -> f64 {
    if pair.got.len() != pair.expected.len() {
        return f64::INFINITY;
    }
    let pairs = pair.got.iter().zip(&pair.expected);
    largest(pairs.map(|(&got, &expected)| f64::from(got) - f64::from(expected)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        tolerance: 1e-4,
        floor: 0.0,
    };

    fn pair(name: &str, got: &[f32], expected: &[f32]) -> Pair {
        Pair {
            name: name.into(),
            got: got.to_vec(),
            expected: expected.to_vec(),
        }
    }

    #[test]
    fn the_worst_tensor_is_named_and_measured_by_its_own_magnitude() {
        let pairs = [
            pair("large", &[100.0, 1.0], &[101.0, 1.0]),
            pair("small", &[0.5, -1.0], &[0.5, -0.9]),
        ];
        let worst = RULE.worst(&pairs).unwrap();
        assert_eq!(worst.tensor, "small");
        assert!((worst.error - 0.1 / 0.9).abs() < 1e-6 && !worst.passes());
    }

    #[test]
    fn a_tensor_that_ought_to_be_zero_is_measured_by_its_neighbours() {
        let pairs = [pair("usual", &[2.0], &[2.0]), pair("zero", &[1e-8], &[0.0])];
        let floor = 1e-3;
        assert!(Rule { floor, ..RULE }.worst(&pairs).unwrap().passes());
        assert_eq!(RULE.worst(&pairs).unwrap().error, f64::INFINITY);
        assert_eq!(RULE.worst(&[pair("x", &[0.0], &[0.0])]).unwrap().error, 0.0);
    }

    #[test]
    fn what_is_not_finite_never_passes() {
        for bad in [f32::NAN, f32::INFINITY] {
            let tolerance = 1e30;
            let rule = Rule { tolerance, ..RULE };
            let pairs = [
                pair("x", &[1.0, bad], &[1.0, 2.0]),
                pair("y", &[1.0], &[1.0]),
            ];
            let worst = rule.worst(&pairs).unwrap();
            assert_eq!((worst.error, &*worst.tensor), (f64::INFINITY, "x"));
            assert!(!worst.passes());
            assert!(!rule.worst(&[pair("x", &[1.0], &[bad])]).unwrap().passes());
        }
    }

    #[test]
    fn a_result_of_another_length_never_passes() {
        let pairs = [pair("x", &[1.0], &[1.0, 1.0])];
        assert!(!RULE.worst(&pairs).unwrap().passes());
    }
}
