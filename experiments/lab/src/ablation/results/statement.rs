//! What the runs say of the statements that were written down before them.

use super::{ArmResult, Compared, Delta, RunResult, any_diverged};
use crate::ablation::contrast::{Contrast, Expect, Quantity, Recorded};
use figures::stats::{Aim, Estimate, MIN_SEEDS, seeds_needed_range, shaffer};
use serde::{Serialize, Serializer};
use std::fmt;

/// Verdict on a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Shown as stated.
    Confirmed,
    /// The opposite is shown: the other sign, or a difference beyond the margin.
    Contrary,
    /// A difference was stated, and one within the margin is shown.
    Equivalent,
    /// None of these.
    Undecided,
    /// Fewer than [`MIN_SEEDS`] seeds of all its arms.
    FewSeeds,
    /// A run of one of its arms with one of the declared seeds is missing.
    Unfinished,
    /// A run of one of its arms has diverged or ended without a number, which a mean of the others
    /// would hide.
    Diverged,
    /// Not declared before the runs: nothing is claimed.
    Exploratory,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Confirmed => "confirmed",
            Self::Contrary => "contrary",
            Self::Equivalent => "equivalent",
            Self::Undecided => "undecided",
            Self::FewSeeds => "few seeds",
            Self::Unfinished => "unfinished",
            Self::Diverged => "diverged",
            Self::Exploratory => "exploratory",
        })
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A statement with what the runs say of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// The statement.
    pub statement: String,
    /// Who makes it.
    pub source: Option<String>,
    /// Sum of arms.
    pub contrast: String,
    /// `loss` or, in percentage points, `accuracy`.
    pub of: String,
    /// `lower`, `higher` or `equal`.
    pub expect: String,
    /// The same with the margin, for people.
    #[serde(skip)]
    pub expected: String,
    /// Differences below it are as good as none.
    pub margin: Option<f64>,
    /// `true` if it was recorded before any run had ended.
    pub declared: bool,
    /// Verdict.
    pub outcome: Outcome,
    /// The sum, paired by seed.
    pub estimate: Option<Delta>,
    /// p value of the claim in the outcome; of `undecided` and `exploratory` of the stated one.
    pub p_value: Option<f64>,
    /// The same corrected over all claims on the declared statements ([`shaffer`]).
    pub p_holm: Option<f64>,
    /// Fresh seeds that would decide it, as a range.
    pub seeds_needed: Option<[usize; 2]>,
    /// Seeds that were declared with it; none in records of earlier versions.
    pub declared_seeds: Option<Vec<u64>>,
}

/// Percentage points in a share.
const POINTS: f64 = 100.0;

/// A contrast with its numbers and p values.
struct Tested<'c> {
    recorded: &'c Recorded,
    compared: Compared,
    /// Outcome that needs no p value.
    fixed: Option<Outcome>,
    /// Of the stated claim: a difference or, of `equal`, equivalence.
    p_value: Option<f64>,
    /// Of the claim that contradicts it: equivalence or, of `equal`, a difference beyond the margin.
    p_against: Option<f64>,
}

impl<'c> Tested<'c> {
    fn of(recorded: &'c Recorded, arms: &[ArmResult]) -> Self {
        let Contrast { expect, margin, .. } = recorded.contrast;
        let named = |name: &str| arms.iter().find(|arm| arm.name == name);
        // Seeds added later are a second look; p values are for one.
        let counts = |run: &RunResult| match &recorded.seeds {
            Some(seeds) => seeds.contains(&run.seed),
            None => true,
        };
        let runs = recorded.contrast.arms.keys().map(|name| {
            let runs = named(name).map_or(&[][..], |arm| &arm.runs);
            runs.iter().filter(|run| counts(run)).cloned().collect()
        });
        let runs: Vec<Vec<RunResult>> = runs.collect();
        let weighted = |unit: f64| {
            let weights = recorded.contrast.arms.values();
            let weighted = weights
                .zip(&runs)
                .map(|(weight, runs)| (unit * weight, &runs[..]));
            weighted.collect::<Vec<_>>()
        };
        let compared = match recorded.contrast.of {
            Quantity::Loss => Compared::of_losses(&weighted(1.0)),
            Quantity::Accuracy => Compared::of_accuracies(&weighted(POINTS)),
        };
        let estimate = compared.estimate().filter(|e| e.n >= MIN_SEEDS);
        // An interval with the error of the text is never narrower than that over seeds.
        let largest = |p: &dyn Fn(&Estimate) -> f64| {
            let both = [estimate?, compared.of_seeds?];
            Some(p(&both[0]).max(p(&both[1])))
        };
        let equivalence = margin.and_then(|margin| largest(&|e| e.equivalence_p(margin)));
        let (p_value, p_against) = match expect {
            Expect::Lower | Expect::Higher => (estimate.map(|e| e.p_value), equivalence),
            Expect::Equal => {
                let beyond = margin.and_then(|margin| largest(&|e| e.beyond_p(margin)));
                (equivalence, beyond)
            }
        };
        let planned = recorded.seeds.as_ref().map_or(0, Vec::len);
        let missing = runs.iter().any(|runs| runs.len() < planned);
        let without_number = compared.differences.seeds.len() < planned && !missing;
        let diverged = without_number || runs.iter().any(|runs| any_diverged(runs));
        let fixed = match () {
            _ if !recorded.declared => Some(Outcome::Exploratory),
            _ if diverged => Some(Outcome::Diverged),
            _ if missing => Some(Outcome::Unfinished),
            _ if estimate.is_none() => Some(Outcome::FewSeeds),
            _ => None,
        };
        // What was not declared has a p value, and no outcome.
        let has_p = !diverged && fixed.is_none_or(|fixed| fixed == Outcome::Exploratory);
        Self {
            recorded,
            fixed,
            p_value: p_value.filter(|_| has_p),
            p_against: p_against.filter(|_| has_p),
            compared,
        }
    }

    fn outcome(&self, stated: Option<f64>, against: Option<f64>) -> Outcome {
        const LEVEL: f64 = 0.05;
        let shown = |p: Option<f64>| p.is_some_and(|p| p < LEVEL);
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let expect = self.recorded.contrast.expect;
        let lower = self.compared.estimate().is_some_and(|e| e.mean < 0.0);
        match expect {
            Expect::Equal if shown(stated) => Outcome::Confirmed,
            Expect::Equal if shown(against) => Outcome::Contrary,
            Expect::Equal => Outcome::Undecided,
            _ if shown(stated) => match (expect == Expect::Lower) == lower {
                true => Outcome::Confirmed,
                false => Outcome::Contrary,
            },
            _ if shown(against) => Outcome::Equivalent,
            _ => Outcome::Undecided,
        }
    }

    /// Returns whether this outcome is that of the contradiction, not of what was stated.
    fn contradicts(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Contrary => self.recorded.contrast.expect == Expect::Equal,
            outcome => outcome == Outcome::Equivalent,
        }
    }

    fn seeds_needed(&self) -> Option<[usize; 2]> {
        let Estimate { mean, sd, n, .. } = self.compared.estimate()?;
        let Contrast { expect, margin, .. } = self.recorded.contrast;
        let aim = match expect {
            Expect::Equal => Aim::Within(margin?),
            Expect::Lower | Expect::Higher => Aim::Difference,
        };
        seeds_needed_range(aim, mean, sd, n, self.compared.text.as_ref())
    }
}

impl Statement {
    /// The statements on contrasts of these arms. What was declared is corrected over all
    /// that was declared, seeds or no seeds.
    pub(super) fn all(recorded: &[Recorded], arms: &[ArmResult]) -> Vec<Self> {
        let tested: Vec<Tested<'_>> = recorded.iter().map(|one| Tested::of(one, arms)).collect();
        let declared = || tested.iter().filter(|one| one.recorded.declared);
        let claims = declared().map(|one| (one.p_value.unwrap_or(1.0), one.p_against));
        let mut corrected = shaffer(&claims.collect::<Vec<_>>()).into_iter();
        let statement = |one: &Tested<'_>| {
            let Recorded {
                contrast,
                declared,
                seeds,
            } = one.recorded;
            let (stated, against) = declared.then(|| corrected.next()).flatten().unzip();
            let against = against.flatten();
            let stated = stated.filter(|_| one.p_value.is_some());
            let outcome = one.outcome(stated, against);
            let (p_value, p_holm) = match one.contradicts(outcome) {
                true => (one.p_against, against),
                false => (one.p_value, stated),
            };
            let undecided = outcome == Outcome::Undecided;
            Self {
                statement: contrast.statement.clone(),
                source: contrast.source.clone(),
                contrast: contrast.sum(),
                of: contrast.of.to_string(),
                expect: contrast.expect.to_string(),
                expected: contrast.expected(),
                margin: contrast.margin,
                declared: *declared,
                outcome,
                estimate: Delta::of(&one.compared, None),
                p_value,
                p_holm,
                seeds_needed: one.seeds_needed().filter(|_| undecided),
                declared_seeds: seeds.clone(),
            }
        };
        tested.iter().map(statement).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::results, *};
    use std::collections::BTreeMap;

    fn contrast(arms: &[(&str, f64)], expect: Expect, margin: Option<f64>) -> Recorded {
        let arms = arms.iter().map(|(arm, weight)| (arm.to_string(), *weight));
        Recorded {
            declared: true,
            seeds: None,
            contrast: Contrast {
                statement: "so it is".into(),
                source: None,
                of: Quantity::Loss,
                arms: BTreeMap::from_iter(arms),
                expect,
                margin,
            },
        }
    }

    fn statements(recorded: &[Recorded]) -> Vec<Statement> {
        let losses = results(&[
            ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
            ("low", &[Some(1.951), Some(2.149), Some(2.050), Some(1.95)]),
            ("same", &[Some(2.001), Some(2.199), Some(2.1), Some(2.0)]),
            ("noisy", &[Some(1.8), Some(2.4), Some(2.0), Some(2.1)]),
            ("wild", &[Some(1.9), None, Some(2.0), Some(1.9)]),
        ]);
        Statement::all(recorded, &losses.arms)
    }

    const LOW: &[(&str, f64)] = &[("low", 1.0), ("pre-norm", -1.0)];
    const SAME: &[(&str, f64)] = &[("same", 1.0), ("pre-norm", -1.0)];
    const NOISY: &[(&str, f64)] = &[("noisy", 1.0), ("pre-norm", -1.0)];

    #[test]
    fn a_statement_is_confirmed_or_contradicted_by_sign_and_by_margin() {
        use Expect::{Equal, Higher, Lower};
        use Outcome::{Confirmed, Contrary, Equivalent, Undecided};
        for (arms, expect, margin, outcome) in [
            (LOW, Lower, None, Confirmed),
            (LOW, Higher, None, Contrary),
            (LOW, Equal, Some(0.1), Confirmed),
            (LOW, Equal, Some(0.01), Contrary),
            (SAME, Lower, None, Undecided),
            (SAME, Lower, Some(0.01), Equivalent),
            (SAME, Equal, Some(0.01), Confirmed),
            (SAME, Equal, Some(1e-6), Undecided),
            (NOISY, Lower, Some(0.01), Undecided),
        ] {
            let found = statements(&[contrast(arms, expect, margin)]);
            assert_eq!(found[0].outcome, outcome, "{arms:?} {expect} {margin:?}");
            // The p value is that of what the outcome says.
            let shown = found[0].p_holm.is_some_and(|p| p < 0.05);
            assert_eq!(shown, outcome != Undecided, "{arms:?} {expect} {margin:?}");
        }
    }

    #[test]
    fn sums_of_arms_runs_that_diverged_and_arms_without_runs() {
        let mean = [("low", 0.5), ("same", 0.5), ("pre-norm", -1.0)];
        let wild = [("wild", 1.0), ("pre-norm", -1.0)];
        let none = [("none", 1.0), ("pre-norm", -1.0)];
        let all = [&mean[..], &wild, &none].map(|arms| contrast(arms, Expect::Lower, None));
        let found = statements(&all);
        let expected = [Outcome::Confirmed, Outcome::Diverged, Outcome::FewSeeds];
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.outcome, expected);
        }
        // No p value from the runs that are left; the family stays as large.
        assert_eq!((found[1].p_value, found[1].p_holm), (None, None));
        let p = found[0].p_value.expect("four seeds");
        assert!((found[0].p_holm.expect("declared") - 3.0 * p).abs() < 1e-15);
    }

    #[test]
    fn only_the_declared_seeds_decide_and_all_of_them() {
        let losses = results(&[
            ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
            ("low", &[Some(1.951), Some(2.149), Some(2.050), Some(2.95)]),
        ]);
        let of = |seeds: &[u64]| {
            let mut one = contrast(LOW, Expect::Lower, None);
            one.seeds = Some(seeds.to_vec());
            Statement::all(&[one], &losses.arms).remove(0)
        };
        // The fourth seed contradicts the three that were declared.
        let declared = of(&[0, 1, 2]);
        assert_eq!(declared.outcome, Outcome::Confirmed);
        assert_eq!(declared.estimate.expect("three seeds").seeds, [0, 1, 2]);
        let unfinished = of(&[0, 1, 2, 7]);
        assert_eq!(unfinished.outcome, Outcome::Unfinished);
        assert_eq!((unfinished.p_value, unfinished.p_holm), (None, None));
        assert!(unfinished.seeds_needed.is_none());
    }

    /// Holm over what was declared, whether it can be tested or not, and over nothing else.
    #[test]
    fn p_is_corrected_over_the_declared_and_what_was_not_claims_nothing() {
        let losses = results(&[
            ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1)]),
            ("low", &[Some(1.951), Some(2.149), Some(2.050)]),
        ]);
        let mut all = vec![contrast(LOW, Expect::Lower, None); 3];
        all[1] = contrast(&[("none", 1.0), ("low", -1.0)], Expect::Lower, None);
        all[2].declared = false;
        let found = Statement::all(&all, &losses.arms);
        let p = found[0].p_value.expect("three seeds");
        assert!((found[0].p_holm.expect("declared") - 2.0 * p).abs() < 1e-15);
        assert_eq!(found[1].p_holm, None);
        assert_eq!((found[2].p_holm, found[2].p_value), (None, Some(p)));
        assert_eq!(found[2].outcome, Outcome::Exploratory);
        assert!(found[2].seeds_needed.is_none());
    }

    #[test]
    fn of_what_is_undecided_the_seeds_needed_are_a_range() {
        let losses = results(&[
            ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
            ("noisy", &[Some(1.8), Some(2.4), Some(2.0), Some(1.9)]),
        ]);
        let of = |expect, margin| {
            let all = [contrast(NOISY, expect, margin)];
            Statement::all(&all, &losses.arms).remove(0)
        };
        let lower = of(Expect::Lower, None);
        let delta = lower.estimate.expect("four seeds");
        let [low, high] = delta.seeds_needed_range.expect("a difference");
        assert_eq!(lower.seeds_needed, Some([low, high]));
        assert!(
            of(Expect::Equal, Some(0.15))
                .seeds_needed
                .is_some_and(|[low, _]| low < 20)
        );
        assert_eq!(of(Expect::Equal, Some(1e-9)).seeds_needed, None);
    }
}
