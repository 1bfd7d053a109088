//! Trained networks: from run directories and from files of weights.

use crate::{
    config::{ConfigError, RunConfig, size},
    data::{TokenKind, VOCABULARY},
    invocation::{command_line, path_argument},
    run_dir::{CONFIG_FILE, Status, WEIGHTS_FILE, read_summary},
    state::{self, Found, StateError},
};
use engine::params::Params;
use models::{
    model::ModelConfig,
    weights::{TensorFile, WeightsError},
};
use std::path::{Path, PathBuf};

/// The weights of a network and what it was made from.
pub struct Trained {
    /// Of a run, all of it; of a file of weights that is no longer in its run directory, the
    /// network, and defaults for the rest.
    pub config: RunConfig,
    weights: Weights,
    remarks: Vec<String>,
}

enum Weights {
    File(TensorFile),
    /// Parameters that a run which was killed has left.
    Slab(Vec<f32>),
}

impl Trained {
    /// Reads a run directory, or a safetensors file with weights and their configuration. Of
    /// weights and state of a run the newer is taken.
    ///
    /// # Errors
    /// Anything but that the weights do not fit.
    pub fn open(from: &Path) -> Result<Self, TrainedError> {
        if !from.is_dir() {
            let file = TensorFile::open(from)?;
            let model = file.config()?;
            let of_run = RunConfig::of_run(&from.with_file_name(CONFIG_FILE)).ok();
            let config = match of_run.filter(|config| config.model == model) {
                Some(config) => config,
                None => of_weights(model),
            };
            file.check("", &shapes(&config)?)?;
            return Ok(Self {
                config,
                weights: Weights::File(file),
                remarks: Vec::new(),
            });
        }
        let config = RunConfig::of_run(&from.join(CONFIG_FILE))?;
        let path = from.join(WEIGHTS_FILE);
        let file = match path.exists() {
            true => Some(TensorFile::open(&path)?),
            false => None,
        };
        let mut remarks = Vec::new();
        let weights = newest(from, file, &mut remarks)?;
        let network = shapes(&config)?;
        match &weights {
            Weights::File(file) => file.check("", &network)?,
            Weights::Slab(slab) => {
                let needed = network.iter().map(|(_, param)| param.range.end).max();
                if needed.is_some_and(|needed| slab.len() < needed) {
                    return Err(StateError::OtherRun.into());
                }
            }
        }
        Ok(Self {
            config,
            weights,
            remarks,
        })
    }

    /// Remarks on which weights these are: that one of two files was taken,
    /// or could not be checked.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Sets the parameters of the network that was built from the configuration.
    ///
    /// # Errors
    /// [`TrainedError::Weights`] and [`TrainedError::State`] if they are of another network.
    pub fn load_into(&self, params: &mut Params) -> Result<(), TrainedError> {
        match &self.weights {
            Weights::File(file) => file.load("", params)?,
            Weights::Slab(slab) if slab.len() == params.slab().len() => {
                params.slab_mut().copy_from_slice(slab);
            }
            Weights::Slab(_) => return Err(StateError::OtherRun.into()),
        }
        Ok(())
    }
}

/// The defaults around a network. One whose vocabulary is not that of bytes reads other tokens.
fn of_weights(model: ModelConfig) -> RunConfig {
    let mut config = RunConfig::default();
    if let ModelConfig::Transformer(model) = &model
        && model.vocab_size != VOCABULARY
    {
        config.data.tokens = TokenKind::Ids;
    }
    config.model = model;
    config
}

/// The network, so that what was read can be compared with it before there is memory for it.
fn shapes(config: &RunConfig) -> Result<Params, ConfigError> {
    size::usable(config)?;
    Ok(config.model.shapes()?)
}

/// The weights in a run directory, from their file or from the state.
fn newest(
    directory: &Path,
    file: Option<TensorFile>,
    remarks: &mut Vec<String>,
) -> Result<Weights, TrainedError> {
    let summary = read_summary(directory).ok().flatten();
    let steps = summary.as_ref().map(|summary| summary.steps);
    // Files of earlier versions do not say it; they were written just before the summary.
    let step = file.as_ref().and_then(|file| file.step().or(steps));
    let ended = summary.is_some_and(|summary| summary.status != Status::Interrupted);
    let of_end = ended && step.is_some() && step == steps;
    let found = match &file {
        // Nothing is newer, and the state may be gone.
        Some(_) if of_end => None,
        Some(_) => state::load(directory).unwrap_or_else(|error| {
            remarks.push(format!("{error}; taking {WEIGHTS_FILE}"));
            None
        }),
        None => state::load(directory)?,
    };
    let newer = |found: &Found| step.is_none_or(|step| found.state.step > step);
    match (file, found) {
        (file, Some(found)) if file.is_none() || newer(&found) => {
            if let Some(damage) = found.fallback {
                remarks.push(format!("{damage}; taking the state before it"));
            }
            if file.is_some() {
                let of = step.map_or("of an unknown step".to_owned(), |at| {
                    format!("of step {at}")
                });
                let at = found.state.step;
                remarks.push(format!(
                    "taking the saved state of step {at}: {WEIGHTS_FILE} is older, {of}"
                ));
            }
            Ok(Weights::Slab(found.state.params))
        }
        (Some(file), found) => {
            if let (Some(at), Some(found)) = (step, found)
                && found.state.step < at
            {
                remarks.push(format!(
                    "taking {WEIGHTS_FILE} of step {at}: the saved state is older, of step {}",
                    found.state.step
                ));
            }
            if !file.is_checked() {
                remarks.push(format!(
                    "{WEIGHTS_FILE} has no checksum (an earlier version of the program or another \
                     one wrote it), so damage to it cannot be seen"
                ));
            }
            Ok(Weights::File(file))
        }
        (None, _) => Err(TrainedError::NoWeights {
            directory: directory.to_owned(),
        }),
    }
}

/// Why there is no trained network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainedError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file of weights cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The saved state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The run has not saved anything yet.
    #[error(
        "{directory} holds no weights yet: train it first, with\n  {}",
        command_line(&["train".as_ref(), "--resume".as_ref(), path_argument(directory).as_os_str()])
    )]
    NoWeights {
        /// The run directory.
        directory: PathBuf,
    },
}
