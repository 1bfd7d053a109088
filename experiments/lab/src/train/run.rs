//! A whole run: steps, validation, records, saved states.

use super::{
    Observer, StepReport, TrainError, Trainer, Validation, observer::Noting, recorder::Recorder,
    warnings::worse_than_guessing,
};
use crate::{
    run_dir::{Ended, EventLog, MetricsLog, MetricsRecord, RunDir, Status, Summary},
    state::{self, Logs},
};
use nn::guard::WATCHED_STEPS;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

impl Trainer {
    /// Trains to the last step, or until `stop` is set: the step in progress is
    /// finished then, and the state saved.
    ///
    /// With a directory, metrics and states go there; a run that was interrupted goes
    /// on from its last state, and one that has ended is left as it is, but for weights that
    /// are lost or damaged: they are written again where the state of its end is there. The
    /// directory's configuration, command and environment are the caller's business.
    ///
    /// # Errors
    /// [`TrainError::Run`] and [`TrainError::State`] if the directory cannot be read or
    /// written, [`TrainError::NotLearning`] if the configuration is strict.
    pub fn run(
        &mut self,
        directory: Option<&RunDir>,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Summary, TrainError> {
        let observer = &mut Noting::new(observer, directory.map(RunDir::path));
        if let Some(directory) = directory
            && let Some(ended) = Ended::read(directory.path())?
        {
            self.check_weights(directory, &ended.summary, observer)?;
            return Ok(ended.summary);
        }
        let (log, logs) = match directory {
            Some(directory) => self.take_up(directory, observer)?,
            None => (None, None),
        };
        observer.begun(self.step);
        let mark = logs.and_then(|logs| logs.coefficients);
        let recorder = Recorder::open(self, directory, mark.as_ref(), observer)?;
        let mut run = Run::new(self, directory, log, recorder);
        if let Some(directory) = directory.filter(|_| self.config.train.tensorboard) {
            let recorded = run.log.as_ref().map_or(&[][..], MetricsLog::records);
            let events = EventLog::open(directory.path(), self.step, recorded)?;
            if let Some(damage) = events.damage() {
                observer.warning(&damage);
            }
            run.events = Some(events);
        }
        let status = run.train(self, observer, stop)?;
        let summary = run.summary(self, status);
        for remark in &summary.remarks {
            observer.warning(remark);
        }
        if let Some(directory) = directory {
            self.write_weights(directory)?;
            if status == Status::Ok {
                let sources = self.task.validation_sources();
                directory.set_validation(&sources, &self.unit_scores())?;
                if let Some(probes) = self.probe() {
                    directory.set_probes(&probes)?;
                }
            }
            directory.set_summary(&summary)?;
        }
        Ok(summary)
    }

    /// Returns whether the network is validated after a step that has not diverged.
    fn evaluates(&self, step: u64) -> bool {
        let train = &self.config.train;
        step == train.steps as u64 || due(train.eval_every, step)
    }

    /// Returns whether a step that has not diverged is recorded in the metrics.
    pub(super) fn records(&self, step: u64) -> bool {
        step == 1 || self.evaluates(step) || due(self.config.train.log_every, step)
    }
}

fn finite(loss: f64) -> Option<f64> {
    Some(loss).filter(|loss| loss.is_finite())
}

fn due(interval: usize, step: u64) -> bool {
    interval > 0 && step.is_multiple_of(interval as u64)
}

/// The books of a run.
struct Run<'d> {
    directory: Option<&'d RunDir>,
    log: Option<MetricsLog>,
    recorder: Option<Recorder>,
    events: Option<EventLog>,
    started: Instant,
    step_ms: Vec<f64>,
    last_train: Option<f64>,
    last_validation: Option<Validation>,
    best_validation: Option<f64>,
}

impl<'d> Run<'d> {
    fn new(
        trainer: &Trainer,
        directory: Option<&'d RunDir>,
        log: Option<MetricsLog>,
        recorder: Option<Recorder>,
    ) -> Self {
        let steps = trainer.config.train.steps as u64;
        let left = steps.saturating_sub(trainer.step) as usize;
        let mut run = Self {
            directory,
            started: Instant::now(),
            // Of more steps than a run takes there is nothing to gain.
            step_ms: Vec::with_capacity(left.min(1 << 20)),
            last_train: None,
            last_validation: None,
            best_validation: None,
            log: None,
            recorder,
            events: None,
        };
        for record in log.iter().flat_map(|log| log.records()) {
            let validation = record.val_loss.map(|loss| Validation {
                loss,
                accuracy: record.val_accuracy,
                by_noise_level: record.val_loss_by_noise_level,
            });
            run.note(record.train_loss, validation);
        }
        run.log = log;
        run
    }

    fn note(&mut self, train: f64, validation: Option<Validation>) {
        self.last_train = finite(train);
        self.last_validation = validation.or(self.last_validation);
        let loss = validation.and_then(|validation| finite(validation.loss));
        self.best_validation = match (self.best_validation, loss) {
            (Some(best), Some(loss)) => Some(best.min(loss)),
            (best, loss) => best.or(loss),
        };
    }

    fn seconds(&self, trainer: &Trainer) -> f64 {
        trainer.earlier_seconds + self.started.elapsed().as_secs_f64()
    }

    fn train(
        &mut self,
        trainer: &mut Trainer,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Status, TrainError> {
        let train = trainer.config.train.clone();
        let last = train.steps as u64;
        let mut failed = false;
        while trainer.step < last {
            let report = trainer.step();
            let step = report.step;
            let diverged = report.diverged();
            self.step_ms.push(report.ms);

            let evaluates = !diverged && trainer.evaluates(step);
            let validation = evaluates.then(|| trainer.validate());
            self.note(report.loss, validation);
            if let Some(directory) = self.directory {
                directory.check_lock()?;
            }
            let records = diverged || trainer.records(step);
            if let (Some(log), true) = (&mut self.log, records) {
                let record = record(&report, validation);
                log.append(record)?;
                if let Some(events) = &mut self.events {
                    events.append(&record)?;
                }
            }
            if let (Some(recorder), false) = (&mut self.recorder, diverged) {
                recorder.after_step(trainer)?;
            }
            observer.step(&report, validation.map(|validation| validation.loss));
            if diverged {
                return Ok(Status::Diverged);
            }
            match trainer.backend.failure() {
                // What was computed since is the CPU's, and right.
                Err(message) => {
                    self.save(trainer)?;
                    return Err(TrainError::Device(message));
                }
                Ok(Some(note)) if !failed => {
                    failed = true;
                    observer.warning(&note);
                }
                Ok(_) => {}
            }
            if step == u64::from(WATCHED_STEPS) {
                let findings = trainer.findings();
                if train.strict && !findings.is_empty() {
                    return Err(TrainError::NotLearning(findings));
                }
                if !findings.is_empty() {
                    observer.not_learning(&findings);
                }
            }
            let stopped = step < last && stop.load(Ordering::Relaxed);
            if step == last || stopped || due(train.checkpoint_every, step) {
                self.save(trainer)?;
            }
            if stopped {
                return Ok(Status::Interrupted);
            }
        }
        Ok(Status::Ok)
    }

    /// Metrics first: a state must not be ahead of what is recorded.
    fn save(&mut self, trainer: &Trainer) -> Result<(), TrainError> {
        if let (Some(directory), Some(log)) = (self.directory, &self.log) {
            directory.check_lock()?;
            log.sync()?;
            if let Some(recorder) = &self.recorder {
                recorder.sync()?;
            }
            let mut state = trainer.state(self.seconds(trainer));
            state.logs = Some(Logs {
                metrics: log.mark(),
                coefficients: self.recorder.as_ref().map(Recorder::mark),
            });
            state::save(directory.path(), &state)?;
        }
        Ok(())
    }

    fn summary(&mut self, trainer: &Trainer, status: Status) -> Summary {
        let account = trainer.account();
        let data = trainer.task.data();
        let diverged = status == Status::Diverged;
        let validation = self.last_validation;
        Summary {
            status,
            diverged_at_step: diverged.then_some(trainer.step),
            steps: trainer.step,
            tokens: trainer.tokens(),
            final_train_loss: self.last_train,
            final_val_loss: self.validation_loss(),
            best_val_loss: self.best_validation,
            final_val_accuracy: validation.and_then(|last| last.accuracy),
            final_val_loss_by_noise_level: validation.and_then(|last| last.by_noise_level),
            routers: match status {
                Status::Ok => trainer.routers(),
                Status::Diverged | Status::Interrupted => Vec::new(),
            },
            parameters: account.parameters.trained,
            flops_per_token: account.flops.total(),
            wall_seconds: self.seconds(trainer),
            median_step_ms: self.median_step_ms(),
            backend: trainer.backend.made_by(trainer.config.train.precision),
            corpus: data.name.clone(),
            corpus_fingerprint: data.fingerprint.clone(),
            data: Some(data.without_lists()),
            remarks: self.remarks(trainer, status),
        }
    }

    /// Remarks that a reader of the results has to know.
    fn remarks(&self, trainer: &Trainer, status: Status) -> Vec<String> {
        let task = &trainer.task;
        let loss = self.validation_loss().filter(|_| status == Status::Ok);
        let worse = loss.and_then(|loss| {
            worse_than_guessing(loss, self.last_train, task.guessing_loss(), task.data())
        });
        worse.into_iter().collect()
    }

    /// The last validation loss, if it is finite.
    fn validation_loss(&self) -> Option<f64> {
        finite(self.last_validation?.loss)
    }

    /// Of the steps of this process or, if there were none, of those recorded.
    fn median_step_ms(&mut self) -> f64 {
        if self.step_ms.is_empty() {
            let recorded = self.log.iter().flat_map(|log| log.records());
            self.step_ms.extend(recorded.map(|record| record.ms));
        }
        self.step_ms.sort_by(f64::total_cmp);
        let middle = self.step_ms.len() / 2;
        self.step_ms.get(middle).copied().unwrap_or(0.0)
    }
}

fn record(report: &StepReport, validation: Option<Validation>) -> MetricsRecord {
    MetricsRecord {
        step: report.step,
        tokens: report.tokens,
        train_loss: report.loss,
        val_loss: validation.map(|validation| validation.loss),
        val_accuracy: validation.and_then(|validation| validation.accuracy),
        val_loss_by_noise_level: validation.and_then(|validation| validation.by_noise_level),
        lr: report.learning_rate,
        grad_norm: report.grad_norm,
        ms: report.ms,
    }
}
