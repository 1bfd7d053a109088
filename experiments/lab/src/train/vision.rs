//! Naming what is on an image.

use super::{Score, Task, TrainError};
use crate::data::{
    DataAccount,
    images::{ImageBatch, ImageBatches, ImageSet},
};
use engine::{params::Params, rng::Key, shape::Shape, tape::Tape};
use models::{
    loss::Loss,
    network::Network,
    vit::{Vit, VitConfig},
    weights::Values,
};
use nn::connection::Connection;
use std::{ops::Range, sync::Arc};

/// A vision transformer and labelled images. Validation is the whole test part.
pub struct Vision {
    model: Vit,
    set: Arc<ImageSet>,
    batches: ImageBatches,
    batch: ImageBatch,
    test: ImageBatch,
    mixup: f32,
}

impl Vision {
    /// The network and the images, mixed with Mixup of this alpha in training.
    ///
    /// # Errors
    /// [`TrainError::Config`], or [`TrainError::Data`] if the images have other sizes or
    /// another number of classes than the network.
    pub fn new(
        config: &VitConfig,
        set: &Arc<ImageSet>,
        mixup: f32,
        key: Key,
    ) -> Result<(Self, Params), TrainError> {
        set.check(config.patches(), config.classes)?;
        let (model, params) = Vit::new(config, key)?;
        let batches = ImageBatches::new(set);
        let task = Self {
            model,
            set: Arc::clone(set),
            batch: ImageBatch::default(),
            test: batches.test(set),
            batches,
            mixup,
        };
        Ok((task, params))
    }

    fn images<'b>(&self, batch: &'b ImageBatch, rows: &Range<usize>) -> &'b [f32] {
        let size = self.set.sizes.elements();
        &batch.images[rows.start * size..rows.end * size]
    }
}

impl Task for Vision {
    fn load_batch(&mut self, seed: u64, step: u64, rows: usize) {
        self.batches
            .train_into(&mut self.batch, &self.set, seed, step, rows, self.mixup);
    }

    fn train_loss<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Loss<'t> {
        let classes = self.set.classes.len();
        let targets = &self.batch.targets[rows.start * classes..rows.end * classes];
        let images = self.images(&self.batch, &rows);
        self.model.soft_losses(tape, images, targets)
    }

    fn validation_rows(&self) -> usize {
        self.test.labels.len()
    }

    fn validate<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Score<'t> {
        let labels = &self.test.labels[rows.clone()];
        let loss = self
            .model
            .losses(tape, self.images(&self.test, &rows), labels);
        let correct = loss.output.with_value(|logits| {
            let answers = logits.chunks_exact(self.set.classes.len()).zip(labels);
            answers
                .filter(|(logits, label)| largest(logits) == **label as usize)
                .count()
        });
        Score {
            loss: loss.task,
            correct: Some(correct),
            noise_levels: None,
        }
    }

    fn validation_data(&self) -> Vec<(String, Shape, Values)> {
        let labels = Values::Indices(self.test.labels.clone());
        let images = self.model.config().patches().batch(self.test.images.len());
        vec![
            (
                "inputs".to_owned(),
                images.into(),
                Values::Floats(self.test.images.clone()),
            ),
            (
                "targets".to_owned(),
                [self.test.labels.len()].into(),
                labels,
            ),
        ]
    }

    fn validation_sources(&self) -> Vec<String> {
        let images = 0..self.validation_rows();
        images.map(|image| format!("image {image}")).collect()
    }

    fn network(&self) -> &dyn Network {
        self.model.config()
    }

    fn connections(&self) -> Vec<&dyn Connection> {
        self.model.connections().collect()
    }

    fn guessing_loss(&self) -> f64 {
        (self.set.classes.len() as f64).ln()
    }

    fn data(&self) -> &DataAccount {
        &self.set.account
    }
}

/// The position of the largest, the first of equal ones.
fn largest(values: &[f32]) -> usize {
    let first = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (1..values.len()).fold(0, first)
}
