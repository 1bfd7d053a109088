//! Probes of a network in training, and of runs that have ended without them.

use super::{TrainError, Trainer, new_task};
use crate::{
    config::RunConfig,
    data::Data,
    probes::Probes,
    run_dir::{ProbeScores, RunDir, RunError},
    trained::{Trained, TrainedError},
};
use engine::rng::Key;
use thiserror::Error;

/// Why a run that has ended cannot be probed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Weights that cannot be used.
    #[error(transparent)]
    Trained(#[from] TrainedError),
    /// A network, or data, that cannot be used.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Results that cannot be written.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Trainer {
    /// Results of the [probes](crate::probes) with the parameters as they are, in f32; `None` of a
    /// network that does not read bytes.
    pub fn probe(&mut self) -> Option<Vec<ProbeScores>> {
        let (model, corpus) = self.task.decoder()?;
        let probes = Probes::of(corpus, model.config().seq)?;
        let at_once = self.config.train.micro_batch;
        let answers = self.in_parts(probes.windows(), at_once, |task, tape, windows| {
            let (model, _) = task.decoder().expect("a decoder, as before");
            let logits = model.logits(tape, &probes.inputs(windows.clone()), probes.seq());
            logits.with_value(|logits| probes.answers(windows, logits))
        });
        Some(probes.results(&answers.concat()))
    }
}

/// Computes the probes of a run that has ended from its weights and writes them into its directory;
/// `None` where its network does not read bytes. No other file of the run changes.
///
/// # Errors
/// [`ProbeError`].
pub fn probe_ended(
    directory: &RunDir,
    config: &RunConfig,
    data: &Data,
) -> Result<Option<Vec<ProbeScores>>, ProbeError> {
    let trained = Trained::open(directory.path())?;
    let (task, mut params) = new_task(config, data.clone(), Key::new(0))?;
    trained.load_into(&mut params)?;
    let probes = Trainer::with_task(config, task, params).probe();
    if let Some(probes) = &probes {
        directory.set_probes(probes)?;
    }
    Ok(probes)
}
