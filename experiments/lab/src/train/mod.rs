//! Training one configuration with one seed.
//!
//! A [`Trainer`] is a pure function of its configuration: the network starts from the
//! key `seed / init`, step `k` sees the windows keyed by seed and `k`, and every sum is
//! taken in an order of its own. Neither the number of threads nor an interruption
//! changes a bit of what comes out.

mod diffusion;
mod error;
mod observer;
mod plan;
mod probe;
mod profile;
mod recorder;
mod resume;
mod run;
mod task;
mod validate;
mod vision;
mod warnings;

pub use crate::run_dir::WEIGHTS_FILE;
pub use diffusion::Diffusion;
pub use error::TrainError;
pub use observer::{Observer, Quiet};
pub use plan::describe;
pub use probe::{ProbeError, probe_ended};
pub use profile::profile;
pub use resume::check_same_data;
pub(crate) use task::check_tokens;
pub use task::{Language, NoiseLevels, Score, Task};
pub use validate::Validation;
pub use vision::Vision;

use crate::{
    config::{ConfigError, Precision, RunConfig, size},
    data::Data,
    device::Selected,
};
use engine::{
    ops::scale,
    parallel::Shards,
    params::Params,
    profile::Profile,
    rng::Key,
    tape::{Noise, Tape},
};
use models::{accounting::Account, model::ModelConfig};
use nn::{
    connection::WRITE_GAIN,
    guard::{Finding, Guard, WATCHED_STEPS, large_eps},
    optim::AdamW,
    schedule::Schedule,
};
use std::{ops::Range, sync::Arc, time::Instant};

/// Report of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: u64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Mean loss of the batch in nats per token, before the update.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Wall time in milliseconds.
    pub ms: f64,
}

impl StepReport {
    /// Returns whether loss or gradient are infinite or not a number. Nothing was updated then,
    /// and there is no use in going on.
    pub fn diverged(&self) -> bool {
        !(self.loss.is_finite() && self.grad_norm.is_finite())
    }
}

fn invalid(reason: String) -> ConfigError {
    ConfigError::Invalid { reason }
}

/// The network of a configuration at its initialisation, with the data it learns from.
///
/// # Errors
/// As [`Trainer::new`].
pub fn new_task(
    config: &RunConfig,
    data: Data,
    key: Key,
) -> Result<(Box<dyn Task>, Params), TrainError> {
    fn boxed(built: (impl Task + 'static, Params)) -> (Box<dyn Task>, Params) {
        (Box::new(built.0), built.1)
    }
    match (&config.model, data) {
        (ModelConfig::Transformer(model), Data::Text(corpus)) => {
            Language::new(config, model, &corpus, key).map(boxed)
        }
        (ModelConfig::Vit(model), Data::Images(set)) => {
            Vision::new(model, &set, config.data.mixup, key).map(boxed)
        }
        (ModelConfig::Dit(model), Data::Images(set)) => Diffusion::new(model, &set, key).map(boxed),
        (model, data) => {
            let [wanted, given] = match data {
                Data::Text(_) => ["images", "text"],
                Data::Images(_) => ["text", "images"],
            };
            Err(TrainError::Config(invalid(format!(
                "model.type is {}, which learns from {wanted}, not from {given}",
                model.kind()
            ))))
        }
    }
}

/// Places of the factors of writes that follow a schedule.
fn write_gains(params: &Params) -> Vec<Range<usize>> {
    let named = params.parts().filter(|part| {
        let name = part.name.rsplit('.').next();
        name == Some(WRITE_GAIN)
    });
    named.map(|part| part.range.clone()).collect()
}

/// A network in training.
pub struct Trainer {
    config: RunConfig,
    schedule: Schedule,
    task: Box<dyn Task>,
    params: Params,
    optimiser: AdamW,
    shards: Shards,
    losses: Vec<f64>,
    guard: Guard,
    backend: Selected,
    step: u64,
    /// Places of the factors of writes that follow a schedule.
    write_gains: Vec<Range<usize>>,
    /// Wall time of earlier processes, for a resumed run.
    earlier_seconds: f64,
}

impl Trainer {
    /// A network at its initialisation and the data it learns from.
    ///
    /// # Errors
    /// [`TrainError::Config`] if the configuration is impossible or for other data,
    /// [`TrainError::Data`] if the corpus is too short or the images do not fit.
    pub fn new(config: &RunConfig, data: impl Into<Data>) -> Result<Self, TrainError> {
        config.validate()?;
        size::of_training(config)?;
        let key = Key::new(config.train.seed).named("init");
        let (task, params) = new_task(config, data.into(), key)?;
        Ok(Self::with_task(config, task, params))
    }

    /// Any task with the training part of a valid configuration.
    pub fn with_task(config: &RunConfig, task: Box<dyn Task>, params: Params) -> Self {
        let train = &config.train;
        let backend = Selected::default();
        let tape = || Tape::new().with_backend(backend.at(train.precision));
        Self {
            schedule: train.learning_rates(),
            optimiser: AdamW::new(&params, config.optim),
            shards: Shards::new(train.shards, &params, tape),
            losses: vec![0.0; train.micro_batches()],
            guard: Guard::new(&params),
            backend,
            step: 0,
            write_gains: write_gains(&params),
            earlier_seconds: 0.0,
            config: config.clone(),
            task,
            params,
        }
    }

    /// Multiplies matrices with `backend` from now on.
    pub fn with_backend(mut self, backend: &Selected) -> Self {
        self.backend = backend.clone();
        self.set_precision(self.config.train.precision);
        self
    }

    fn set_precision(&mut self, precision: Precision) {
        let backend = self.backend.at(precision);
        let tapes = self.shards.tapes_mut();
        tapes.for_each(|tape| tape.set_backend(Arc::clone(&backend)));
    }

    /// Configuration of the run.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The network and its data.
    pub fn task(&self) -> &dyn Task {
        &*self.task
    }

    /// Cost of the network.
    pub fn account(&self) -> Account {
        self.task
            .network()
            .account()
            .expect("a network that was built")
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Tokens trained on.
    pub fn tokens(&self) -> u64 {
        self.step * (self.config.train.batch * self.task.network().tokens()) as u64
    }

    /// One optimiser step. After the first ones it allocates nothing.
    pub fn step(&mut self) -> StepReport {
        let started = Instant::now();
        let train = &self.config.train;
        self.task.load_batch(train.seed, self.step, train.batch);
        let connection = self.task.network().connection().spec();
        if let Some(end) = connection.write_gain_end() {
            let last = train.steps.max(2) - 1;
            let progress = self.step as f32 / last as f32;
            let gain = 1.0 + (end - 1.0) * progress.min(1.0);
            for place in &self.write_gains {
                self.params.set(place.clone(), &[gain]);
            }
        }
        let (task, rows) = (&*self.task, train.micro_batch);
        let noise = Key::new(train.seed).named("noise").at(self.step);
        self.shards
            .step(&self.params, &mut self.losses, |tape, micro_batch| {
                let first = micro_batch.index * rows;
                tape.set_noise(Some(Noise {
                    key: noise,
                    first_sequence: first,
                }));
                let loss = task.train_loss(tape, first..first + rows);
                let kept = f64::from(loss.task.item());
                // The sum over micro-batches is then the gradient of the mean.
                (scale(loss.total, 1.0 / micro_batch.count as f32), kept)
            });
        let loss = self.losses.iter().sum::<f64>() / self.losses.len() as f64;
        let learning_rate = self.schedule.rate(self.step as usize);
        let grad_norm = if loss.is_finite() {
            let gradients = self.shards.gradients();
            self.guard.watch(&self.params, gradients, learning_rate);
            self.optimiser
                .update(&mut self.params, gradients, learning_rate)
        } else {
            f64::NAN
        };
        self.step += 1;
        StepReport {
            step: self.step,
            tokens: self.tokens(),
            loss,
            grad_norm,
            learning_rate,
            ms: started.elapsed().as_secs_f64() * 1e3,
        }
    }

    /// Findings on what has not learned in the first [`WATCHED_STEPS`] steps: parameters without a
    /// gradient; on a row of the last batch, streams that are still identical, mixes that are still
    /// saturated, and norms whose eps is not small. Nothing is said before these steps are done.
    pub fn findings(&self) -> Vec<Finding> {
        if self.step < u64::from(WATCHED_STEPS) {
            return Vec::new();
        }
        let mut findings = self.guard.parameters(&self.params, self.config.optim.eps);
        let mut tape = Tape::new();
        tape.set_recording(false);
        tape.set_probing();
        tape.bind(&self.params);
        self.task.train_loss(&tape, 0..1);
        findings.extend(self.guard.values(&tape));
        findings.extend(large_eps(&tape, self.config.model.norm()));
        findings
    }

    /// Measures the time of every operation from now on.
    pub fn set_profiling(&mut self) {
        self.shards.tapes_mut().for_each(Tape::set_profiling);
    }

    /// The times of all shards since profiling began or since the last call.
    pub fn take_profile(&mut self) -> Profile {
        let mut sum = Profile::default();
        for tape in self.shards.tapes_mut() {
            if let Some(profile) = tape.take_profile() {
                sum.merge(&profile);
            }
        }
        sum
    }
}
