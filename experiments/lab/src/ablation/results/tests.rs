use super::{arm::undisturbed_ms, run::losses, *};
use crate::{
    ablation::{Contrast, Expect, Quantity},
    run_dir::{MetricsRecord, Status, Summary, UnitScore, ValidationUnits},
};
use figures::stats::Verdict;

pub fn run(arm: &str, seed: u64, loss: Option<f64>, ms: f64) -> RunResult {
    let record = |step, val_loss| MetricsRecord {
        step,
        tokens: step * 10,
        train_loss: 3.0,
        val_loss,
        val_accuracy: None,
        val_loss_by_noise_level: None,
        lr: 1e-3,
        grad_norm: 1.0,
        ms,
    };
    let metrics = [
        record(50, loss.map(|loss| loss + 1.0)),
        record(75, None),
        record(100, loss),
    ];
    let id = RunId {
        arm: arm.to_owned(),
        seed,
        path: Default::default(),
    };
    let summary = Summary {
        status: if loss.is_some() {
            Status::Ok
        } else {
            Status::Diverged
        },
        diverged_at_step: loss.is_none().then_some(13),
        steps: 100,
        tokens: 1000,
        final_train_loss: loss,
        final_val_loss: loss,
        best_val_loss: loss,
        final_val_accuracy: None,
        final_val_loss_by_noise_level: None,
        routers: Vec::new(),
        parameters: if arm == "pre-norm" { 1000 } else { 1100 },
        flops_per_token: if arm == "pre-norm" { 2000 } else { 2100 },
        wall_seconds: ms / 10.0,
        median_step_ms: ms,
        backend: "cpu".into(),
        corpus: "text".into(),
        corpus_fingerprint: "00".into(),
        data: None,
        remarks: Vec::new(),
    };
    RunResult::new(id, summary, &metrics)
}

pub fn results(losses: &[(&str, &[Option<f64>])]) -> Results {
    calibrated(losses, None)
}

pub fn calibrated(losses: &[(&str, &[Option<f64>])], calibration: Option<Calibration>) -> Results {
    let seeds: Vec<u64> = (0..losses[0].1.len() as u64).collect();
    let arms: Vec<Arm> = losses
        .iter()
        .map(|(name, _)| match *name {
            "pre-norm" => Arm::pre_norm(),
            name => Arm::of(name, name, &Default::default()),
        })
        .collect();
    let runs = losses
        .iter()
        .map(|(name, losses)| {
            let ms = if *name == "pre-norm" { 10.0 } else { 12.5 };
            let runs = losses.iter().zip(&seeds);
            runs.map(|(&loss, &seed)| run(name, seed, loss, ms))
                .collect()
        })
        .collect();
    Results::of(&arms, &seeds, runs, Measure::Bytes, calibration)
}

/// Results of pre-norm and an arm with three seeds, whose differences are -0.05 in each seed but for
/// `of_seed`, and whose units have the differences `of_unit` beside it.
pub fn with_units(of_seed: [f64; 3], of_unit: &[(u32, f64)], missing: Option<u64>) -> Results {
    let arms = [Arm::pre_norm(), Arm::of("arm", "arm", &Default::default())];
    let clusters: Vec<u32> = of_unit.iter().map(|unit| unit.0).collect();
    let runs = |arm: &str, more: [f64; 3], units: &dyn Fn(f64) -> f64| {
        let one = |(seed, more): (u64, f64)| {
            let loss = 2.0 + 0.1 * seed as f64 + more;
            let score = |unit: &(u32, f64)| UnitScore {
                loss: loss + units(unit.1),
                correct: None,
            };
            let one = run(arm, seed, Some(loss), 10.0);
            if missing == Some(seed) {
                return one;
            }
            one.with_units(ValidationUnits {
                clusters: clusters.clone(),
                scores: of_unit.iter().map(score).collect(),
            })
        };
        (0..3).zip(more).map(one).collect()
    };
    let more = of_seed.map(|more| more - 0.05);
    let runs = vec![
        runs("pre-norm", [0.0; 3], &|_| 0.0),
        runs("arm", more, &|unit| unit),
    ];
    Results::of(&arms, &[0, 1, 2], runs, Measure::Bytes, None)
}

/// Seeds -0.06, -0.05 and -0.04: the variance of the mean is 1e-4 / 3 with 2 degrees of freedom. Three
/// files of the means 0.03, 0 and -0.03 around it: 9e-4 / 3 with 2 degrees. Together 1e-3 / 3, and
/// 100 / (1 / 2 + 81 / 2) = 100 / 41 degrees.
#[test]
fn the_interval_holds_the_errors_of_seeds_and_text() {
    let files = [
        (0, 0.02),
        (0, 0.04),
        (1, 0.0),
        (1, 0.0),
        (2, -0.03),
        (2, -0.03),
    ];
    let results = with_units([-0.01, 0.0, 0.01], &files, None);
    let arm = &results.arms[1];
    let delta = arm.delta.as_ref().expect("three pairs");
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(delta.mean, -0.05), "{delta:?}");
    assert!(
        close(delta.text_se.expect("files"), 3e-4_f64.sqrt()),
        "{delta:?}"
    );
    assert_eq!(delta.text_clusters, Some(3));
    let half = |ends: Option<[f64; 2]>| ends.map(|[low, high]| (high - low) / 2.0).expect("ends");
    assert!(close(
        half(delta.seed_interval),
        4.302_652_73 * (1e-4_f64 / 3.0).sqrt()
    ));
    // t(0.975) of 2 and 3 degrees of freedom is 4.303 and 3.182.
    let t = half(delta.interval) / (1e-3_f64 / 3.0).sqrt();
    assert!(3.182 < t && t < 4.303, "{t}");
    assert_eq!(arm.verdict, Some(Verdict::NoDifferenceShown));
    let of_seeds = with_units([-0.01, 0.0, 0.01], &files, Some(1));
    let arm = &of_seeds.arms[1];
    let delta = arm.delta.as_ref().expect("three pairs");
    assert_eq!((delta.interval, delta.text_se), (delta.seed_interval, None));
    assert_eq!(arm.verdict, Some(Verdict::Better));
    let [with, without] = [&results, &of_seeds].map(|r| r.minimum_detectable_effect);
    assert!(with > without);
}

const BASE: (&str, &[Option<f64>]) = ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1)]);

#[test]
fn differences_are_paired_so_a_small_effect_shows_in_a_large_spread() {
    let results = results(&[BASE, ("arm", &[Some(1.951), Some(2.149), Some(2.050)])]);
    let arm = &results.arms[1];
    let delta = arm.delta.as_ref().expect("three pairs");
    assert!((delta.mean + 0.05).abs() < 1e-9, "{delta:?}");
    let [low, high] = delta.interval.expect("three pairs");
    assert!(low < -0.05 && -0.05 < high && high < 0.0);
    assert_eq!(arm.verdict, Some(Verdict::Better));
    assert!(arm.sd_over_seeds.expect("three") > 0.09);
}

#[test]
fn nothing_is_better_while_its_interval_holds_zero() {
    let results = results(&[BASE, ("arm", &[Some(1.8), Some(2.25), Some(2.1)])]);
    assert_eq!(results.arms[1].verdict, Some(Verdict::NoDifferenceShown));
    assert!(results.minimum_detectable_effect.expect("three pairs") > 0.05);
}

/// Of two arms the smaller p value is doubled and the other one stays, unless it would be the
/// smaller then.
#[test]
fn the_corrected_p_value_beside_the_plain_one_is_holms() {
    let strong = [Some(1.951), Some(2.149), Some(2.050)];
    let weak = [Some(1.9), Some(2.12), Some(2.08)];
    let results = results(&[BASE, ("weak", &weak), ("strong", &strong)]);
    let delta = |arm: usize| results.arms[arm].delta.as_ref().expect("three pairs");
    let p = |arm: usize| delta(arm).p_value.expect("three pairs");
    let corrected = |arm: usize| delta(arm).p_holm.expect("three pairs");
    assert!(p(2) < 0.01 && 0.05 < p(1), "{} {}", p(1), p(2));
    assert!((corrected(2) - 2.0 * p(2)).abs() < 1e-12);
    assert!((corrected(1) - p(1)).abs() < 1e-12);
}

#[test]
fn one_seed_has_a_difference_but_no_interval() {
    let results = results(&[("pre-norm", &[Some(2.0)]), ("arm", &[Some(1.9)])]);
    let delta = results.arms[1].delta.as_ref().expect("a pair");
    assert!((delta.mean + 0.1).abs() < 1e-9 && delta.interval.is_none());
    assert_eq!(results.arms[1].verdict, Some(Verdict::TooFewSeeds));
}

#[test]
fn a_diverged_run_is_counted_and_named_not_averaged() {
    let results = results(&[BASE, ("arm", &[Some(1.9), None, Some(2.0)])]);
    let arm = &results.arms[1];
    assert_eq!(arm.unpaired_seeds, [1]);
    assert_eq!(arm.diverged().count(), 1);
    assert_eq!(arm.delta.as_ref().map(|d| d.seeds.len()), Some(2));
    assert_eq!(arm.val_loss, Some(1.95));
}

/// A seed that diverged in the arm and in its baseline is named too.
#[test]
fn a_seed_that_diverged_on_both_sides_is_named() {
    let results = results(&[
        ("pre-norm", &[Some(2.0), None, Some(2.1)]),
        ("arm", &[Some(1.9), None, Some(2.0)]),
    ]);
    assert_eq!(results.arms[1].unpaired_seeds, [1]);
}

#[test]
fn a_diverged_run_has_no_final_loss_whatever_it_reached_before() {
    let sound = run("arm", 0, Some(2.0), 10.0);
    let mut summary = sound.summary().clone();
    summary.status = Status::Diverged;
    summary.final_val_accuracy = Some(0.5);
    let id = RunId {
        arm: "arm".into(),
        seed: 0,
        path: Default::default(),
    };
    let diverged = RunResult::new(id, summary, &[]);
    assert_eq!((diverged.val_loss, diverged.accuracy), (None, None));
    assert_eq!(diverged.best_val_loss, Some(2.0));
    assert_eq!(losses(&[diverged]), [(0, f64::INFINITY)]);
}

/// What this many seeds show is said of the arm that has the most pairs.
#[test]
fn the_detectable_effect_is_that_of_the_most_pairs() {
    let results = results(&[
        ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
        ("a", &[Some(1.9), Some(2.15), Some(2.0), Some(1.8)]),
        ("b", &[Some(1.9), Some(2.15), None, None]),
    ]);
    let sd = results.sd_of_differences.expect("differences");
    let expected = minimum_detectable_effect(sd, 4, None);
    assert_eq!(results.minimum_detectable_effect, expected);
}

/// The baseline ends at 2 after 1000 tokens. The arm goes from 2.9 at 500 tokens to 1.9 at 1000
/// and is at 2 after 950.
#[test]
fn the_tokens_factor_is_of_the_arm_to_where_the_baseline_ends() {
    let results = results(&[("pre-norm", &[Some(2.0)]), ("arm", &[Some(1.9)])]);
    let factor = results.arms[1].convergence.expect("it gets there").factor;
    assert!((factor - 1000.0 / 950.0).abs() < 1e-9, "{factor}");
}

#[test]
fn accuracies_are_compared_as_losses_are_arm_minus_baseline() {
    let with_accuracy = |arm: &str, seed: u64, accuracy: f64| {
        let mut summary = run(arm, seed, Some(2.0), 10.0).summary().clone();
        summary.final_val_accuracy = Some(accuracy);
        let id = RunId {
            arm: arm.to_owned(),
            seed,
            path: Default::default(),
        };
        RunResult::new(id, summary, &[])
    };
    let arms = [Arm::pre_norm(), Arm::of("arm", "arm", &Default::default())];
    let runs = [("pre-norm", [0.5, 0.6, 0.7]), ("arm", [0.6, 0.65, 0.85])].map(|(arm, all)| {
        let seeds = 0..3;
        seeds
            .zip(all)
            .map(|(seed, a)| with_accuracy(arm, seed, a))
            .collect()
    });
    let results = Results::of(&arms, &[0, 1, 2], runs.to_vec(), Measure::Images, None);
    assert!((results.arms[1].accuracy.expect("images") - 0.7).abs() < 1e-12);
    let delta = results.arms[1].accuracy_delta.as_ref().expect("images");
    assert!((delta.mean - 0.1).abs() < 1e-12, "{delta:?}");
    // In a contrast 10, 5 and 15 percentage points, with a standard error of 2.9; the losses are equal.
    let contrast = |of: Quantity, margin: f64| Recorded {
        contrast: Contrast {
            statement: "it is better".into(),
            source: None,
            of,
            arms: [("arm".to_owned(), 1.0), ("pre-norm".to_owned(), -1.0)].into(),
            expect: Expect::Higher,
            margin: Some(margin),
        },
        declared: true,
        seeds: None,
    };
    let contrasts = [
        contrast(Quantity::Accuracy, 30.0),
        contrast(Quantity::Loss, 0.1),
    ];
    let [accuracy, loss] = &results.with_statements(&contrasts).statements[..] else {
        panic!("two statements");
    };
    let estimate = accuracy.estimate.as_ref().expect("three seeds");
    assert!((estimate.mean - 10.0).abs() < 1e-9, "{estimate:?}");
    assert!(
        (estimate.sd.expect("three seeds") - 5.0).abs() < 1e-9,
        "{estimate:?}"
    );
    assert_eq!(accuracy.outcome, Outcome::Equivalent);
    assert_eq!(loss.estimate.as_ref().map(|delta| delta.mean), Some(0.0));
    assert_eq!(loss.outcome, Outcome::Equivalent);
}

#[test]
fn costs_are_fractions_of_the_baseline() {
    let results = results(&[BASE, ("arm", &[Some(1.9), Some(2.1), Some(2.0)])]);
    let arm = &results.arms[1];
    assert_eq!(arm.extra_parameters, Some(100));
    assert_eq!(arm.extra_parameters_fraction, Some(0.1));
    assert!((arm.extra_flops_fraction.expect("finished") - 0.05).abs() < 1e-12);
}

/// The times are those of the calibration, 15 ms against 10 ms, and not those recorded.
#[test]
fn calibrated_step_times_count() {
    use crate::ablation::calibration::tests::of;
    let losses = [BASE, ("arm", &[Some(1.9), Some(2.1), Some(2.0)][..])];
    let times = of(&[("pre-norm", &[10.0; 3]), ("arm", &[14.0, 15.0, 16.0])]);
    let timed = calibrated(&losses, Some(times));
    let timing = &timed.arms[1].timing;
    assert_eq!(timing.step_ms, Some(15.0));
    assert!((timing.step_spread.expect("rounds") - 2.0 / 15.0).abs() < 1e-12);
    let [low, high] = timing.step_ratio.expect("three rounds");
    assert!(low < 1.4 && 1.6 < high, "{low} {high}");
    let recorded = &results(&losses).arms[1].timing;
    assert_eq!((recorded.step_ms, recorded.step_spread), (Some(12.5), None));
}

/// Each run of the baseline falls by 1 over the second half of its steps: by `1 / ln 2` for each factor
/// e. The ratio of the costs lies within a factor of 1.1 on either side.
#[test]
fn the_error_of_the_costs_is_worth_the_slope_of_the_baseline() {
    let half = 1.1_f64.ln();
    let matching = |baseline: &str| -> Matching {
        let (low, high) = (1.2 / 1.1, 1.2 * 1.1);
        let arm = serde_json::json!({
            "baseline": baseline, "baseline_steps": 100, "steps": 83, "ratio": 1.2,
            "interval": [low, high], "settings": "",
        });
        let matching = serde_json::json!({ "by": "time", "arms": { "arm": arm } });
        serde_json::from_value(matching).expect("a matching")
    };
    let losses = [BASE, ("arm", &[Some(1.9), Some(2.1), Some(2.0)][..])];
    let matched = results(&losses).with_matching(Some(matching("pre-norm")));
    assert_eq!(matched.matched_by, Some(Cost::Time));
    let cost = matched.arms[1].matched.as_ref().expect("it is matched");
    let error = cost.error_in_loss.expect("a curve and an interval");
    assert!((error - half / 2.0_f64.ln()).abs() < 1e-12, "{error}");
    assert!(matched.arms[0].matched.is_none());
    // Beside another baseline the arm has not the steps of equal cost.
    let other = results(&losses).with_matching(Some(matching("other")));
    assert!(other.arms[1].matched.is_none());
}

/// One of three runs had the machine for itself, for two of its steps at that.
#[test]
fn the_time_of_a_step_is_that_of_an_idle_machine() {
    let record = |ms| MetricsRecord {
        step: 1,
        tokens: 1,
        train_loss: 3.0,
        val_loss: None,
        val_accuracy: None,
        val_loss_by_noise_level: None,
        lr: 1e-3,
        grad_norm: 1.0,
        ms,
    };
    let timed = |seed: u64, times: [f64; 5]| {
        let one = run("arm", seed, Some(2.0), 10.0);
        let id = RunId {
            arm: "arm".into(),
            seed,
            path: Default::default(),
        };
        RunResult::new(id, one.summary().clone(), &times.map(record))
    };
    let runs = [
        timed(0, [20.0, 25.0, 24.0, 90.0, 22.0]),
        timed(1, [31.0, 10.0, 10.0, 35.0, 50.0]),
    ];
    assert_eq!(undisturbed_ms(&runs), Some(10.0));
    assert_eq!(undisturbed_ms(&[]), None);
}

#[test]
fn an_arm_that_diverged_in_a_seed_has_a_difference_and_no_verdict() {
    let found = |last| {
        let arm = [Some(1.951), Some(2.149), Some(2.050), last];
        results(&[
            ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
            ("dhc-x8", &arm),
        ])
    };
    let [sound, wild] = [Some(1.95), None].map(found);
    assert_eq!(sound.arms[1].verdict, Some(Verdict::Better));
    assert!(wild.arms[1].delta.is_some());
    assert_eq!(wild.arms[1].verdict, None);
}
