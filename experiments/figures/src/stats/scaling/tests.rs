use super::*;
use crate::stats::{Estimate, mean, normals::Normals};

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() < tolerance
}

/// `1 + 2 (t / 1000)^-0.4`.
fn loss(tokens: f64) -> f64 {
    1.0 + 2.0 * (tokens / 1000.0).powf(-0.4)
}

const TOKENS: [f64; 4] = [1000.0, 2000.0, 4000.0, 8000.0];

fn through(tokens: &[f64]) -> LossCurve {
    let points: Vec<(f64, f64)> = tokens.iter().map(|&t| (t, loss(t))).collect();
    LossCurve::of(&points).expect("it falls")
}

#[test]
fn four_lengths_give_the_power_law_that_they_lie_on() {
    let curve = through(&TOKENS);
    let law = curve.law().expect("four");
    assert!(close(law.exponent, 0.4, 1e-6), "{law:?}");
    assert!(close(law.limit, 1.0, 1e-5) && close(law.excess, 2.0, 1e-5));
    assert!(law.residual < 1e-9);
    let found = curve.tokens_at(loss(3000.0));
    assert!(close(found.tokens, 3000.0, 0.01) && found.bound.is_none());
}

#[test]
fn three_lengths_determine_the_power_law() {
    let curve = through(&TOKENS[..3]);
    let law = curve.law().expect("three");
    assert!(close(law.exponent, 0.4, 1e-6), "{law:?}");
    assert!(close(curve.at(3000.0), loss(3000.0), 1e-6));
}

/// Between 3.0 at 1000 and 2.0 at 4000 the loss is 2.5 at 2000, the middle of the logarithms.
#[test]
fn two_lengths_are_joined_in_the_logarithm() {
    let curve = LossCurve::of(&[(1000.0, 3.0), (4000.0, 2.0)]).expect("it falls");
    assert!(curve.law().is_none());
    assert!(close(curve.tokens_at(2.5).tokens, 2000.0, 1e-6));
    assert!(close(curve.at(2000.0), 2.5, 1e-12));
    let weights = curve.weights(2000.0);
    assert!(close(weights[0], 0.5, 1e-12) && close(weights[1], 0.5, 1e-12));
}

/// So an arm with the loss of the baseline after as many tokens is worth 1, however badly the law fits.
#[test]
fn the_curve_goes_through_its_points() {
    let points = [(1000.0, 3.5), (2000.0, 3.26), (4000.0, 2.9), (8000.0, 2.62)];
    let curve = LossCurve::of(&points).expect("it falls");
    assert!(curve.law().is_some_and(|law| law.residual > 0.01));
    for (tokens, loss) in points {
        assert!(close(curve.at(tokens), loss, 1e-9));
        let found = curve.tokens_at(loss);
        assert!(close(found.tokens / tokens, 1.0, 1e-6), "{found:?}");
    }
}

#[test]
fn nothing_is_read_beyond_the_lengths_that_were_trained() {
    for curve in [through(&TOKENS), through(&TOKENS[..2])] {
        let [low, high] = curve.ends();
        let beyond = curve.tokens_at(curve.at(high) - 0.01);
        assert_eq!((beyond.tokens, beyond.bound), (high, Some(Bound::AtLeast)));
        let before = curve.tokens_at(curve.at(low) + 0.01);
        assert_eq!((before.tokens, before.bound), (low, Some(Bound::AtMost)));
        assert_eq!(curve.tokens_at(f64::NAN).bound, Some(Bound::AtLeast));
    }
}

/// Against finite differences of the fit itself, and as a sum.
#[test]
fn weights_are_what_each_length_does_to_the_curve() {
    let curve = through(&TOKENS);
    for at in [1000.0, 1500.0, 3000.0, 8000.0] {
        let weights = curve.weights(at);
        assert!(close(weights.iter().sum(), 1.0, 1e-9), "{weights:?}");
        let sum: f64 = weights.iter().zip(TOKENS).map(|(w, t)| w * loss(t)).sum();
        assert!(close(sum, curve.at(at), 1e-9));
        for (index, weight) in weights.iter().enumerate() {
            const STEP: f64 = 1e-4;
            let moved = |by: f64| {
                let mut points = TOKENS.map(|t| (t, loss(t)));
                points[index].1 += by;
                LossCurve::of(&points).expect("it falls").at(at)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!(
                close(*weight, slope, 1e-3),
                "{at} {index}: {weight} {slope}"
            );
        }
    }
}

#[test]
fn what_does_not_fall_and_what_is_no_number_has_no_curve() {
    assert_eq!(LossCurve::of(&[]), None);
    assert_eq!(LossCurve::of(&[(1.0, 2.0)]), None);
    assert_eq!(LossCurve::of(&[(1.0, 2.0), (2.0, 2.1)]), None);
    assert_eq!(LossCurve::of(&[(1.0, 2.0), (2.0, f64::NAN)]), None);
    assert_eq!(LossCurve::of(&[(0.0, 2.0), (2.0, 1.0)]), None);
    let rising = TOKENS.map(|t| (t, -loss(t)));
    assert_eq!(LossCurve::of(&rising), None);
    // A straight line in the logarithm is the limit of small exponents.
    let straight = TOKENS.map(|t| (t, 5.0 - 0.1 * t.ln()));
    let curve = LossCurve::of(&straight).expect("it falls");
    assert!(curve.law().is_some_and(PowerLaw::is_at_an_end));
    let weights = curve.weights(3000.0);
    let sum: f64 = weights.iter().zip(straight).map(|(w, (_, l))| w * l).sum();
    assert!(close(sum, curve.at(3000.0), 1e-9));
    assert!(close(curve.at(3000.0), 5.0 - 0.1 * 3000.0_f64.ln(), 1e-3));
}

#[test]
fn the_exponent_of_a_gap_is_that_of_its_power_law() {
    let gaps = |p: f64| TOKENS.map(|t| (t, -0.08 * (t / 1000.0).powf(-p)));
    for p in [-0.5, 0.0, 0.5, 2.0] {
        let found = gap_exponent(&gaps(p)).expect("one sign");
        assert!(close(found, p, 1e-6), "{found}");
        let weights = gap_weights(&TOKENS, p);
        let sum: f64 = weights
            .iter()
            .zip(gaps(p))
            .map(|(w, (_, gap))| w * gap)
            .sum();
        assert!(close(sum, 0.0, 1e-12), "{sum}");
    }
    // Two gaps, 4 to 1 over three doublings: ln 4 / ln 8.
    let two = [(1000.0, 4.0), (8000.0, 1.0)];
    assert!(close(gap_exponent(&two).expect("two"), 2.0 / 3.0, 1e-6));
    assert_eq!(gap_exponent(&[(1000.0, 0.1), (2000.0, -0.1)]), None);
    assert_eq!(gap_exponent(&[(1000.0, 0.1)]), None);
    assert_eq!(gap_exponent(&[(1000.0, 1.0), (2000.0, 1e-9)]), None);
}

#[test]
fn a_set_ends_where_the_test_begins_to_reject() {
    let rejects = |x: f64| !(-1.0..0.25).contains(&x);
    let [low, high] = not_rejected(rejects, 0.0, [-3.0, 3.0]);
    assert!(close(low.expect("an end"), -1.0, 1e-9) && close(high.expect("an end"), 0.25, 1e-9));
    assert_eq!(not_rejected(|_| false, 0.0, [-3.0, 3.0]), [None, None]);
    // From an end of the range there is nowhere to go beyond it.
    assert_eq!(not_rejected(|_| true, 3.0, [-3.0, 3.0])[1], None);
    let [low, high] = not_rejected(|x| x < 3.0, 3.0, [-3.0, 3.0]);
    assert!(close(low.expect("the end itself"), 3.0, 1e-9) && high.is_none());
}

/// Losses of a number of seeds at each length, with a deviation of the seed and one of each run.
fn simulated(normals: &mut Normals, seeds: usize, of: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    let of_seed: Vec<f64> = (0..seeds).map(|_| normals.next(0.004)).collect();
    let at = |tokens: f64, normals: &mut Normals| {
        let runs = of_seed
            .iter()
            .map(|seed| of(tokens) + seed + normals.next(0.004));
        runs.collect()
    };
    TOKENS.iter().map(|&t| at(t, normals)).collect()
}

fn means(losses: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let losses = losses.iter().map(|losses| mean(losses));
    TOKENS.into_iter().zip(losses).collect()
}

/// The sum of arms seed by seed, tested against zero.
fn rejects(parts: &[(f64, &[f64])]) -> bool {
    let seeds = 0..parts[0].1.len();
    let sums = seeds.map(|i| parts.iter().map(|(w, losses)| w * losses[i]).sum());
    let sums: Vec<f64> = sums.collect();
    Estimate::of(&sums).expect("seeds").excludes_zero()
}

fn holds([low, high]: [Option<f64>; 2], truth: f64) -> bool {
    low.is_none_or(|low| low <= truth) && high.is_none_or(|high| truth <= high)
}

/// An arm that is worth 1.3 times the tokens at every length, in 400 simulated experiments.
#[test]
fn the_interval_of_the_multiplier_holds_the_truth() {
    const WORTH: f64 = 1.3;
    let straight = |t: f64| 5.0 - 0.1 * t.ln();
    type Curve = fn(f64) -> f64;
    let cases: [(usize, usize, Curve); 5] = [
        (3, 4, loss),
        (4, 4, loss),
        (8, 4, loss),
        (6, 3, loss),
        (4, 2, straight),
    ];
    for (seeds, lengths, loss) in cases {
        let mut normals = Normals::new(7);
        let mut held = 0;
        for _ in 0..400 {
            let base = simulated(&mut normals, seeds, loss);
            let arm = simulated(&mut normals, seeds, |t| loss(WORTH * t));
            let curve = LossCurve::of(&means(&base)[..lengths]).expect("it falls");
            let place = lengths.min(3) - 2;
            let (tokens, arm) = (TOKENS[place], &arm[place]);
            let found = curve.tokens_at(mean(arm));
            let wrong = |x: f64| {
                let weights = curve.weights(tokens * x.exp());
                let negative = weights.iter().zip(&base).map(|(w, b)| (-w, &b[..]));
                let parts: Vec<_> = [(1.0, &arm[..])].into_iter().chain(negative).collect();
                rejects(&parts)
            };
            let range = curve.ends().map(|end| (end / tokens).ln());
            let set = not_rejected(wrong, (found.tokens / tokens).ln(), range);
            held += usize::from(holds(set, WORTH.ln()));
        }
        let share = held as f64 / 400.0;
        assert!(
            (0.925..0.975).contains(&share),
            "{seeds} {lengths}: {share}"
        );
    }
}

/// A gap of -0.03 that falls as the root of the tokens: well known at the fewest, hardly at the most.
#[test]
fn the_interval_of_the_exponent_holds_the_truth() {
    for seeds in [3, 6] {
        let mut normals = Normals::new(11);
        let (mut held, mut known) = (0_u32, 0_u32);
        for _ in 0..400 {
            let base = simulated(&mut normals, seeds, loss);
            let gap = |t: f64| -0.03 * (t / TOKENS[0]).powf(-0.5);
            let arm = simulated(&mut normals, seeds, |t| loss(t) + gap(t));
            let gaps = means(&arm).into_iter().zip(means(&base));
            let gaps: Vec<(f64, f64)> = gaps.map(|((t, a), (_, b))| (t, a - b)).collect();
            let wrong = |p: f64| {
                let weights = gap_weights(&TOKENS, p);
                let both = weights.iter().zip(arm.iter().zip(&base));
                let parts = both.flat_map(|(w, (a, b))| [(*w, &a[..]), (-w, &b[..])]);
                rejects(&parts.collect::<Vec<_>>())
            };
            let Some(found) = gap_exponent(&gaps) else {
                continue;
            };
            known += 1;
            held += u32::from(holds(not_rejected(wrong, found, GAP_EXPONENTS), 0.5));
        }
        let share = f64::from(held) / f64::from(known);
        assert!(
            (0.925..=0.985).contains(&share),
            "{seeds}: {share} of {known}"
        );
    }
}
