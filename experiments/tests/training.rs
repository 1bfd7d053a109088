//! A training is a pure function of its configuration, interrupted or not, on any
//! number of threads.

mod common;

use common::corpus;
use lab::{
    config::RunConfig,
    data::Corpus,
    run_dir::{Ended, RunDir, RunId, Status, VALIDATION_FILE, read_coefficients, read_metrics},
    state::{self, StateError},
    train::{Observer, Quiet, StepReport, TrainError, Trainer},
};
use models::model::ModelConfig;
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

static OFF: AtomicBool = AtomicBool::new(false);

fn config(overrides: &[&str]) -> RunConfig {
    let training = [
        "train.steps=24",
        "train.batch=6",
        "train.micro_batch=1",
        "train.shards=3",
        "train.warmup=4",
        "train.eval_every=8",
        "train.eval_batches=3",
        "train.log_every=3",
        "train.checkpoint_every=5",
        "train.record_every=4",
    ];
    common::config(&training, overrides)
}

fn run_id(root: &Path) -> RunId {
    RunId::new(root, "sweep", "arm", 0).unwrap()
}

/// Files that a run leaves behind, without times.
fn trace(trainer: &Trainer, directory: &Path) -> (Vec<u32>, Vec<String>) {
    let weights = trainer.params().slab().iter().map(|x| x.to_bits());
    let mut records = read_metrics(directory).unwrap();
    for record in &mut records {
        record.ms = 0.0;
    }
    let lines = records.iter().map(|record| format!("{record:?}"));
    let coefficients = read_coefficients(directory).unwrap();
    let coefficients = coefficients.iter().map(|record| format!("{record:?}"));
    let units = fs::read_to_string(directory.join(VALIDATION_FILE)).unwrap();
    let lines = lines.chain(coefficients).chain([units]);
    (weights.collect(), lines.collect())
}

fn uninterrupted(config: &RunConfig, corpus: &Arc<Corpus>) -> (Vec<u32>, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let directory = RunDir::open(&run_id(root.path())).unwrap();
    let mut trainer = Trainer::new(config, corpus).unwrap();
    let summary = trainer.run(Some(&directory), &mut Quiet, &OFF).unwrap();
    assert_eq!(summary.status, Status::Ok);
    trace(&trainer, directory.path())
}

const PRECISIONS: [&str; 2] = ["train.precision=f32", "train.precision=bf16"];

#[test]
fn the_same_seed_gives_the_same_bits_with_one_and_two_threads() {
    let corpus = corpus();
    for precision in PRECISIONS {
        let config = config(&[precision]);
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| uninterrupted(&config, &corpus))
        };
        let one = with_threads(1);
        assert_eq!(one, with_threads(2), "{precision}");
        assert_eq!(one, with_threads(5), "{precision}");
    }
}

/// Each product is off by 2^-9 of its operands at most, which no loss moves far.
#[test]
fn bf16_rounds_what_is_trained_on_and_not_what_is_validated() {
    let corpus = corpus();
    let [f32, bf16] = PRECISIONS.map(|precision| {
        let mut trainer = Trainer::new(&config(&[precision]), &corpus).unwrap();
        let before = trainer.evaluate();
        let losses: Vec<f64> = (0..24).map(|_| trainer.step().loss).collect();
        let weights = trainer.params().slab().to_vec();
        // Weights are those that were updated in f32, not bf16.
        let rounded = weights.iter().filter(|x| x.to_bits() & 0xffff == 0);
        (before, losses, rounded.count(), weights)
    });
    assert_eq!(f32.0.to_bits(), bf16.0.to_bits());
    assert_ne!(f32.3, bf16.3);
    for (a, b) in f32.1.iter().zip(&bf16.1) {
        assert_ne!(a, b);
        assert!((a - b).abs() < 0.01 * a, "{a} and {b}");
    }
    assert!(bf16.2 < bf16.3.len() / 10, "{} of {}", bf16.2, bf16.3.len());
}

#[test]
fn another_seed_gives_another_run() {
    let corpus = corpus();
    assert_ne!(
        uninterrupted(&config(&[]), &corpus),
        uninterrupted(&config(&["train.seed=1"]), &corpus)
    );
}

#[test]
fn the_loss_falls() {
    let corpus = corpus();
    let config = config(&["train.steps=120", "train.learning_rate=0.01"]);
    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    let before = trainer.evaluate();
    let summary = trainer.run(None, &mut Quiet, &OFF).unwrap();
    assert!((before - 256_f64.ln()).abs() < 0.1, "{before}");
    assert!(summary.final_val_loss.unwrap() < 2.8, "{summary:?}");
    assert_eq!(summary.tokens, 120 * 6 * 16);
}

/// Asks the run to stop after a step.
struct StopAfter<'s>(u64, &'s AtomicBool);

impl Observer for StopAfter<'_> {
    fn step(&mut self, report: &StepReport, _: Option<f64>) {
        if report.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let corpus = corpus();
    for precision in PRECISIONS {
        stopped_and_resumed(&config(&[precision]), &corpus);
    }
}

fn stopped_and_resumed(config: &RunConfig, corpus: &Arc<Corpus>) {
    let expected = uninterrupted(config, corpus);
    let root = tempfile::tempdir().unwrap();
    for (at, resumed_from) in [(2, 0), (7, 2), (13, 7)] {
        let directory = RunDir::open(&run_id(root.path())).unwrap();
        let mut trainer = Trainer::new(config, corpus).unwrap();
        let stop = AtomicBool::new(false);
        let mut observer = StopAfter(at, &stop);
        let summary = trainer.run(Some(&directory), &mut observer, &stop).unwrap();
        assert_eq!((summary.status, summary.steps), (Status::Interrupted, at));
        assert!(trainer.steps_done() - resumed_from < 7);
    }
    let directory = RunDir::open(&run_id(root.path())).unwrap();
    let mut trainer = Trainer::new(config, corpus).unwrap();
    trainer.run(Some(&directory), &mut Quiet, &OFF).unwrap();
    assert_eq!(trace(&trainer, directory.path()), expected);
}

/// The mean over the windows, one by one, is the validation loss of whole batches but for rounding.
#[test]
fn the_loss_of_every_validation_window_is_kept() {
    let (config, corpus) = (config(&[]), corpus());
    let root = tempfile::tempdir().unwrap();
    let directory = RunDir::open(&run_id(root.path())).unwrap();
    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    let summary = trainer.run(Some(&directory), &mut Quiet, &OFF).unwrap();
    let units = Ended::read(directory.path()).unwrap().unwrap().units;
    let units = units.expect("a run of this version");
    let losses: Vec<f64> = units.scores.iter().map(|unit| unit.loss).collect();
    assert_eq!(losses.len(), 18, "3 batches of 6");
    let mean = losses.iter().sum::<f64>() / 18.0;
    assert!((mean - summary.final_val_loss.unwrap()).abs() < 1e-6);
    assert!(losses.iter().any(|loss| (loss - mean).abs() > 1e-3));
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let (config, corpus) = (config(&["train.steps=3"]), corpus());
    let root = tempfile::tempdir().unwrap();
    let directory = RunDir::open(&run_id(root.path())).unwrap();
    let first = Trainer::new(&config, &corpus)
        .unwrap()
        .run(Some(&directory), &mut Quiet, &OFF);
    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    let second = trainer.run(Some(&directory), &mut Quiet, &OFF).unwrap();
    assert_eq!(first.unwrap(), second);
    assert_eq!(trainer.steps_done(), 0);
}

#[test]
fn a_diverging_run_ends_as_a_result_with_everything_recorded() {
    let corpus = corpus();
    let config = config(&["train.learning_rate=1e30", "train.warmup=0", "optim.clip=0"]);
    let root = tempfile::tempdir().unwrap();
    let directory = RunDir::open(&run_id(root.path())).unwrap();
    let mut trainer = Trainer::new(&config, &corpus).unwrap();
    let summary = trainer.run(Some(&directory), &mut Quiet, &OFF).unwrap();
    assert_eq!(summary.status, Status::Diverged);
    let step = summary.diverged_at_step.unwrap();
    assert!((2..10).contains(&step), "{step}");
    let records = read_metrics(directory.path()).unwrap();
    assert_eq!(records.last().unwrap().step, step);
    assert!(!records.last().unwrap().grad_norm.is_finite());
}

#[test]
fn a_state_of_another_configuration_is_refused() {
    let corpus = corpus();
    let a = Trainer::new(&config(&[]), &corpus).unwrap();
    let mut b = Trainer::new(&config(&["train.learning_rate=1e-4"]), &corpus).unwrap();
    assert!(matches!(
        b.restore(&a.state(0.0)),
        Err(StateError::OtherRun)
    ));
}

#[test]
fn damaged_states_are_refused_and_the_one_before_is_used() {
    let (config, corpus) = (config(&[]), corpus());
    let root = tempfile::tempdir().unwrap();
    let trainer = Trainer::new(&config, &corpus).unwrap();
    let state = trainer.state(1.0);
    let newest = root.path().join(state::STATE_FILE);
    state::save(root.path(), &state).unwrap();
    let sound = fs::read(&newest).unwrap();

    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let damages: [(&str, Damage); 7] = [
        ("less than its header", Box::new(|b| b.truncate(30))),
        ("is cut off", Box::new(|b| b.truncate(b.len() - 1))),
        ("appended", Box::new(|b| b.push(0))),
        ("checksum", Box::new(|b| b[100] ^= 1)),
        ("version 7", Box::new(|b| b[8] = 7)),
        (
            "announces 18446744073709551615",
            Box::new(|b| b[12..20].fill(255)),
        ),
        (
            "not a saved state",
            Box::new(|b| *b = b"PK\x03\x04 an archive".to_vec()),
        ),
    ];
    for (message, damage) in &damages {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        fs::write(&newest, &bytes).unwrap();
        let error = state::load(root.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{message}: {error}");
    }

    fs::write(&newest, &sound).unwrap();
    state::save(root.path(), &state).unwrap();
    for (_, damage) in &damages {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        fs::write(&newest, &bytes).unwrap();
        let found = state::load(root.path()).unwrap().unwrap();
        assert!(found.fallback.is_some());
        assert_eq!(found.state, state);
    }
    fs::remove_file(&newest).unwrap();
    let found = state::load(root.path()).unwrap().unwrap();
    assert_eq!(found.state, state);
}

#[test]
fn impossible_shapes_and_short_texts_are_errors() {
    let corpus = corpus();
    let mut impossible = config(&[]);
    if let ModelConfig::Transformer(model) = &mut impossible.model {
        model.heads = 3;
    }
    let error = Trainer::new(&impossible, &corpus).err().unwrap();
    assert!(matches!(error, TrainError::Config(_)));
    assert!(error.to_string().contains("heads"), "{error}");
    let long = config(&["model.seq=8000"]);
    let error = Trainer::new(&long, &corpus).err().unwrap();
    assert!(matches!(error, TrainError::Data(_)), "{error}");
}

/// A factor of the write that is not learned goes from 1 to its end, and is part of the weights.
#[test]
fn a_write_gain_follows_its_schedule() {
    let config = config(&[
        "model.connection.type=mhc",
        "model.connection.write_gain_end=0.5",
    ]);
    let mut trainer = Trainer::new(&config, &corpus()).unwrap();
    let gains = |trainer: &Trainer| -> Vec<f32> {
        let params = trainer.params();
        let parts = params
            .parts()
            .filter(|part| part.name.ends_with("write_gain"));
        parts.map(|part| params.slab()[part.range.start]).collect()
    };
    let sublayers = 2 * config.model.layers();
    for step in 0..24_u8 {
        trainer.step();
        let expected = 1.0 - 0.5 * f32::from(step) / 23.0;
        assert_eq!(gains(&trainer).len(), sublayers);
        assert!(
            gains(&trainer)
                .iter()
                .all(|gain| (gain - expected).abs() < 1e-6)
        );
    }
    assert!(gains(&trainer).iter().all(|&gain| gain == 0.5));
}
