//! Taking up a run from its directory: which of its files are believed.

use super::{Observer, TrainError, Trainer, WEIGHTS_FILE};
use crate::{
    run_dir::{METRICS_FILE, MetricsLog, RunDir, RunError, STATE_FILE, Summary, read_metrics},
    state::{self, Found, Logs},
};
use models::weights::{self, TensorFile};

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
