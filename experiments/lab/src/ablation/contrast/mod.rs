//! Statements about sums of arms that are written down before the runs.

mod read;
mod record;

pub(super) use read::{Mistake, check, read_all};
pub(super) use record::record;
pub use record::{CONTRASTS_FILE, Recorded, contrasts_of, recorded_contrasts};

use std::{collections::BTreeMap, fmt};

/// What a statement says of its sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Below zero.
    Lower,
    /// Above zero.
    Higher,
    /// Zero, but for less than a margin.
    Equal,
}

impl Expect {
    /// Every value.
    pub(super) const ALL: [Self; 3] = [Self::Lower, Self::Higher, Self::Equal];
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
            Self::Equal => "equal",
        })
    }
}

/// Quantity of the arms that a statement is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quantity {
    /// Final validation loss, in its unit.
    #[default]
    Loss,
    /// Share of validation images classified correctly, in percentage points.
    Accuracy,
}

impl Quantity {
    /// Every value.
    pub(super) const ALL: [Self; 2] = [Self::Loss, Self::Accuracy];
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy",
        })
    }
}

/// A statement about a weighted sum of the losses, or accuracies, of arms.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The statement, for people.
    pub statement: String,
    /// Who makes it, and where.
    pub source: Option<String>,
    /// Quantity that is summed.
    pub of: Quantity,
    /// Weight of each arm by its name; they sum to zero.
    pub arms: BTreeMap<String, f64>,
    /// What is expected of the sum.
    pub expect: Expect,
    /// Sums below it, in the unit of the quantity, are as good as none.
    pub margin: Option<f64>,
}

impl Contrast {
    /// Returns whether both are of the same sum of the same quantity, or of its negative.
    fn is_of_the_same_sum(&self, other: &Self) -> bool {
        let same = |sign: f64| {
            let both = self.arms.iter().zip(&other.arms);
            self.arms.len() == other.arms.len()
                && both
                    .into_iter()
                    .all(|(a, b)| a.0 == b.0 && *a.1 == sign * b.1)
        };
        self.of == other.of && (same(1.0) || same(-1.0))
    }

    /// The sum in words: `dhc-x4 − dhc-x2`, `0.5 shc-x2 + 0.5 shc-x4 − pre-norm`,
    /// `accuracy of dhc-x4 − dhc-x2`.
    pub fn sum(&self) -> String {
        let of = match self.of {
            Quantity::Loss => "",
            Quantity::Accuracy => "accuracy of ",
        };
        let mut text = String::new();
        let (positive, negative): (Vec<_>, Vec<_>) =
            self.arms.iter().partition(|(_, weight)| **weight > 0.0);
        for (arm, weight) in positive.into_iter().chain(negative) {
            let sign = match (text.is_empty(), *weight < 0.0) {
                (true, false) => "",
                (true, true) => "−",
                (false, false) => " + ",
                (false, true) => " − ",
            };
            let factor = match weight.abs() {
                1.0 => String::new(),
                weight => format!("{weight} "),
            };
            text.push_str(&format!("{sign}{factor}{arm}"));
        }
        format!("{of}{text}")
    }

    /// What is expected, with the margin.
    pub fn expected(&self) -> String {
        let unit = match self.of {
            Quantity::Loss => "",
            Quantity::Accuracy => " points",
        };
        match self.margin {
            Some(margin) => format!("{} (margin {margin}{unit})", self.expect),
            None => self.expect.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arms: &[(&str, f64)]) -> Contrast {
        let arms = arms.iter().map(|(arm, weight)| (arm.to_string(), *weight));
        Contrast {
            statement: "a".into(),
            source: None,
            of: Quantity::Loss,
            arms: arms.collect(),
            expect: Expect::Lower,
            margin: None,
        }
    }

    #[test]
    fn a_sum_is_written_as_one_says_it() {
        let four = of(&[("dhc-x2", -1.0), ("dhc-x4", 1.0)]);
        assert_eq!(four.sum(), "dhc-x4 − dhc-x2");
        let more = of(&[("a", 0.5), ("b", 0.5), ("c", -1.0)]);
        assert_eq!(more.sum(), "0.5 a + 0.5 b − c");
        assert!(four.is_of_the_same_sum(&of(&[("dhc-x2", 1.0), ("dhc-x4", -1.0)])));
        assert!(!four.is_of_the_same_sum(&of(&[("dhc-x1", -1.0), ("dhc-x4", 1.0)])));
        assert!(!four.is_of_the_same_sum(&more));
        let accuracy = Contrast {
            of: Quantity::Accuracy,
            ..four.clone()
        };
        assert_eq!(accuracy.sum(), "accuracy of dhc-x4 − dhc-x2");
        assert!(!four.is_of_the_same_sum(&accuracy));
    }
}
