//! What is learnt: a network, its data and its loss.

use super::TrainError;
use crate::{
    config::{ConfigError, RunConfig},
    data::{Batch, Corpus, DataAccount, TokenKind, Windows},
    run_dir::{LossByNoiseLevel, NOISE_LEVELS},
};
use engine::{
    params::Params,
    rng::Key,
    shape::Shape,
    tape::{Tape, Var},
};
use models::{
    loss::Loss,
    network::Network,
    transformer::{Transformer, TransformerConfig},
    weights::Values,
};
use nn::connection::Connection;
use std::{
    array,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

/// A network with its training and validation data. Rows are sequences (or images).
pub trait Task: Send + Sync {
    /// Makes the training batch of a step ready: a function of seed and step alone.
    fn load_batch(&mut self, seed: u64, step: u64, rows: usize);

    /// Mean losses of these rows of the batch: what is minimised, and the part of it
    /// that is reported.
    fn train_loss<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Loss<'t>;

    /// Number of validation rows.
    fn validation_rows(&self) -> usize;

    /// Results of the network on these validation rows, without what only training adds.
    fn validate<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Score<'t>;

    /// All validation rows for other programs, `inputs` and `targets`; nothing where a loss is
    /// made of more than these.
    fn validation_data(&self) -> Vec<(String, Shape, Values)> {
        Vec::new()
    }

    /// The source of each validation row: the file that it begins in, or the name of its image.
    fn validation_sources(&self) -> Vec<String>;

    /// The configuration of the network.
    fn network(&self) -> &dyn Network;

    /// The connections of the network in the order of their sublayers.
    fn connections(&self) -> Vec<&dyn Connection>;

    /// The loss of whoever answers without looking: every token or class as likely as another, no
    /// noise.
    fn guessing_loss(&self) -> f64;

    /// Account of the data.
    fn data(&self) -> &DataAccount;

    /// The decoder and its corpus, of a language task.
    fn decoder(&self) -> Option<(&Transformer, &Corpus)> {
        None
    }
}

/// Results on some validation rows.
#[derive(Clone, Copy, Debug)]
pub struct Score<'t> {
    /// Their mean loss.
    pub loss: Var<'t>,
    /// Number of rows that a classifier got right.
    pub correct: Option<usize>,
    /// The losses of a denoiser by noise level.
    pub noise_levels: Option<NoiseLevels>,
}

/// Predicting the next byte or token of a text.
pub struct Language {
    model: Transformer,
    corpus: Arc<Corpus>,
    batch: Batch,
    validation: Batch,
    /// Where the windows of `validation` begin.
    starts: Vec<usize>,
}

impl Language {
    /// A decoder and the windows of a corpus, with the training part of `config`.
    ///
    /// # Errors
    /// [`TrainError::Config`], [`TrainError::Data`].
    pub fn new(
        config: &RunConfig,
        model: &TransformerConfig,
        corpus: &Arc<Corpus>,
        key: Key,
    ) -> Result<(Self, Params), TrainError> {
        let train = &config.train;
        check_tokens(config, model, corpus)?;
        let windows = Windows::validated(corpus, model.seq, train.batch)?;
        let mut validation = Batch::default();
        for batch in windows.validation_batches(train.eval_batches, train.batch)? {
            validation.rows += batch.rows;
            validation.seq_len = batch.seq_len;
            validation.inputs.extend(batch.inputs);
            validation.targets.extend(batch.targets);
        }
        let starts = windows.validation_starts(train.eval_batches, train.batch)?;
        let (model, params) = Transformer::new(model, key)?;
        let task = Self {
            model,
            corpus: Arc::clone(corpus),
            batch: Batch::default(),
            validation,
            starts,
        };
        Ok((task, params))
    }

    fn loss<'t>(&self, tape: &'t Tape, batch: &Batch, rows: Range<usize>) -> Loss<'t> {
        let seq = batch.seq_len;
        let tokens = rows.start * seq..rows.end * seq;
        let inputs = &batch.inputs[tokens.clone()];
        self.model.losses(tape, inputs, &batch.targets[tokens], seq)
    }
}

/// Returns whether a network reads the tokens of a corpus.
///
/// # Errors
/// [`ConfigError::Invalid`], which says what to set.
pub(crate) fn check_tokens(
    config: &RunConfig,
    model: &TransformerConfig,
    corpus: &Corpus,
) -> Result<(), ConfigError> {
    let name = &corpus.account.name;
    let reason = match (config.data.tokens, corpus.train.kind()) {
        (TokenKind::Bytes, TokenKind::Ids) => format!(
            "{name} holds tokens, but this network reads bytes: set data.tokens=ids and \
             model.vocab_size={}",
            corpus.vocabulary
        ),
        (TokenKind::Ids, TokenKind::Bytes) => format!(
            "{name} is text, but data.tokens says that this network reads the ids of tokens: set \
             data.tokens=bytes"
        ),
        _ if model.vocab_size < corpus.vocabulary => format!(
            "{}, but the network has model.vocab_size {}: set model.vocab_size={}",
            corpus.vocabulary_from, model.vocab_size, corpus.vocabulary
        ),
        _ => return Ok(()),
    };
    Err(ConfigError::Invalid { reason })
}

impl Task for Language {
    fn load_batch(&mut self, seed: u64, step: u64, rows: usize) {
        Windows::new(&self.corpus, self.model.config().seq)
            .expect("windows of this length have been made before")
            .train_batch_into(&mut self.batch, seed, step, rows);
    }

    fn train_loss<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Loss<'t> {
        self.loss(tape, &self.batch, rows)
    }

    fn validation_rows(&self) -> usize {
        self.validation.rows
    }

    fn validate<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Score<'t> {
        Score {
            loss: self.loss(tape, &self.validation, rows).task,
            correct: None,
            noise_levels: None,
        }
    }

    fn validation_data(&self) -> Vec<(String, Shape, Values)> {
        let all = &self.validation;
        let shape = Shape::from([all.rows, all.seq_len]);
        let named = [("inputs", &all.inputs), ("targets", &all.targets)];
        let tensor =
            |(name, ids): (&str, &Vec<u32>)| (name.to_owned(), shape, Values::Indices(ids.clone()));
        named.map(tensor).into()
    }

    fn validation_sources(&self) -> Vec<String> {
        let source = |&start: &usize| self.corpus.validation_file(start).to_owned();
        self.starts.iter().map(source).collect()
    }

    fn network(&self) -> &dyn Network {
        self.model.config()
    }

    fn connections(&self) -> Vec<&dyn Connection> {
        self.model.connections().collect()
    }

    fn guessing_loss(&self) -> f64 {
        (self.corpus.vocabulary as f64).ln()
    }

    fn data(&self) -> &DataAccount {
        &self.corpus.account
    }

    fn decoder(&self) -> Option<(&Transformer, &Corpus)> {
        Some((&self.model, &self.corpus))
    }
}

/// Losses of single images, summed by noise level.
///
/// Level `k` holds the timesteps after `k T / NOISE_LEVELS` up to `(k + 1) T / NOISE_LEVELS`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoiseLevels {
    sums: [f64; NOISE_LEVELS],
    counts: [u32; NOISE_LEVELS],
}

impl NoiseLevels {
    /// The timesteps of a level, of T in all.
    pub fn timesteps(level: usize, last: usize) -> RangeInclusive<u32> {
        let end = |level: usize| (level * last / NOISE_LEVELS) as u32;
        end(level) + 1..=end(level + 1)
    }

    /// The level of a timestep, of T in all.
    pub fn of(timestep: u32, last: usize) -> usize {
        let holds = |&level: &usize| Self::timesteps(level, last).contains(&timestep);
        let level = (0..NOISE_LEVELS).find(holds);
        level.expect("a timestep from 1 to T")
    }

    /// Counts one image.
    pub fn add(&mut self, level: usize, loss: f64) {
        self.sums[level] += loss;
        self.counts[level] += 1;
    }

    /// Both together.
    pub fn merged(mut self, other: &Self) -> Self {
        for level in 0..NOISE_LEVELS {
            self.sums[level] += other.sums[level];
            self.counts[level] += other.counts[level];
        }
        self
    }

    /// The mean loss of each level; `None` where there was no image, or it is not finite.
    pub fn means(&self) -> LossByNoiseLevel {
        array::from_fn(|level| {
            let mean = self.sums[level] / f64::from(self.counts[level]);
            Some(mean).filter(|mean| mean.is_finite())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestep_has_one_level() {
        for last in [21, 100, 1000] {
            let all: Vec<u32> = (0..NOISE_LEVELS)
                .flat_map(|level| NoiseLevels::timesteps(level, last))
                .collect();
            assert_eq!(all, (1..=last as u32).collect::<Vec<_>>());
            assert_eq!(NoiseLevels::of(1, last), 0);
            assert_eq!(NoiseLevels::of(last as u32, last), NOISE_LEVELS - 1);
        }
    }

    #[test]
    fn levels_without_images_have_no_loss() {
        let mut levels = NoiseLevels::default();
        levels.add(2, 1.0);
        levels.add(2, 2.0);
        let mut other = NoiseLevels::default();
        other.add(2, 6.0);
        other.add(7, f64::NAN);
        let means = levels.merged(&other).means();
        assert_eq!(means[2], Some(3.0));
        assert_eq!(means.iter().flatten().count(), 1);
    }
}
