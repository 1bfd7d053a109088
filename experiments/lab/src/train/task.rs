//! What is learnt: a network, its data and its loss.

use super::{NoiseLevels, TrainError};
use crate::{
    config::{ConfigError, RunConfig},
    data::{Batch, Corpus, DataAccount, TokenKind, Windows},
};
use engine::{
    params::Params,
    rng::Key,
    tape::{Tape, Var},
};
use models::{
    loss::Loss,
    network::Network,
    transformer::{Transformer, TransformerConfig},
};
use nn::connection::Connection;
use std::{ops::Range, sync::Arc};

/// A network with its training and validation data. Rows are sequences (or images).
pub trait Task: Send + Sync {
    /// Makes the training batch of a step ready: a function of seed and step alone.
    fn load_batch(&mut self, seed: u64, step: u64, rows: usize);

    /// Mean losses of these rows of the batch: what is minimised, and the part of it
    /// that is reported.
    fn train_loss<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Loss<'t>;

    /// How many validation rows there are.
    fn validation_rows(&self) -> usize;

    /// What the network is worth on these validation rows, without what only training adds.
    fn validate<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Score<'t>;

    /// The configuration of the network.
    fn network(&self) -> &dyn Network;

    /// The connections of the network in the order of their sublayers.
    fn connections(&self) -> Vec<&dyn Connection>;

    /// The loss of whoever answers without looking: every token or class as likely as another, no
    /// noise.
    fn guessing_loss(&self) -> f64;

    /// What was read.
    fn data(&self) -> &DataAccount;
}

/// What was measured on some validation rows.
#[derive(Clone, Copy, Debug)]
pub struct Score<'t> {
    /// Their mean loss.
    pub loss: Var<'t>,
    /// How many of them a classifier got right.
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
        let (model, params) = Transformer::new(model, key)?;
        let task = Self {
            model,
            corpus: Arc::clone(corpus),
            batch: Batch::default(),
            validation,
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

/// Whether a network reads the tokens of a corpus.
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
}
