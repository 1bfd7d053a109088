use super::*;
use crate::{
    ablation::{ABLATIONS, SweepError, Tanh, Unfinished},
    preset::PRESETS,
    run_dir::CONFIG_FILE,
};
use std::{fs, path::Path};

/// `ablation-rate` of preset `smoke`, in this directory.
fn sweep(root: &Path, by: Option<Cost>, settings: &[&str]) -> Sweep {
    let common = PRESETS[0].layers().set(settings).expect("settings");
    let place = (root.to_owned(), "sweep".to_owned());
    let arms = ABLATIONS[0].arms(Tanh::On);
    let sweep = Sweep::new(
        (&ABLATIONS[0]).into(),
        arms,
        &common,
        &[],
        vec![0, 1],
        place,
    );
    let sweep = sweep.and_then(|sweep| sweep.matched_by(by));
    sweep.expect("smoke")
}

/// Steps of equal time for all arms, each of whose steps takes this many times as long.
fn matching(sweep: &Sweep, ratio: f64) -> Matching {
    let cost = CostRatio {
        ratio,
        interval: Some([ratio, ratio]),
    };
    let matched = |(arm, base): (usize, usize)| {
        let name = sweep.arms[arm].name.clone();
        (name, MatchedArm::new(sweep, (arm, base), cost))
    };
    Matching {
        by: Cost::Time,
        arms: sweep.compared().map(matched).collect(),
    }
}

/// The beginning of a run, as far as its steps can be known from it.
fn begin(sweep: &Sweep, arm: &str, seed: u64) {
    let run = sweep.path().join(arm).join(format!("seed{seed}"));
    fs::create_dir_all(&run).expect("space");
    fs::write(run.join(CONFIG_FILE), "").expect("space");
}

fn recorded(sweep: &Sweep, force: bool) -> Result<Option<Matching>, Unfinished> {
    let jobs = sweep.jobs().expect("seeds");
    let again = if force { &jobs[..] } else { &[] };
    Matching::recorded(sweep, again, force)
}

/// A step of 1.25 times the cost: 80 of 100. Baselines stay as they are.
#[test]
fn arms_have_the_steps_that_the_cost_of_their_baseline_buys() {
    let sweep = sweep(Path::new("runs"), Some(Cost::Time), &["train.steps=100"]);
    let matched = matching(&sweep, 1.25).applied_to(&sweep);
    for (arm, config) in matched.arms.iter().zip(&matched.configs) {
        let steps = if arm.is_baseline() { 100 } else { 80 };
        assert_eq!(config.train.steps, steps, "{}", arm.name);
    }
    let lines = matching(&sweep, 1.25).lines(&sweep);
    assert_eq!(
        lines[0],
        "DHC x1: 80 steps for 100 of pre-norm, one takes 1.250 [1.250, 1.250] times as long"
    );
}

#[test]
fn an_arm_with_steps_of_its_own_is_refused() {
    let arms = vec![
        Arm::pre_norm(),
        Arm::of("long", "long", &Default::default()).with("train.steps", 7),
    ];
    let place = ("runs".into(), "test".to_owned());
    let common = PRESETS[0].layers();
    let sweep = Sweep::new((&ABLATIONS[0]).into(), arms, &common, &[], vec![0], place);
    let sweep = sweep.expect("smoke");
    assert!(sweep.clone().matched_by(None).is_ok());
    let error = sweep.matched_by(Some(Cost::Flops)).expect_err("two wishes");
    assert!(matches!(error, SweepError::OwnSteps { .. }), "{error}");
}

#[test]
fn steps_that_were_chosen_stay() {
    let place = tempfile::tempdir().expect("a directory");
    let sweep = sweep(place.path(), Some(Cost::Time), &[]);
    let none = recorded(&sweep, false)
        .expect("nothing there")
        .expect("asked for");
    assert!(!none.is_complete(&sweep));
    begin(&sweep, "pre-norm", 0);
    let chosen = matching(&sweep, 1.3);
    chosen.write(&sweep.path()).expect("space");
    assert_eq!(
        recorded(&sweep, false).expect("sound"),
        Some(chosen.clone())
    );
    begin(&sweep, "dhc-x2", 0);
    assert_eq!(
        recorded(&sweep, false).expect("sound"),
        Some(chosen.clone())
    );
    // Those of an arm that has come since are to be chosen.
    let mut fewer = chosen.clone();
    fewer.arms.remove("dhc-x4");
    fewer.write(&sweep.path()).expect("space");
    let found = recorded(&sweep, false).expect("sound").expect("asked for");
    assert_eq!(found, fewer);
    assert!(!found.is_complete(&sweep) && chosen.is_complete(&sweep));
    // All seeds again are a sweep of its own; one more run that stays, and they are not.
    let again = recorded(&sweep, true).expect("sound").expect("asked for");
    assert!(again.arms.is_empty());
    begin(&sweep, "dhc-x2", 7);
    assert_eq!(recorded(&sweep, true).expect("sound"), Some(fewer));
}

#[test]
fn runs_of_other_steps_are_not_mixed() {
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path();
    let timed = sweep(root, Some(Cost::Time), &[]);
    begin(&timed, "dhc-x2", 5);
    let error = |by, settings: &[&str]| match recorded(&sweep(root, by, settings), false) {
        Err(Unfinished::Matching(error)) => error,
        other => panic!("{other:?}"),
    };
    let by_time = Some(Cost::Time);
    assert!(matches!(
        error(by_time, &[]),
        MatchingError::NotMatched { .. }
    ));
    matching(&timed, 1.3).write(&timed.path()).expect("space");
    let wider = ["model.dim=48"];
    let other = error(by_time, &wider);
    assert!(
        matches!(other, MatchingError::OtherSettings { .. }),
        "{other}"
    );
    for by in [None, Some(Cost::Flops)] {
        let other = error(by, &[]);
        assert!(matches!(other, MatchingError::Matched { .. }), "{other}");
        let all = sweep(root, by, &[]);
        assert!(recorded(&all, true).is_err(), "seed 5 is not done again");
    }
    // Where no run has begun, nothing hangs on steps that were chosen.
    fs::remove_dir_all(timed.path().join("dhc-x2")).expect("it was there");
    assert!(
        recorded(&sweep(root, None, &[]), false)
            .expect("free")
            .is_none()
    );
    let found = recorded(&sweep(root, by_time, &wider), false).expect("free");
    assert!(found.expect("asked for").arms.is_empty());
}

#[test]
fn a_damaged_record_is_an_error() {
    let place = tempfile::tempdir().expect("a directory");
    let sweep = sweep(place.path(), Some(Cost::Time), &[]);
    let sound = matching(&sweep, 1.3);
    fs::create_dir_all(sweep.path()).expect("space");
    for (text, with) in [("1.3", "-1.3"), ("{", "["), ("\"time\"", "\"money\"")] {
        sound.write(&sweep.path()).expect("space");
        let file = sweep.path().join("matching.json");
        let written = fs::read_to_string(&file).expect("a record");
        fs::write(&file, written.replace(text, with)).expect("space");
        let error = Matching::read(&sweep.path()).expect_err(with);
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
