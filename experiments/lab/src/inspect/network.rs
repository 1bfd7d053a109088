//! The subject of an inspection: a trained network and the tokens that drive it.

use crate::{
    coefficients::SiteCoefficients,
    config::RunConfig,
    data::{Batch, Corpus, Data, DataError, Windows, read_text},
    train::{TrainError, check_tokens, new_task},
    trained::{Trained, TrainedError},
};
use engine::{
    params::Params,
    rng::Key,
    tape::{Edit, Tape, Var},
};
use models::{model::ModelConfig, transformer::Transformer};
use nn::connection::ConnectionConfig;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A trained network with some tokens.
pub struct InspectedNetwork {
    /// The configuration that the network was made from.
    pub config: RunConfig,
    loss: Loss,
    /// The trained parameters.
    pub params: Params,
    /// The parameters as they were before training.
    pub initial: Params,
    /// Name of the data that the tokens are from.
    pub data: String,
    /// The bytes that the network reads, and the length of a window.
    text: Option<(Vec<u8>, usize)>,
    /// Remarks for the user on which weights these are.
    pub remarks: Vec<String>,
}

/// The mean loss over the tokens, on a tape that the parameters are bound to.
type Loss = Box<dyn for<'t> Fn(&'t Tape) -> Var<'t>>;

fn boxed(loss: impl for<'t> Fn(&'t Tape) -> Var<'t> + 'static) -> Loss {
    Box::new(loss)
}

impl InspectedNetwork {
    /// The network of a run directory or of a file of weights, on `rows` windows of the text
    /// in a file, from its beginning, or of the validation part of a folder, or of its own data.
    ///
    /// # Errors
    /// [`InspectError`].
    pub fn open(from: &Path, text: Option<&Path>, rows: usize) -> Result<Self, InspectError> {
        let trained = Trained::open(from)?;
        let config = trained.config.clone();
        let key = Key::new(config.train.seed).named("init");
        let mut bytes = None;
        let ((loss, initial), data) = if let ModelConfig::Transformer(model) = &config.model {
            let (batch, data) = match text {
                Some(file) if !file.is_dir() => {
                    if !config.data.tokens.is_bytes() {
                        return Err(InspectError::TokensNotText);
                    }
                    (
                        windows_of(file, model.seq, rows)?,
                        file.display().to_string(),
                    )
                }
                folder => {
                    let own = config.data.path();
                    let corpus = Corpus::open(folder.or(own.as_deref()), config.data.builtin)?;
                    check_tokens(&config, model, &corpus).map_err(TrainError::from)?;
                    let windows = Windows::new(&corpus, model.seq)?;
                    let mut batches = windows.validation_batches(1, rows)?;
                    let batch = batches.pop().expect("one batch");
                    (batch, format!("validation part of {}", corpus.account.name))
                }
            };
            if config.data.tokens.is_bytes() {
                let text = batch.inputs.iter().map(|&token| token as u8);
                bytes = Some((text.collect(), batch.seq_len));
            }
            let (model, params) = Transformer::new(model, key).map_err(TrainError::from)?;
            let loss = boxed(move |tape| {
                let (inputs, targets) = (&batch.inputs, &batch.targets);
                model.losses(tape, inputs, targets, batch.seq_len).task
            });
            ((loss, params), data)
        } else {
            if text.is_some() {
                return Err(InspectError::ImagesNotText);
            }
            let data = Data::open(&config)?;
            let name = format!("validation images of {}", data.account().name);
            let (task, params) = new_task(&config, data, key)?;
            let rows = rows.min(task.validation_rows());
            let loss = boxed(move |tape| task.validate(tape, 0..rows).loss);
            ((loss, params), name)
        };
        let mut params = initial.detached();
        trained.load_into(&mut params)?;
        Ok(Self {
            config,
            loss,
            params,
            initial,
            data,
            text: bytes,
            remarks: trained.remarks().to_vec(),
        })
    }

    /// The kind of connection.
    pub fn connection(&self) -> &ConnectionConfig {
        self.config.model.connection()
    }

    /// The bytes that the network reads, window after window, and the length of a window; `None`
    /// of images and of other tokens.
    pub fn text(&self) -> Option<(&[u8], usize)> {
        let (text, window) = self.text.as_ref()?;
        Some((text, *window))
    }

    /// The mean loss over the tokens, on a tape that the parameters are bound to.
    pub fn loss<'t>(&self, tape: &'t Tape) -> Var<'t> {
        (self.loss)(tape)
    }

    /// The coefficients of all sublayers with some parameters of this network.
    pub fn coefficients(&self, params: &Params) -> Vec<SiteCoefficients> {
        let mut tape = Tape::new().parallel(true);
        tape.set_recording(false);
        tape.set_probing();
        tape.bind(params);
        self.loss(&tape);
        SiteCoefficients::of(&tape)
    }

    /// The mean loss with values [edited](Tape::set_editing) on the way.
    pub fn edited_loss(&self, edit: Edit) -> f64 {
        let mut tape = Tape::new().parallel(true);
        tape.set_recording(false);
        tape.set_editing(edit);
        tape.bind(&self.params);
        self.loss(&tape).item().into()
    }
}

/// Windows of at most `seq` bytes from the beginning of a file.
fn windows_of(file: &Path, seq: usize, rows: usize) -> Result<Batch, InspectError> {
    let text = read_text(file)?;
    let pairs = text.len().saturating_sub(1);
    let seq_len = seq.min(pairs);
    let Some(windows) = pairs.checked_div(seq_len) else {
        let (path, bytes) = (file.to_owned(), text.len());
        return Err(InspectError::ShortText { path, bytes });
    };
    let rows = rows.min(windows);
    let tokens = |from: usize| {
        let bytes = text[from..from + rows * seq_len].iter();
        bytes.map(|&byte| u32::from(byte)).collect()
    };
    Ok(Batch {
        inputs: tokens(0),
        targets: tokens(1),
        rows,
        seq_len,
    })
}

/// Why there is nothing to look at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is no trained network.
    #[error(transparent)]
    Trained(#[from] TrainedError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be built.
    #[error(transparent)]
    Build(#[from] TrainError),
    /// The text has fewer than two bytes.
    #[error("{} has {bytes} bytes, and predicting takes two at least", path.display())]
    ShortText {
        /// The file.
        path: PathBuf,
        /// Number of bytes.
        bytes: usize,
    },
    /// A text for a network of images.
    #[error("this network sees images: leave out --text, and it is shown its validation images")]
    ImagesNotText,
    /// A text for a network of tokens.
    #[error(
        "this network reads the ids of tokens: leave out --text, or give a folder with train.bin \
         and val.bin"
    )]
    TokensNotText,
}
