//! What a trainer makes of its settings: which batch a step sees, how losses and gradients of
//! parts of a batch become one, the rate of every step, and what a run says it has reached.

#[path = "../common/mod.rs"]
mod common;
mod told;

use common::corpus;
use engine::{params::Params, rng::Key, tape::Tape};
use lab::{
    ablation::RunResult,
    config::RunConfig,
    data::{Corpus, Windows},
    run_dir::{RunDir, RunId, Status, read_metrics},
    state::StateError,
    train::{Observer, Quiet, StepReport, TrainError, Trainer},
};
use models::{model::ModelConfig, transformer::Transformer};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const SEQ: usize = 16;
const ROWS: usize = 6;

fn config(overrides: &[&str]) -> RunConfig {
    let training = [
        "train.steps=12",
        "train.batch=6",
        "train.micro_batch=1",
        "train.shards=2",
        "train.warmup=4",
        "train.eval_every=2",
        "train.eval_batches=1",
        "train.log_every=1",
    ];
    common::config(&training, overrides)
}

/// A rate at which nothing is learnt in a few steps.
const STILL: &str = "train.learning_rate=1e-12";
/// Weights that tell one batch from another.
const LARGE: &str = "model.init_std=0.3";

fn transformer(config: &RunConfig) -> (Transformer, Params) {
    let ModelConfig::Transformer(model) = &config.model else {
        panic!("a transformer");
    };
    Transformer::new(model, Key::new(config.train.seed).named("init")).unwrap()
}

/// The loss of a new network on the windows of this seed and step, outside any trainer.
fn loss_of_windows(config: &RunConfig, corpus: &Corpus, step: u64) -> f64 {
    let (model, params) = transformer(config);
    let windows = Windows::new(corpus, SEQ).unwrap();
    let batch = windows.train_batch(config.train.seed, step, ROWS);
    let tape = Tape::new();
    tape.bind(&params);
    let loss = model.loss(&tape, &batch.inputs, &batch.targets, SEQ);
    f64::from(loss.item())
}

#[test]
fn step_k_of_every_arm_trains_on_the_windows_of_seed_and_k() {
    let corpus = corpus();
    for arm in [
        "type=\"pre_norm\"",
        "type=\"hyper\", rate=2",
        "type=\"mhc\"",
    ] {
        let arm = format!("model.connection={{{arm}}}");
        for seed in ["train.seed=0", "train.seed=7"] {
            let config = config(&[STILL, LARGE, &arm, seed]);
            let mut trainer = Trainer::new(&config, &corpus).unwrap();
            let mut losses = Vec::new();
            for step in 0..4 {
                let loss = trainer.step().loss;
                let expected = loss_of_windows(&config, &corpus, step);
                let error = (loss - expected).abs();
                assert!(error < 1e-4, "{arm}, step {step}: {loss}, not {expected}");
                losses.push(loss);
            }
            losses.sort_by(f64::total_cmp);
            let gaps = losses.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.fold(f64::MAX, f64::min) > 1e-3, "{losses:?}");
        }
    }
}

#[test]
fn the_gradient_of_a_batch_is_the_mean_over_its_sequences_however_it_is_cut() {
    let corpus = corpus();
    let first = |micro_batch: usize| {
        let cut = format!("train.micro_batch={micro_batch}");
        let config = config(&[LARGE, "train.shards=1", &cut]);
        Trainer::new(&config, &corpus).unwrap().step()
    };
    let whole = first(6);
    for micro_batch in [1, 2, 3] {
        let cut = first(micro_batch);
        assert!((cut.loss / whole.loss - 1.0).abs() < 1e-5, "{cut:?}");
        let share = cut.grad_norm / whole.grad_norm;
        assert!((share - 1.0).abs() < 1e-4, "{cut:?} and {whole:?}");
    }
}

#[test]
fn every_step_has_the_rate_of_its_place_in_warm_up_and_cosine() {
    let config = config(&["train.learning_rate=0.01", "train.min_lr_ratio=0.2"]);
    let mut trainer = Trainer::new(&config, &corpus()).unwrap();
    let start = trainer.params().slab().to_vec();
    let mut rates = Vec::new();
    for step in 1..=12 {
        let report = trainer.step();
        assert_eq!(report.step, step);
        assert_eq!(report.tokens, step * (ROWS * SEQ) as u64);
        rates.push(report.learning_rate);
        if step == 1 {
            // The first step of Adam is the learning rate in every element.
            let moved = trainer.params().slab().iter().zip(&start);
            let moved = moved.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!((0.0024..0.0027).contains(&moved), "{moved}");
        }
    }
    let cosine = |s: f64| 0.002 + 0.008 * (1.0 + (std::f64::consts::PI * s / 8.0).cos()) / 2.0;
    let cosine = (0..8).map(|s| cosine(f64::from(s)));
    let expected = [0.0025, 0.005, 0.0075, 0.01].into_iter().chain(cosine);
    for (step, (rate, expected)) in rates.iter().zip(expected).enumerate() {
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rates:?}");
    }
}

#[test]
fn what_routers_add_is_minimised_but_not_reported() {
    let corpus = corpus();
    let experts = "model.ffn={type=\"moe\", experts=3, hidden=16, load_balance_coef=1.0}";
    let config = config(&[STILL, LARGE, experts]);
    let (model, params) = transformer(&config);
    let batch = Windows::new(&corpus, SEQ).unwrap().train_batch(0, 0, ROWS);
    let tape = Tape::new();
    tape.bind(&params);
    let loss = model.losses(&tape, &batch.inputs, &batch.targets, SEQ);
    assert!(loss.total.item() > loss.task.item() + 0.9);
    let reported = Trainer::new(&config, &corpus).unwrap().step().loss;
    let error = (reported - f64::from(loss.task.item())).abs();
    assert!(error < 1e-4, "{reported}, not {}", loss.task.item());
}

/// Asks the run to stop after so many steps, and keeps the losses of training.
struct StopAfter<'s>(u64, &'s AtomicBool, Vec<f64>);

impl Observer for StopAfter<'_> {
    fn step(&mut self, report: &StepReport, _: Option<f64>) {
        self.2.push(report.loss);
        if report.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

fn run_id(root: &Path) -> RunId {
    RunId::new(root, "sweep", "arm", 0).unwrap()
}

/// Runs to this step in the directory of the run below `root`.
fn run_to(trainer: &mut Trainer, root: &Path, step: u64) -> (Status, Vec<f64>) {
    let directory = RunDir::open(&run_id(root)).unwrap();
    let stop = AtomicBool::new(false);
    let mut observer = StopAfter(step, &stop, Vec::new());
    let summary = trainer.run(Some(&directory), &mut observer, &stop).unwrap();
    assert_eq!(summary.final_train_loss, observer.2.last().copied());
    (summary.status, observer.2)
}

#[test]
fn an_interrupted_run_is_no_result_until_it_has_ended() {
    let (corpus, config) = (corpus(), config(&[]));
    let root = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    let (status, _) = run_to(&mut trainer, root.path(), 6);
    assert_eq!(status, Status::Interrupted);
    assert!(RunResult::read(run_id(root.path())).unwrap().is_none());

    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    let (status, losses) = run_to(&mut trainer, root.path(), 100);
    assert_eq!((status, losses.len()), (Status::Ok, 6));
    let result = RunResult::read(run_id(root.path())).unwrap().unwrap();
    assert_eq!(
        (result.steps, result.train_loss),
        (12, losses.last().copied())
    );

    // Of the steps of the last process.
    let records = read_metrics(&run_id(root.path()).path).unwrap();
    let mut times: Vec<f64> = records[6..].iter().map(|record| record.ms).collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(result.timing.median_step_ms, times[3]);
}

#[test]
fn a_run_does_not_go_on_with_another_text() {
    let config = config(&[]);
    let corpus = corpus();
    let root = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    run_to(&mut trainer, root.path(), 6);

    // Of the same length and name, with one other byte in the training part.
    let changed = root.path().join("text.txt");
    let mut text = [&corpus.train, &corpus.validation]
        .map(|part| part.as_bytes().expect("a text"))
        .concat();
    text[100] ^= 1;
    std::fs::write(&changed, text).unwrap();
    let changed = Arc::new(Corpus::from_file(&changed).unwrap());
    assert_eq!(changed.train.len(), corpus.train.len());
    let mut other = Trainer::new(&config, &changed).unwrap();
    assert!(matches!(
        other.restore(&trainer.state(0.0)),
        Err(StateError::OtherRun)
    ));
    let directory = RunDir::open(&run_id(root.path())).unwrap();
    let error = other.run(Some(&directory), &mut Quiet, &AtomicBool::new(false));
    assert!(
        matches!(error, Err(TrainError::State(StateError::OtherRun))),
        "{error:?}"
    );
    assert_eq!(other.steps_done(), 0);
}
