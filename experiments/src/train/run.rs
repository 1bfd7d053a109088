//! A whole run: steps, validation, records, saved states.

use super::{StepReport, TrainError, Trainer, Validation, recorder::Recorder, warnings::Noting};
use crate::{
    run_dir::{
        EventLog, LossByNoiseLevel, MetricsLog, MetricsRecord, RunDir, Status, Summary,
        write_atomically,
    },
    state,
};
use models::weights;
use nn::guard::{Finding, WATCHED_STEPS};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// Name of the file with the weights of a run that has ended or was stopped.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Is told what happens during a run.
pub trait Observer: Send {
    /// The run begins, or goes on after these steps.
    fn begun(&mut self, steps_done: u64) {
        let _ = steps_done;
    }

    /// A step is done; with the validation loss, where it was measured.
    fn step(&mut self, report: &StepReport, validation: Option<f64>) {
        let _ = (report, validation);
    }

    /// Something does not learn.
    fn not_learning(&mut self, findings: &[Finding]) {
        let _ = findings;
    }

    /// Something that the run can live with.
    fn warning(&mut self, message: &str) {
        let _ = message;
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {}

impl Trainer {
    /// Trains to the last step, or until `stop` is set: the step in progress is
    /// finished then, and the state saved.
    ///
    /// With a directory, metrics and states go there; a run that was interrupted goes
    /// on from its last state, and one that has ended is left as it is. The
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
            && let Some(summary) = directory.summary()?
            && summary.status.is_final()
        {
            return Ok(summary);
        }
        let mut log = directory.map(RunDir::metrics).transpose()?;
        if let (Some(directory), Some(log)) = (directory, &mut log) {
            self.take_up(directory, log, observer)?;
        }
        observer.begun(self.step);
        let recorder = Recorder::open(self, directory, observer)?;
        let mut run = Run::new(self, directory, log, recorder);
        if let Some(directory) = directory.filter(|_| self.config.train.tensorboard) {
            run.events = Some(EventLog::open(directory.path(), self.step)?);
        }
        let status = run.train(self, observer, stop)?;
        let summary = run.summary(self, status);
        if let Some(directory) = directory {
            let weights = weights::to_bytes(&self.params, &self.config.model);
            write_atomically(&directory.path().join(WEIGHTS_FILE), &weights)?;
            directory.set_summary(&summary)?;
        }
        Ok(summary)
    }

    /// Goes on from the last state, if there is one; what was recorded after it is
    /// dropped, to be recorded again.
    fn take_up(
        &mut self,
        directory: &RunDir,
        log: &mut MetricsLog,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        if let Some(found) = state::load(directory.path())? {
            self.restore(&found.state)?;
            if let Some(error) = found.fallback {
                observer.warning(&format!("{error}; going on from the state before it"));
            }
        }
        log.rewind_to(self.step)?;
        Ok(())
    }
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
    last_validation: Option<f64>,
    best_validation: Option<f64>,
    last_accuracy: Option<f64>,
    last_by_noise_level: Option<LossByNoiseLevel>,
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
            step_ms: Vec::with_capacity(left),
            last_train: None,
            last_validation: None,
            best_validation: None,
            last_accuracy: None,
            last_by_noise_level: None,
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
        self.last_train = Some(train).filter(|loss| loss.is_finite());
        if let Some(validation) = validation {
            let loss = validation.loss;
            self.last_accuracy = validation.accuracy;
            self.last_by_noise_level = validation.by_noise_level;
            self.last_validation = Some(loss).filter(|loss| loss.is_finite());
            let better = self.best_validation.is_none_or(|best| loss < best);
            if loss.is_finite() && better {
                self.best_validation = Some(loss);
            }
        }
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
        let due = |interval: usize, step: u64| interval > 0 && step.is_multiple_of(interval as u64);
        let mut failed = false;
        while trainer.step < last {
            let report = trainer.step();
            let step = report.step;
            let diverged = report.diverged();
            self.step_ms.push(report.ms);

            let evaluates = !diverged && (step == last || due(train.eval_every, step));
            let validation = evaluates.then(|| trainer.validate());
            self.note(report.loss, validation);
            let logs = step == 1 || diverged || evaluates || due(train.log_every, step);
            if let (Some(log), true) = (&mut self.log, logs) {
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
            log.sync()?;
            if let Some(recorder) = &self.recorder {
                recorder.sync()?;
            }
            let seconds = self.seconds(trainer);
            state::save(directory.path(), &trainer.state(seconds))?;
        }
        Ok(())
    }

    fn summary(&mut self, trainer: &Trainer, status: Status) -> Summary {
        let account = trainer.account();
        let (corpus, fingerprint) = trainer.task.data();
        let diverged = status == Status::Diverged;
        Summary {
            status,
            diverged_at_step: diverged.then_some(trainer.step),
            steps: trainer.step,
            tokens: trainer.tokens(),
            final_train_loss: self.last_train,
            final_val_loss: self.last_validation,
            best_val_loss: self.best_validation,
            final_val_accuracy: self.last_accuracy,
            final_val_loss_by_noise_level: self.last_by_noise_level,
            routers: match status {
                Status::Ok => trainer.routers(),
                Status::Diverged | Status::Interrupted => Vec::new(),
            },
            parameters: account.parameters.trained,
            flops_per_token: account.flops.total(),
            wall_seconds: self.seconds(trainer),
            median_step_ms: self.median_step_ms(),
            backend: trainer.backend.made_by(),
            corpus: corpus.to_owned(),
            corpus_fingerprint: fingerprint.to_owned(),
        }
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
