//! What the guard finds, and how it is said.

use super::WATCHED_STEPS;
use std::fmt;

/// Something that does not learn, or not as it should.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// A trainable tensor took no part in the computation of the loss.
    NoGradient {
        /// Full path of the tensor.
        parameter: String,
    },
    /// The gradient of a trainable tensor was exactly zero every time.
    ZeroGradient {
        /// Full path of the tensor.
        parameter: String,
    },
    /// The gradient of a trainable tensor was too small to move it.
    VanishingGradient {
        /// Full path of the tensor.
        parameter: String,
        /// The largest element it ever had.
        largest: f32,
    },
    /// All streams that reach a sublayer, not the first, are copies of one another.
    IdenticalStreams {
        /// The scope of the sublayer, `blocks.1.attn`.
        site: String,
        /// Number of streams.
        rate: usize,
    },
    /// All weights of a mixing matrix are close to 0 or 1.
    SaturatedMix {
        /// The scope of the sublayer.
        site: String,
        /// The largest distance of a weight, in the mean over tokens, from 0 and 1.
        distance: f32,
    },
    /// The constant under the root of a norm is not small against what it normalises.
    LargeEps {
        /// The scope of the sublayer, or `the final norm`.
        site: String,
        /// The part of it in what the root is taken of, in the mean over tokens.
        share: f32,
        /// The constant.
        eps: f32,
    },
}

impl Finding {
    /// The full path of the parameter, or the scope of the sublayer.
    pub fn name(&self) -> &str {
        match self {
            Self::NoGradient { parameter }
            | Self::ZeroGradient { parameter }
            | Self::VanishingGradient { parameter, .. } => parameter,
            Self::IdenticalStreams { site, .. }
            | Self::SaturatedMix { site, .. }
            | Self::LargeEps { site, .. } => site,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said_of(self.name()))
    }
}

impl Finding {
    /// The finding in words, of these names.
    fn said_of(&self, names: &str) -> String {
        match self {
            Self::NoGradient { .. } => {
                format!("{names} received no gradient in {WATCHED_STEPS} steps")
            }
            Self::ZeroGradient { .. } => {
                format!("the gradient of {names} was zero for {WATCHED_STEPS} steps")
            }
            Self::VanishingGradient { largest, .. } => format!(
                "the gradient of {names} never exceeded {largest:.0e} in {WATCHED_STEPS} steps, too \
                 little to move it"
            ),
            Self::IdenticalStreams { rate, .. } => format!(
                "all {rate} streams are still identical at {names} after {WATCHED_STEPS} steps"
            ),
            Self::SaturatedMix { distance, .. } => format!(
                "the mixing matrix at {names} is still saturated after {WATCHED_STEPS} steps: all \
                 its weights are within {distance:.0e} of 0 or 1; the connection's init = \"mild\" \
                 starts it where it can learn"
            ),
            Self::LargeEps { share, eps, .. } => format!(
                "the norm of what {names} reads is {:.0} % eps: states are smaller than the root of \
                 norm.eps = {eps:e}, which shrinks them; set it to 1e-12",
                100.0 * share
            ),
        }
    }

    /// The strength, if findings of a kind differ in it.
    fn strength(&self) -> f32 {
        match self {
            Self::VanishingGradient { largest, .. } => -largest,
            Self::SaturatedMix { distance, .. } => -distance,
            Self::LargeEps { share, .. } => *share,
            _ => 0.0,
        }
    }
}

/// Number of names that a remark spells out.
const NAMES: usize = 3;

/// The findings in words, one sentence for each kind: the strongest is quoted, the first places
/// are named and the others counted.
pub fn remarks(findings: &[Finding]) -> Vec<String> {
    let mut kinds: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let kind = std::mem::discriminant(finding);
        match kinds
            .iter_mut()
            .find(|of| std::mem::discriminant(of[0]) == kind)
        {
            Some(of) => of.push(finding),
            None => kinds.push(vec![finding]),
        }
    }
    let said = kinds.iter().map(|of| {
        let first: Vec<&str> = of
            .iter()
            .take(NAMES)
            .map(|finding| finding.name())
            .collect();
        let mut names = first.join(", ");
        match of.len() - first.len() {
            0 => {}
            more => names.push_str(&format!(" and {more} more")),
        }
        let strongest = of.iter().copied().reduce(|strongest, finding| {
            match finding.strength() > strongest.strength() {
                true => finding,
                false => strongest,
            }
        });
        strongest.expect("a kind has a finding").said_of(&names)
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_said_once_with_its_cure() {
        let saturated = |site: &str, distance| Finding::SaturatedMix {
            site: site.into(),
            distance,
        };
        let findings = [
            saturated("a", 3e-4),
            Finding::ZeroGradient {
                parameter: "w".into(),
            },
            saturated("b", 1e-4),
            saturated("c", 2e-4),
            saturated("d", 2e-4),
        ];
        let said = remarks(&findings);
        assert_eq!(
            said,
            [
                "the mixing matrix at a, b, c and 1 more is still saturated after 10 steps: all \
                 its weights are within 1e-4 of 0 or 1; the connection's init = \"mild\" starts \
                 it where it can learn",
                "the gradient of w was zero for 10 steps",
            ]
        );
        assert_eq!(remarks(&findings[1..2]), [findings[1].to_string()]);
        assert!(remarks(&[]).is_empty());
    }
}
