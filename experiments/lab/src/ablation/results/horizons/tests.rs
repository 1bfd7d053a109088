use super::*;
use crate::{ablation::results::tests::run, run_dir::RunId};

/// A run of 1000 tokens for each unit of length; the arm has 1.05 times the operations.
fn long(arm: &Arm, seed: u64, loss: Option<f64>) -> RunResult {
    let times = arm.horizon.expect("a length");
    let mut summary = run(&arm.name, seed, loss, 10.0).summary().clone();
    summary.tokens = 1000 * times;
    summary.flops_per_token = if arm.is_baseline() { 2000 } else { 2100 };
    let id = RunId {
        arm: arm.name.clone(),
        seed,
        path: Default::default(),
    };
    RunResult::new(id, summary, &[])
}

/// Losses of the baseline and of the arm at 1, 2 and 4 times the length, seed by seed.
fn over(losses: [[[Option<f64>; 3]; 3]; 2]) -> Horizons {
    let kinds = [Arm::pre_norm(), Arm::of("arm", "arm", &Default::default())];
    let mut arms = Vec::new();
    let mut runs = Vec::new();
    for (kind, losses) in kinds.iter().zip(losses) {
        for (times, losses) in [1, 2, 4].into_iter().zip(losses) {
            let arm = kind.at_horizon(times);
            let of_seeds = (0..3)
                .zip(losses)
                .map(|(seed, loss)| long(&arm, seed, loss));
            runs.push(of_seeds.collect::<Vec<_>>());
            arms.push(arm);
        }
    }
    let runs: Vec<&[RunResult]> = runs.iter().map(|runs| &runs[..]).collect();
    Horizons::of(&arms, &runs).expect("several lengths")
}

fn same(loss: f64) -> [Option<f64>; 3] {
    [Some(loss); 3]
}

const BASE: [f64; 3] = [3.0, 2.8, 2.6];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-3
}

/// The baseline loses 0.2 with every doubling, so an arm that is 0.1 below has the tokens of half a
/// doubling more. At the most tokens that lies beyond what was trained. Of seeds 0.02 apart the loss
/// is known to t(0.975, 2) 0.02 / sqrt(3) = 0.0497: between a quarter and three quarters of a doubling.
#[test]
fn a_multiplier_is_read_off_the_losses_of_the_baseline() {
    let spread = |loss: f64| [Some(loss - 0.02), Some(loss), Some(loss + 0.02)];
    let all = over([BASE.map(same), [spread(2.9), same(2.7), same(2.5)]]);
    let [base, arm] = &all.arms[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (&*base.name, &*arm.name, &*arm.label),
        ("pre-norm", "arm", "arm")
    );
    assert!(
        base.points
            .iter()
            .all(|point| point.tokens_multiplier.is_none())
    );
    let root = 2.0_f64.sqrt();
    let first = arm.points[0].tokens_multiplier.expect("a baseline");
    assert!(
        close(first.value, root) && first.bound.is_none(),
        "{first:?}"
    );
    let share = 0.049_683 / 0.2;
    assert!(
        close(first.low.expect("within"), 2.0_f64.powf(0.5 - share)),
        "{first:?}"
    );
    assert!(
        close(first.high.expect("within"), 2.0_f64.powf(0.5 + share)),
        "{first:?}"
    );
    let flops = arm.points[0].flops_multiplier.expect("a baseline");
    assert!(
        close(flops.value, root / 1.05)
            && close(
                flops.low.expect("within"),
                first.low.expect("within") / 1.05
            )
    );
    assert!(close(
        arm.points[1].tokens_multiplier.expect("a baseline").value,
        root
    ));
    let last = arm.points[2].tokens_multiplier.expect("a baseline");
    assert!(
        close(last.value, 1.0) && last.bound == Some(Bound::AtLeast),
        "{last:?}"
    );
    assert_eq!(last.high, None);
    assert!(arm.law.is_some_and(|law| law.is_at_an_end()) && arm.points[2].tokens == 4000);
}

/// A gap of -0.1, -0.05 and -0.025 falls as the tokens to the power -1.
#[test]
fn a_gap_that_halves_with_every_doubling_has_the_exponent_one() {
    let with = |gaps: [f64; 3]| {
        let at = |(loss, gap): (f64, f64)| [-0.001, 0.0, 0.001].map(|seed| Some(loss + gap + seed));
        let mut arm = BASE.into_iter().zip(gaps).map(at);
        let arm = [(); 3].map(|()| arm.next().expect("three"));
        over([BASE.map(same), arm]).arms[1].clone()
    };
    let p = with([-0.1, -0.05, -0.025]).gap_exponent.expect("one sign");
    assert!(close(p.value, 1.0), "{p:?}");
    assert!(p.low.is_some_and(|low| 0.8 < low && low < 1.0), "{p:?}");
    assert!(p.high.is_some_and(|high| 1.0 < high && high < 1.2), "{p:?}");
    assert!(with([-0.1, -0.05, 0.025]).gap_exponent.is_none());
}

#[test]
fn a_seed_that_did_not_end_well_at_every_length_is_left_out_everywhere() {
    let mut arm = [2.9, 2.7, 2.5].map(same);
    arm[2][1] = None;
    arm[0][1] = Some(9.0);
    let arm = over([BASE.map(same), arm]).arms[1].clone();
    assert_eq!(arm.seeds, [0, 2]);
    assert!(close(arm.points[0].val_loss, 2.9));
    // A length at which none has ended is left out itself.
    let none = over([BASE.map(same), [same(2.9), same(2.7), [None; 3]]]).arms[1].clone();
    assert_eq!(none.points.len(), 2);
    let nothing = over([BASE.map(same), [[None; 3]; 3]]).arms[1].clone();
    assert!(nothing.points.is_empty() && nothing.gap_exponent.is_none());
}

#[test]
fn a_baseline_that_does_not_fall_gives_no_multiplier() {
    let arm = over([[same(2.6), same(3.1), same(3.0)], BASE.map(same)]).arms[1].clone();
    assert!(
        arm.points
            .iter()
            .all(|point| point.tokens_multiplier.is_none())
    );
}
