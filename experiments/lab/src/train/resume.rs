//! Leaving a training and taking it up, bit for bit: which of its files are believed.

use super::{Observer, TrainError, Trainer, WEIGHTS_FILE};
use crate::{
    data::DataAccount,
    files::read_text,
    run_dir::{
        ENVIRONMENT_FILE, Environment, METRICS_FILE, MetricsLog, RunDir, RunError, STATE_FILE,
        Summary, read_metrics, read_summary,
    },
    state::{self, Found, Logs, StateError, TrainState},
};
use models::weights::{self, TensorFile, WeightsError};
use sha2::{Digest, Sha256};
use std::path::Path;

impl Trainer {
    /// Goes on from the last state, if there is one; what was recorded after it is
    /// dropped, to be recorded again. What was recorded before it has to be there.
    pub(super) fn take_up(
        &mut self,
        directory: &RunDir,
        observer: &mut dyn Observer,
    ) -> Result<(Option<MetricsLog>, Option<Logs>), TrainError> {
        let stopped_at = directory.summary()?.map_or(0, |summary| summary.steps);
        let mut logs = None;
        match state::load(directory.path())? {
            Some(Found { state, fallback }) => {
                self.restore(&state)?;
                if let Some(error) = fallback {
                    observer.warning(&format!("{error}; going on from the state before it"));
                }
                if state.step < stopped_at {
                    observer.warning(&format!(
                        "the run was stopped after step {stopped_at}, but the newest sound state \
                         is of step {}: the steps between are done again",
                        state.step
                    ));
                }
                if state.logs.is_none() {
                    observer.warning(
                        "the state is of an earlier version of the program and has no checksums \
                         of the logs: of these, the steps alone can be checked",
                    );
                }
                logs = state.logs;
            }
            None => {
                // A step behind the first checkpoint was only done when that was saved.
                let recorded = read_metrics(directory.path())?
                    .last()
                    .map_or(0, |last| last.step);
                let first_state = self.config.train.checkpoint_every as u64;
                let saved = stopped_at > 0 || (first_state > 0 && recorded > first_state);
                if saved {
                    return Err(TrainError::Run(RunError::Disagree {
                        path: directory.path().join(METRICS_FILE),
                        other: STATE_FILE,
                        reason: format!(
                            "the run has come to step {}, its state is gone",
                            recorded.max(stopped_at)
                        ),
                        advice: "put back a copy of the state, or start the run afresh with \
                                 --force",
                    }));
                }
            }
        }
        let path = directory.path().join(METRICS_FILE);
        let due = (1..=self.step).filter(|&step| self.records(step));
        let mark = logs.as_ref().map(|logs| &logs.metrics);
        let log = MetricsLog::open_at(&path, self.step, mark, due)?;
        Ok((Some(log), logs))
    }

    /// Writes the weights of a run that has ended again, if they are lost or damaged and its
    /// last state is there.
    pub(super) fn check_weights(
        &mut self,
        directory: &RunDir,
        summary: &Summary,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let path = directory.path().join(WEIGHTS_FILE);
        let Err(error) = TensorFile::open(&path) else {
            return Ok(());
        };
        let last = state::load(directory.path()).ok().flatten();
        match last.filter(|found| found.state.step == summary.steps) {
            Some(found) => {
                self.restore(&found.state)?;
                self.write_weights(directory)?;
                observer.warning(&format!("{error}; written again from the saved state"));
            }
            None => observer.warning(&format!(
                "{error}; no saved state is of the last step, to write the weights from again"
            )),
        }
        Ok(())
    }

    pub(super) fn write_weights(&self, directory: &RunDir) -> Result<(), TrainError> {
        let weights = weights::to_bytes_at(&self.params, &self.config.model, self.step);
        Ok(directory.write(WEIGHTS_FILE, &weights)?)
    }
}

impl Trainer {
    /// Takes the weights of a file in place of the initial ones.
    ///
    /// # Errors
    /// As [`TensorFile::load`].
    pub fn start_from(&mut self, weights: &TensorFile) -> Result<(), WeightsError> {
        weights.load("", &mut self.params)
    }

    /// Writes weights and state as they are before the first step into a directory without a run's
    /// files, so that a training begins with them.
    ///
    /// # Errors
    /// [`TrainError::Run`], [`TrainError::State`].
    pub fn save_start(&self, directory: &RunDir) -> Result<(), TrainError> {
        let none = std::iter::empty();
        let log = MetricsLog::open_at(&directory.path().join(METRICS_FILE), 0, None, none)?;
        let mut state = self.state(0.0);
        state.logs = Some(Logs {
            metrics: log.mark(),
            coefficients: None,
        });
        self.write_weights(directory)?;
        Ok(state::save(directory.path(), &state)?)
    }

    /// Everything that the next step depends on. `seconds` is the wall time so far. Logs, if
    /// there are any, are for the caller to add.
    pub fn state(&self, seconds: f64) -> TrainState {
        let (first, second) = self.optimiser.moments();
        TrainState {
            identity: self.identity(),
            step: self.step,
            updates: self.optimiser.steps(),
            seconds,
            guard: self.guard.clone(),
            params: self.params.slab().to_vec(),
            first_moment: first.to_vec(),
            second_moment: second.to_vec(),
            logs: None,
        }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// [`StateError::OtherRun`] if it was made by another configuration, on another
    /// corpus, or by a program that builds this network differently.
    pub fn restore(&mut self, state: &TrainState) -> Result<(), StateError> {
        let slab = self.params.slab().len();
        let slabs = [&state.params, &state.first_moment, &state.second_moment];
        let fits = state.identity == self.identity()
            && slabs.iter().all(|values| values.len() == slab)
            && state.guard.fits(&self.params);
        if !fits {
            return Err(StateError::OtherRun);
        }
        self.params.slab_mut().copy_from_slice(&state.params);
        self.optimiser
            .restore(&state.first_moment, &state.second_moment, state.updates);
        self.guard = state.guard.clone();
        self.step = state.step;
        self.earlier_seconds = state.seconds;
        Ok(())
    }

    /// A digest of configuration, data and parameter names.
    fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.config.identity());
        hash.update(&self.task.data().fingerprint);
        for part in self.params.parts() {
            hash.update([0]);
            hash.update(&part.name);
            hash.update((part.range.start as u64).to_le_bytes());
            hash.update((part.range.end as u64).to_le_bytes());
        }
        hash.finalize().into()
    }
}

/// Returns whether these are the data that the run in a directory was begun with, as far as its
/// files say.
///
/// # Errors
/// [`TrainError::OtherData`]; [`TrainError::Run`] if its summary is damaged.
pub fn check_same_data(directory: &Path, data: &DataAccount) -> Result<(), TrainError> {
    let environment = read_text(&directory.join(ENVIRONMENT_FILE)).ok();
    let environment: Option<Environment> =
        environment.and_then(|text| serde_json::from_str(&text).ok());
    let begun_with = environment.and_then(|environment| environment.data);
    let stored = match begun_with {
        Some(account) => Some(account.fingerprint),
        None => read_summary(directory)?.map(|summary| summary.corpus_fingerprint),
    };
    match stored.filter(|stored| *stored != data.fingerprint) {
        None => Ok(()),
        Some(stored) => Err(TrainError::OtherData {
            path: directory.to_owned(),
            name: data.name.clone(),
            stored,
            wanted: data.fingerprint.clone(),
        }),
    }
}
