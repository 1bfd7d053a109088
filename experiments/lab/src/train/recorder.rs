//! What the connections do while a network learns, into the run directory, and what the routers of
//! mixtures of experts do with the validation data.

use super::{Observer, TrainError, Trainer};
use crate::{
    coefficients::SiteCoefficients,
    run_dir::{
        COEFFICIENTS_FILE, CoefficientLog, CoefficientRecord, LogMark, RouterSummary, RunDir,
    },
};
use engine::tape::Tape;
use models::config::FfnConfig;
use nn::hooks;

/// Records the coefficients over the first validation rows, as many as a micro-batch.
pub(super) struct Recorder {
    log: CoefficientLog,
    tape: Tape,
}

impl Recorder {
    /// The recorder of a run that is to be recorded: cuts off what was recorded after the
    /// trainer's step, checks what was recorded before against the state, and records the
    /// initialisation of a run that begins.
    pub(super) fn open(
        trainer: &Trainer,
        directory: Option<&RunDir>,
        mark: Option<&LogMark>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Self>, TrainError> {
        let Some(directory) = directory.filter(|_| trainer.config.train.record_every > 0) else {
            return Ok(None);
        };
        let mut tape = Tape::new();
        tape.set_recording(false);
        tape.set_probing();
        let first = look(&mut tape, trainer);
        if first.mean.is_empty() {
            observer.warning(
                "train.record_every: this connection has no coefficients of streams to record",
            );
            return Ok(None);
        }
        let path = directory.path().join(COEFFICIENTS_FILE);
        let begun = trainer.step > 0;
        let due = (0..=trainer.step).filter(|&step| begun && is_due(trainer, step));
        let mut recorder = Self {
            log: CoefficientLog::open_at(&path, trainer.step, mark, due)?,
            tape,
        };
        if trainer.step == 0 && recorder.log.records().is_empty() {
            recorder.log.append(first)?;
        }
        Ok(Some(recorder))
    }

    /// Records every `record_every` steps, and after the last one.
    pub(super) fn after_step(&mut self, trainer: &Trainer) -> Result<(), TrainError> {
        if is_due(trainer, trainer.step) {
            let record = look(&mut self.tape, trainer);
            self.log.append(record)?;
        }
        Ok(())
    }

    /// Length and checksum of the log.
    pub(super) fn mark(&self) -> LogMark {
        self.log.mark()
    }

    /// Waits until everything is on the disk.
    pub(super) fn sync(&self) -> Result<(), TrainError> {
        Ok(self.log.sync()?)
    }
}

fn is_due(trainer: &Trainer, step: u64) -> bool {
    let train = &trainer.config.train;
    step.is_multiple_of(train.record_every as u64) || step == train.steps as u64
}

fn look(tape: &mut Tape, trainer: &Trainer) -> CoefficientRecord {
    let rows = trainer.config.train.micro_batch;
    let rows = 0..rows.min(trainer.task.validation_rows());
    tape.bind(&trainer.params);
    trainer.task.validate(tape, rows);
    let sites = SiteCoefficients::of(tape);
    tape.reset();
    CoefficientRecord {
        step: trainer.step,
        mean: sites.iter().map(SiteCoefficients::mean).collect(),
        deviation: sites.iter().map(SiteCoefficients::deviation).collect(),
    }
}

impl Trainer {
    /// One summary for each block, over all validation rows; none without experts.
    pub fn routers(&self) -> Vec<RouterSummary> {
        if !matches!(self.config.model.ffn(), FfnConfig::Moe(_)) {
            return Vec::new();
        }
        let rows = self.task.validation_rows();
        let mut tape = Tape::new();
        tape.set_recording(false);
        tape.set_probing();
        let mut sums: Vec<RouterSummary> = Vec::new();
        for first in (0..rows).step_by(self.config.train.micro_batch) {
            let here = first..(first + self.config.train.micro_batch).min(rows);
            let share = here.len() as f64 / rows as f64;
            tape.bind(&self.params);
            self.task.validate(&tape, here);
            for (name, var) in tape.probes() {
                let Some((site, probe)) = name.rsplit_once('.') else {
                    continue;
                };
                let values = var.value();
                let last = sums.iter().rposition(|sum| sum.site == site);
                match (probe, last) {
                    (hooks::LOAD, None) => sums.push(RouterSummary {
                        site: site.to_owned(),
                        load: values.iter().map(|&v| share * f64::from(v)).collect(),
                        entropy: 0.0,
                        dropped: 0,
                    }),
                    (hooks::LOAD, Some(index)) => {
                        for (sum, &v) in sums[index].load.iter_mut().zip(&values) {
                            *sum += share * f64::from(v);
                        }
                    }
                    (hooks::ENTROPY, Some(index)) => {
                        sums[index].entropy += share * f64::from(values[0])
                    }
                    (hooks::DROPPED, Some(index)) => sums[index].dropped += values[0] as u64,
                    _ => {}
                }
            }
            tape.reset();
        }
        sums
    }
}
