//! What a trainer asks of its task, and how it puts together what the parts of a batch say.

use super::{ROWS, SEQ, config};
use crate::common::corpus;
use engine::{
    rng::Key,
    tape::{Noise, Tape, Var},
};
use lab::{
    config::RunConfig,
    data::DataAccount,
    run_dir::Status,
    train::{Language, Quiet, Score, Task, Trainer},
};
use models::{loss::Loss, model::ModelConfig, network::Network};
use nn::connection::Connection;
use std::{
    ops::Range,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

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
        // A look at what has learnt takes a row without noise.
        if let Some(noise) = tape.noise() {
            self.seen.rows.lock().unwrap().push((rows.start, noise));
        }
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
            let _scope = tape.enter(&"blocks.0.ffn".into());
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

    fn validation_sources(&self) -> Vec<String> {
        vec!["told".to_owned(); VALIDATION_ROWS]
    }

    fn network(&self) -> &dyn Network {
        self.inner.network()
    }

    fn connections(&self) -> Vec<&dyn Connection> {
        self.inner.connections()
    }

    fn guessing_loss(&self) -> f64 {
        self.inner.guessing_loss()
    }

    fn data(&self) -> &DataAccount {
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

#[test]
fn the_last_step_is_validated_whatever_the_interval() {
    let (mut trainer, _) = told(&config(&["train.eval_every=5"]), |steps, _| steps as f32);
    let summary = trainer
        .run(None, &mut Quiet, &AtomicBool::new(false))
        .unwrap();
    assert_eq!(summary.final_val_loss, Some(12.0));
    assert_eq!(summary.best_val_loss, Some(5.0));
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
