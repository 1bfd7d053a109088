//! What a trainer makes of its settings: which batch a step sees, how losses and gradients of
//! parts of a batch become one, the rate of every step, and what a run says it has reached.

mod common;

use common::corpus;
use engine::{
    params::Params,
    rng::Key,
    tape::{Noise, Tape, Var},
};
use experiments::{
    ablation::RunResult,
    config::RunConfig,
    data::{Corpus, Windows},
    run_dir::{RunDir, RunId, Status, read_metrics},
    state::StateError,
    train::{Language, Observer, Quiet, Score, StepReport, Task, TrainError, Trainer},
};
use models::{accounting::Account, loss::Loss, model::ModelConfig, transformer::Transformer};
use nn::connection::Connection;
use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
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
fn every_step_has_the_rate_of_its_place_in_warm_up_and_decline() {
    let config = config(&["train.learning_rate=0.01", "train.final_fraction=0.2"]);
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
    let decline = (0..8).map(|s| cosine(f64::from(s)));
    let expected = [0.0025, 0.005, 0.0075, 0.01].into_iter().chain(decline);
    for (step, (rate, expected)) in rates.iter().zip(expected).enumerate() {
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rates:?}");
    }
}

/// A language task that notes which batches are asked for, and says of its five validation
/// rows what `validated` says of the step and the row.
struct Told {
    inner: Language,
    seen: Arc<Seen>,
    validated: fn(steps: usize, row: usize) -> f32,
}

/// What a task was asked for: batches, and rows of them with the noise on their tape.
#[derive(Default)]
struct Seen {
    batches: Mutex<Vec<(u64, u64, usize)>>,
    rows: Mutex<Vec<(usize, Noise)>>,
}

impl Seen {
    fn steps(&self) -> usize {
        self.batches.lock().unwrap().len()
    }
}

const VALIDATION_ROWS: usize = 5;

impl Task for Told {
    fn load_batch(&mut self, seed: u64, step: u64, rows: usize) {
        self.seen.batches.lock().unwrap().push((seed, step, rows));
        self.inner.load_batch(seed, step, rows);
    }

    fn train_loss<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Loss<'t> {
        let noise = tape.noise().expect("the noise of the step");
        self.seen.rows.lock().unwrap().push((rows.start, noise));
        self.inner.train_loss(tape, rows)
    }

    fn validation_rows(&self) -> usize {
        VALIDATION_ROWS
    }

    fn validate<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Score<'t> {
        let (steps, count) = (self.seen.steps(), rows.len() as f32);
        let sum: f32 = rows.clone().map(|row| (self.validated)(steps, row)).sum();
        let loss: Var<'t> = tape.constant([], &[sum / count]);
        if tape.is_probing() {
            // A router that sends even rows to one expert and odd rows to another.
            let even = rows.clone().filter(|row| row % 2 == 0).count() as f32 / count;
            let _scope = tape.enter("blocks.0.ffn");
            tape.probe("load", tape.constant([2], &[even, 1.0 - even]));
            tape.probe("entropy", loss);
            tape.probe("dropped", tape.constant([], &[1.0]));
        }
        Score {
            loss,
            correct: Some(rows.filter(|row| row % 2 == 0).count()),
            noise_levels: None,
        }
    }

    fn tokens_per_row(&self) -> usize {
        self.inner.tokens_per_row()
    }

    fn connections(&self) -> Vec<&dyn Connection> {
        self.inner.connections()
    }

    fn account(&self, params: &Params) -> Account {
        self.inner.account(params)
    }

    fn data(&self) -> (&str, &str) {
        self.inner.data()
    }
}

fn told(config: &RunConfig, validated: fn(usize, usize) -> f32) -> (Trainer, Arc<Seen>) {
    let ModelConfig::Transformer(model) = &config.model else {
        panic!("a transformer");
    };
    let (inner, params) = Language::new(config, model, &corpus(), Key::new(0)).unwrap();
    let seen = Arc::<Seen>::default();
    let task = Told {
        inner,
        seen: Arc::clone(&seen),
        validated,
    };
    let trainer = Trainer::with_task(config, Box::new(task), params);
    (trainer, seen)
}

#[test]
fn every_step_asks_once_for_the_batch_of_its_number() {
    let (mut trainer, seen) = told(&config(&["train.seed=3"]), |_, _| 1.0);
    trainer
        .run(None, &mut Quiet, &AtomicBool::new(false))
        .unwrap();
    let expected: Vec<(u64, u64, usize)> = (0..12).map(|step| (3, step, ROWS)).collect();
    assert_eq!(*seen.batches.lock().unwrap(), expected);
}

/// Dropout and whatever else is random depends on seed, step and the place in the batch.
#[test]
fn every_step_has_noise_of_its_own_and_every_sequence_its_place_in_it() {
    for micro_batch in [1, 2, 3] {
        let cut = format!("train.micro_batch={micro_batch}");
        let (mut trainer, seen) = told(&config(&["train.seed=3", &cut]), |_, _| 1.0);
        for step in 0..3 {
            trainer.step();
            let mut rows = std::mem::take(&mut *seen.rows.lock().unwrap());
            rows.sort_by_key(|(first, _)| *first);
            let key = Key::new(3).named("noise").at(step);
            assert!(
                rows.iter().all(|(_, noise)| noise.key == key),
                "step {step}"
            );
            let starts = rows
                .iter()
                .map(|(first, noise)| (*first, noise.first_sequence));
            let expected = (0..ROWS).step_by(micro_batch).map(|first| (first, first));
            assert!(starts.eq(expected), "{rows:?}");
        }
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

/// Three of five rows go to the first expert, whatever parts they are measured in.
#[test]
fn the_load_of_routers_is_the_mean_over_rows() {
    let experts = "model.ffn={type=\"moe\", experts=2, hidden=16}";
    for micro_batch in [1, 2, 3, 6] {
        let cut = format!("train.micro_batch={micro_batch}");
        let config = config(&[experts, "train.shards=1", &cut]);
        let routers = told(&config, |_, row| row as f32).0.routers();
        let [router] = &routers[..] else {
            panic!("{routers:?}");
        };
        assert_eq!(router.site, "blocks.0.ffn");
        assert!((router.load[0] - 0.6).abs() < 1e-6, "{cut}: {router:?}");
        assert!((router.load[1] - 0.4).abs() < 1e-6, "{cut}: {router:?}");
        assert!((router.entropy - 2.0).abs() < 1e-6, "{cut}: {router:?}");
        let parts = VALIDATION_ROWS.div_ceil(micro_batch);
        assert_eq!(router.dropped, parts as u64);
    }
}

#[test]
fn validation_is_the_mean_over_rows_whatever_parts_they_are_measured_in() {
    // 0, 1, 4, 9 and 16.
    let squares = |_, row: usize| (row * row) as f32;
    for [micro_batch, shards] in [[1, 1], [1, 3], [2, 1], [2, 3], [3, 2], [6, 1]] {
        let cut = [
            format!("train.micro_batch={micro_batch}"),
            format!("train.shards={shards}"),
        ];
        let config = config(&[&cut[0], &cut[1]]);
        let validation = told(&config, squares).0.validate();
        assert!(
            (validation.loss - 6.0).abs() < 1e-6,
            "{cut:?}: {validation:?}"
        );
        assert_eq!(validation.accuracy, Some(0.6), "{cut:?}");
    }
}

/// After 2, 4, .. 12 steps.
fn dip(steps: usize, _: usize) -> f32 {
    [3.0, 1.5, 2.5, 2.25, 2.0, 1.75][steps / 2 - 1]
}

#[test]
fn the_final_loss_is_that_of_the_last_step_and_the_best_the_lowest_on_the_way() {
    let (mut trainer, _) = told(&config(&[]), dip);
    let summary = trainer
        .run(None, &mut Quiet, &AtomicBool::new(false))
        .unwrap();
    assert_eq!(summary.status, Status::Ok);
    assert_eq!(summary.final_val_loss, Some(1.75));
    assert_eq!(summary.best_val_loss, Some(1.5));
    assert_eq!(summary.final_val_accuracy, Some(0.6));
    assert_eq!(
        (summary.steps, summary.tokens),
        (12, 12 * (ROWS * SEQ) as u64)
    );
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
    let mut text = [&corpus.train[..], &corpus.validation].concat();
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
