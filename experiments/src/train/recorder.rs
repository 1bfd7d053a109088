//! What the connections do while a network learns, into the run directory.

use super::{Observer, TrainError, Trainer};
use crate::{
    coefficients::SiteCoefficients,
    run_dir::{CoefficientLog, CoefficientRecord, RunDir},
};
use engine::tape::Tape;

/// Records the coefficients over the first validation rows, as many as a micro-batch.
pub(super) struct Recorder {
    log: CoefficientLog,
    tape: Tape,
}

impl Recorder {
    /// The recorder of a run that is to be recorded: cuts off what was recorded after the
    /// trainer's step, and records the initialisation of a run that begins.
    pub(super) fn open(
        trainer: &Trainer,
        directory: Option<&RunDir>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Self>, TrainError> {
        let Some(directory) = directory.filter(|_| trainer.config.train.record_every > 0) else {
            return Ok(None);
        };
        let mut tape = Tape::new();
        tape.set_recording(false);
        tape.set_probing();
        let mut recorder = Self {
            log: directory.coefficients()?,
            tape,
        };
        recorder.log.rewind_to(trainer.step)?;
        let first = recorder.look(trainer);
        if first.mean.is_empty() {
            observer.warning(
                "train.record_every: this connection has no coefficients of streams to record",
            );
            return Ok(None);
        }
        if trainer.step == 0 && recorder.log.records().is_empty() {
            recorder.log.append(first)?;
        }
        Ok(Some(recorder))
    }

    /// Records every `record_every` steps, and after the last one.
    pub(super) fn after_step(&mut self, trainer: &Trainer) -> Result<(), TrainError> {
        let train = &trainer.config.train;
        let due = trainer.step.is_multiple_of(train.record_every as u64);
        if due || trainer.step == train.steps as u64 {
            let record = self.look(trainer);
            self.log.append(record)?;
        }
        Ok(())
    }

    /// Waits until everything is on the disk.
    pub(super) fn sync(&self) -> Result<(), TrainError> {
        Ok(self.log.sync()?)
    }

    fn look(&mut self, trainer: &Trainer) -> CoefficientRecord {
        let rows = trainer.config.train.micro_batch;
        let rows = 0..rows.min(trainer.task.validation_rows());
        self.tape.bind(&trainer.params);
        trainer.task.validate(&self.tape, rows);
        let sites = SiteCoefficients::of(&self.tape);
        self.tape.reset();
        CoefficientRecord {
            step: trainer.step,
            mean: sites.iter().map(SiteCoefficients::mean).collect(),
            deviation: sites.iter().map(SiteCoefficients::deviation).collect(),
        }
    }
}
