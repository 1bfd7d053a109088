//! Batches of windows: which bytes a network sees, as a function of seed and step alone.

use super::{Corpus, DataError, Tokens, split};
use engine::rng::Key;
use rand::RngExt;

/// Windows of equal length with their next-token targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tokens, `rows x seq_len` in row-major order.
    pub inputs: Vec<u32>,
    /// The token that follows each input.
    pub targets: Vec<u32>,
    /// Number of windows.
    pub rows: usize,
    /// Tokens in a window.
    pub seq_len: usize,
}

impl Batch {
    fn with_capacity(rows: usize, seq_len: usize) -> Self {
        Self {
            inputs: Vec::with_capacity(rows * seq_len),
            targets: Vec::with_capacity(rows * seq_len),
            rows: 0,
            seq_len,
        }
    }

    fn push(&mut self, text: &Tokens, start: usize) {
        let end = start + self.seq_len;
        text.append_to(&mut self.inputs, start..end);
        text.append_to(&mut self.targets, start + 1..end + 1);
        self.rows += 1;
    }

    /// Number of tokens predicted: `rows * seq_len`.
    pub fn tokens(&self) -> usize {
        self.inputs.len()
    }
}

/// Deals out windows of `seq_len` tokens of a corpus.
///
/// A window is `seq_len + 1` consecutive tokens of one part of the corpus; the targets are the
/// inputs shifted by one. No window crosses from training to validation.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'c> {
    corpus: &'c Corpus,
    seq_len: usize,
}

impl<'c> Windows<'c> {
    /// Windows of `seq_len` tokens.
    ///
    /// # Errors
    /// [`DataError::TooShort`] if either part is shorter than one window.
    ///
    /// # Panics
    /// If `seq_len` is 0.
    #[track_caller]
    pub fn new(corpus: &'c Corpus, seq_len: usize) -> Result<Self, DataError> {
        assert!(seq_len > 0, "windows: seq_len is 0, expected at least 1");
        let windows = Self { corpus, seq_len };
        windows.require("training", corpus.train.len(), seq_len + 1)?;
        windows.require("validation", corpus.validation.len(), seq_len + 1)?;
        Ok(windows)
    }

    /// The training batch of one step: `rows` windows at independent uniform positions.
    ///
    /// It depends on nothing but the corpus, the window length, `seed`, `step` and `rows`; a
    /// batch with more rows starts with those of a smaller one. So all arms of an ablation see
    /// the same data in the same order, interrupted or not.
    pub fn train_batch(&self, seed: u64, step: u64, rows: usize) -> Batch {
        let mut batch = Batch::with_capacity(rows, self.seq_len);
        self.train_batch_into(&mut batch, seed, step, rows);
        batch
    }

    /// As [`Windows::train_batch`], into the memory of an earlier batch.
    pub fn train_batch_into(&self, batch: &mut Batch, seed: u64, step: u64, rows: usize) {
        let text = &self.corpus.train;
        let mut rng = Key::new(seed).named("training windows").at(step).rng();
        batch.inputs.clear();
        batch.targets.clear();
        (batch.rows, batch.seq_len) = (0, self.seq_len);
        // Drawn as u64, since usize would give other values on other platforms.
        let last_start = (text.len() - self.seq_len - 1) as u64;
        for _ in 0..rows {
            let start = rng.random_range(0..=last_start);
            batch.push(text, start as usize);
        }
    }

    /// Validation batches of `rows` windows that do not overlap, spread evenly over the whole
    /// validation part. At most `batches` of them; fewer, but whole ones, if the text ends.
    /// The same for all arms and all seeds.
    ///
    /// # Errors
    /// [`DataError::TooShort`] if not even one batch fits.
    ///
    /// # Panics
    /// If `rows` or `batches` is 0.
    #[track_caller]
    pub fn validation_batches(&self, batches: usize, rows: usize) -> Result<Vec<Batch>, DataError> {
        assert!(
            batches > 0 && rows > 0,
            "validation_batches: batches is {batches} and rows is {rows}, expected at least 1 each"
        );
        let text = &self.corpus.validation;
        // Neighbours share one byte at most: the last target of one, the first input of the next.
        let fitting = (text.len() - 1) / self.seq_len;
        self.require("validation", text.len(), rows * self.seq_len + 1)?;
        let batches = batches.min(fitting / rows);
        let windows = batches * rows;
        let last_start = text.len() - 1 - self.seq_len;
        Ok((0..batches)
            .map(|batch| {
                let mut filled = Batch::with_capacity(rows, self.seq_len);
                for window in batch * rows..(batch + 1) * rows {
                    let start = (last_start * window).checked_div(windows - 1).unwrap_or(0);
                    filled.push(text, start);
                }
                filled
            })
            .collect())
    }

    fn require(&self, part: &'static str, have: usize, need: usize) -> Result<(), DataError> {
        if have >= need {
            return Ok(());
        }
        Err(DataError::TooShort {
            corpus: self.corpus.account.name.clone(),
            unit: self.corpus.account.unit.name(),
            part,
            have,
            need,
            // Both parts of it then have enough.
            need_in_all: need * split::PARTS,
        })
    }
}
