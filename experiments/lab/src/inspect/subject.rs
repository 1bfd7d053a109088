//! What is looked at: a trained network and the tokens that drive it.

use crate::{
    coefficients::SiteCoefficients,
    config::RunConfig,
    data::{Batch, Corpus, Data, DataError, Windows, read_text},
    train::{Task, TrainError, check_tokens, new_task},
    trained::{Trained, TrainedError},
};
use engine::{
    params::Params,
    rng::Key,
    tape::{Edit, Tape, Var},
};
use models::{model::ModelConfig, transformer::Transformer};
use nn::connection::ConnectionConfig;
use std::{error::Error, fmt, path::Path, path::PathBuf};

/// A trained network with some tokens.
pub struct Subject {
    config: RunConfig,
    network: Network,
    params: Params,
    /// As it was before training.
    initial: Params,
    data: String,
    remarks: Vec<String>,
}

enum Network {
    /// A decoder and windows of text.
    Decoder(Box<Transformer>, Batch),
    /// A classifier or a denoiser, and how many of its test images.
    OfImages(Box<dyn Task>, usize),
}

impl Subject {
    /// The network of a run directory or of a file of weights, on `rows` windows of the text
    /// in a file, from its beginning, or of the validation part of a folder, or of its own data.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn open(from: &Path, text: Option<&Path>, rows: usize) -> Result<Self, SubjectError> {
        let trained = Trained::open(from)?;
        let config = trained.config.clone();
        let key = Key::new(config.train.seed).named("init");
        let (network, initial, data) = match (&config.model, text) {
            (ModelConfig::Transformer(model), Some(path)) if !path.is_dir() => {
                if !config.data.tokens.is_bytes() {
                    return Err(SubjectError::TokensNotText);
                }
                let text = read_text(path)?;
                let batch = windows_of(&text, model.seq, rows).ok_or_else(|| {
                    let path = path.to_owned();
                    let bytes = text.len();
                    SubjectError::ShortText { path, bytes }
                })?;
                let (model, params) = Transformer::new(model, key).map_err(TrainError::from)?;
                let network = Network::Decoder(Box::new(model), batch);
                (network, params, path.display().to_string())
            }
            (ModelConfig::Transformer(model), folder) => {
                let own = config.data.path();
                let corpus = Corpus::open(folder.or(own.as_deref()))?;
                check_tokens(&config, model, &corpus).map_err(TrainError::from)?;
                let windows = Windows::new(&corpus, model.seq)?;
                let mut batches = windows.validation_batches(1, rows)?;
                let batch = batches.pop().expect("one batch");
                let (model, params) = Transformer::new(model, key).map_err(TrainError::from)?;
                let network = Network::Decoder(Box::new(model), batch);
                (
                    network,
                    params,
                    format!("validation part of {}", corpus.account.name),
                )
            }
            (_, Some(_)) => return Err(SubjectError::ImagesNotText),
            (_, None) => {
                let data = Data::open(&config)?;
                let described = format!("validation images of {}", data.account().name);
                let (task, params) = new_task(&config, data, key)?;
                let rows = rows.min(task.validation_rows());
                (Network::OfImages(task, rows), params, described)
            }
        };
        let mut params = initial.detached();
        trained.load_into(&mut params)?;
        Ok(Self {
            config,
            network,
            params,
            initial,
            data,
            remarks: trained.remarks().to_vec(),
        })
    }

    /// What the network was made from.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// What the user has to know about which weights these are.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Its kind of connection.
    pub fn connection(&self) -> &ConnectionConfig {
        self.config.model.connection()
    }

    /// What the tokens are from.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Its trained parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Its parameters before training.
    pub fn initial_params(&self) -> &Params {
        &self.initial
    }

    /// The bytes that it reads, window after window, and the length of a window; `None` of images
    /// and of other tokens.
    pub fn text(&self) -> Option<(Vec<u8>, usize)> {
        match &self.network {
            Network::Decoder(_, batch) if self.config.data.tokens.is_bytes() => {
                let text = batch.inputs.iter().map(|&token| token as u8).collect();
                Some((text, batch.seq_len))
            }
            Network::Decoder(..) | Network::OfImages(..) => None,
        }
    }

    /// The mean loss over the tokens, on a tape that the parameters are bound to.
    pub fn loss<'t>(&self, tape: &'t Tape) -> Var<'t> {
        match &self.network {
            Network::Decoder(model, batch) => {
                let (inputs, targets) = (&batch.inputs, &batch.targets);
                model.losses(tape, inputs, targets, batch.seq_len).task
            }
            Network::OfImages(task, rows) => task.validate(tape, 0..*rows).loss,
        }
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

/// Windows of at most `seq` bytes from the beginning of a text; `None` if it has not two
/// bytes.
fn windows_of(text: &[u8], seq: usize, rows: usize) -> Option<Batch> {
    let seq_len = seq.min(text.len().checked_sub(1)?);
    let rows = rows.min((text.len() - 1).checked_div(seq_len)?);
    let tokens = |from: usize| {
        let bytes = text[from..from + rows * seq_len].iter();
        bytes.map(|&byte| u32::from(byte)).collect()
    };
    Some(Batch {
        inputs: tokens(0),
        targets: tokens(1),
        rows,
        seq_len,
    })
}

/// Why there is nothing to look at.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubjectError {
    /// There is no trained network.
    Trained(TrainedError),
    /// Its data cannot be used.
    Data(DataError),
    /// The network cannot be built.
    Build(TrainError),
    /// The text has fewer than two bytes.
    ShortText {
        /// The file.
        path: PathBuf,
        /// How many it has.
        bytes: usize,
    },
    /// A text for a network of images.
    ImagesNotText,
    /// A text for a network of tokens.
    TokensNotText,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trained(error) => error.fmt(f),
            Self::Data(error) => error.fmt(f),
            Self::Build(error) => error.fmt(f),
            Self::ShortText { path, bytes } => write!(
                f,
                "{} has {bytes} bytes, and predicting takes two at least",
                path.display()
            ),
            Self::TokensNotText => f.write_str(
                "this network reads the ids of tokens: leave out --text, or give a folder with \
                 train.bin and val.bin",
            ),
            Self::ImagesNotText => f.write_str(
                "this network sees images: leave out --text, and it is shown its validation images",
            ),
        }
    }
}

impl Error for SubjectError {}

impl From<TrainedError> for SubjectError {
    fn from(error: TrainedError) -> Self {
        Self::Trained(error)
    }
}

impl From<DataError> for SubjectError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<TrainError> for SubjectError {
    fn from(error: TrainError) -> Self {
        Self::Build(error)
    }
}
