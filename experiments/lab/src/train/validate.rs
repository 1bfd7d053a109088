//! Results of a network in training on the validation rows.

use super::{Score, Task, Trainer};
use crate::{
    config::Precision,
    run_dir::{LossByNoiseLevel, UnitScore},
};
use engine::tape::Tape;
use rayon::prelude::*;
use std::ops::Range;

/// Results on data that a network was not trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Mean loss in nats per token or image, or squared error per pixel.
    pub loss: f64,
    /// Share of the images that were classified correctly.
    pub accuracy: Option<f64>,
    /// Mean loss of a denoiser at each noise level.
    pub by_noise_level: Option<LossByNoiseLevel>,
}

impl Trainer {
    /// Mean loss over the fixed validation batches in nats per token (or per image).
    pub fn evaluate(&mut self) -> f64 {
        self.validate().loss
    }

    /// Mean loss over the validation rows and, of a classifier, its accuracy, of a denoiser
    /// the loss by noise level. In f32, whatever the precision of the training.
    pub fn validate(&mut self) -> Validation {
        let rows = self.task.validation_rows();
        let sums = self.scores(self.config.train.micro_batch, |score, count| {
            let loss = f64::from(score.loss.item()) * count as f64;
            (loss, score.correct, score.noise_levels)
        });
        let correct: Option<usize> = sums.iter().map(|(_, correct, _)| *correct).sum();
        let levels = sums.iter().filter_map(|(_, _, levels)| levels.as_ref());
        let levels = levels.copied().reduce(|sum, more| sum.merged(&more));
        Validation {
            loss: sums.iter().map(|(loss, ..)| loss).sum::<f64>() / rows as f64,
            accuracy: correct.map(|correct| correct as f64 / rows as f64),
            by_noise_level: levels.map(|levels| levels.means()),
        }
    }

    /// Results on every validation row by itself.
    pub fn unit_scores(&mut self) -> Vec<UnitScore> {
        self.scores(1, |score, _| UnitScore {
            loss: score.loss.item().into(),
            correct: score.correct.map(|correct| correct == 1),
        })
    }

    /// What `read` says of the scores of the validation rows, `at_once` of them in each, in their
    /// order.
    fn scores<R: Send>(
        &mut self,
        at_once: usize,
        read: impl Fn(&Score<'_>, usize) -> R + Sync,
    ) -> Vec<R> {
        let rows = self.task.validation_rows();
        self.in_parts(rows, at_once, |task, tape, rows| {
            let count = rows.len();
            read(&task.validate(tape, rows), count)
        })
    }

    /// Results of `forward` in f32 on all rows, `at_once` of them in each, in their order.
    pub(super) fn in_parts<R: Send>(
        &mut self,
        rows: usize,
        at_once: usize,
        forward: impl Fn(&dyn Task, &Tape, Range<usize>) -> R + Sync,
    ) -> Vec<R> {
        let precision = self.config.train.precision;
        if precision == Precision::F32 {
            return self.in_parts_f32(rows, at_once, forward);
        }
        self.set_precision(Precision::F32);
        let results = self.in_parts_f32(rows, at_once, forward);
        self.set_precision(precision);
        results
    }

    fn in_parts_f32<R: Send>(
        &mut self,
        rows: usize,
        at_once: usize,
        forward: impl Fn(&dyn Task, &Tape, Range<usize>) -> R + Sync,
    ) -> Vec<R> {
        let (task, params) = (&*self.task, &self.params);
        let parts = rows.div_ceil(at_once);
        let tapes: Vec<&mut Tape> = self.shards.tapes_mut().collect();
        let share = parts.div_ceil(tapes.len());
        let of_tape = |(shard, tape): (usize, &mut Tape)| -> Vec<R> {
            tape.set_recording(false);
            let part = |part: usize| {
                let first = part * at_once;
                let here = first..(first + at_once).min(rows);
                tape.bind(params);
                let result = forward(task, tape, here);
                tape.reset();
                result
            };
            let results = (shard * share..((shard + 1) * share).min(parts)).map(part);
            let results = results.collect();
            tape.set_recording(true);
            results
        };
        let of_tapes: Vec<Vec<R>> = tapes.into_par_iter().enumerate().map(of_tape).collect();
        of_tapes.into_iter().flatten().collect()
    }
}
