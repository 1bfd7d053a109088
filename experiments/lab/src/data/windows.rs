//! Batches of windows: which bytes a network sees, as a function of seed and step alone.

use super::{Corpus, DataError, Tokens, Unit, split};
use engine::rng::Key;
use rand::RngExt;

/// Bytes by which a validation part may be shorter than a tenth: the rest of a character that the
/// cut would halve is trained on.
fn rest(corpus: &Corpus) -> usize {
    const LONGEST: usize = 3;
    let parts = [&corpus.train, &corpus.validation];
    let ascii = parts.map(|part| part.as_bytes().is_none_or(<[u8]>::is_ascii));
    if ascii == [true; 2] { 0 } else { LONGEST }
}

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
        Self::validated(corpus, seq_len, 1)
    }

    /// Windows of `seq_len` tokens, of which `rows` at least are to validate.
    ///
    /// # Errors
    /// [`DataError::TooShort`] if the training part is shorter than one window, or the validation
    /// part than that many.
    ///
    /// # Panics
    /// If `seq_len` is 0.
    #[track_caller]
    pub fn validated(corpus: &'c Corpus, seq_len: usize, rows: usize) -> Result<Self, DataError> {
        assert!(seq_len > 0, "windows: seq_len is 0, expected at least 1");
        let parts = [
            ("training", &corpus.train, 1),
            ("validation", &corpus.validation, rows),
        ];
        for (part, tokens, windows) in parts {
            // Neighbours share one token at most: the last target of one, the next one's first
            // input.
            let need = windows * seq_len + 1;
            if tokens.len() < need {
                let unit = corpus.account.unit;
                return Err(DataError::TooShort {
                    corpus: corpus.account.name.clone(),
                    unit: unit.name(),
                    part,
                    have: tokens.len(),
                    need,
                    advice: match unit {
                        Unit::Bytes => {
                            let in_all = split::PARTS * (rows * seq_len + 1 + rest(corpus));
                            format!("give a text of at least {in_all} bytes")
                        }
                        _ => format!("give at least {need} to it"),
                    },
                });
            }
        }
        Ok(Self { corpus, seq_len })
    }

    /// The training batch of one step: `rows` windows at independent uniform positions.
    ///
    /// The batch depends on nothing but the corpus, the window length, `seed`, `step` and `rows`; a
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
        let starts = self.validation_starts(batches, rows)?;
        let batch = |starts: &[usize]| {
            let mut filled = Batch::with_capacity(rows, self.seq_len);
            for &start in starts {
                filled.push(&self.corpus.validation, start);
            }
            filled
        };
        Ok(starts.chunks_exact(rows).map(batch).collect())
    }

    /// Where the windows of [`Windows::validation_batches`] begin in the validation part, batch by
    /// batch.
    ///
    /// # Errors
    /// As there.
    pub fn validation_starts(&self, batches: usize, rows: usize) -> Result<Vec<usize>, DataError> {
        let text = &self.corpus.validation;
        Self::validated(self.corpus, self.seq_len, rows)?;
        let fitting = (text.len() - 1) / self.seq_len;
        let windows = batches.min(fitting / rows) * rows;
        let last_start = text.len() - 1 - self.seq_len;
        let start = |window: usize| (last_start * window).checked_div(windows - 1).unwrap_or(0);
        Ok((0..windows).map(start).collect())
    }
}
