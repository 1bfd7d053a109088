//! What a run is made of: one TOML file, every default explicit when written back.
//!
//! A configuration is layered: the defaults, a preset or a file over them, and `--set
//! model.dim=256` over those. A layer changes what it names and nothing else; where it gives a
//! section another `type`, what the two types share stays as it was chosen.

mod earlier;
mod error;
mod layers;
mod nearest;
mod resolve;
pub mod size;
mod types;

pub use earlier::{current_name, current_names};
pub use error::ConfigError;
pub(crate) use layers::{DEEPEST, insert};
pub use layers::{Layers, setting};
pub use nearest::nearest_word;

use crate::data::{Builtin, TokenKind, VOCABULARY, images::Drawn};
use clap::ValueEnum;
use models::{model::ModelConfig, network::Objective};
use nn::{
    optim::AdamWConfig,
    schedule::{Schedule, ScheduleShape},
    settings, words,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Ends with an invalid configuration unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err(ConfigError::Invalid { reason: format!($($reason)+) });
        }
    };
}
settings! {
    /// Everything that decides the result of a run.
    pub struct RunConfig {
        /// The network.
        pub model: ModelConfig = ModelConfig::default(),
        /// The training.
        pub train: TrainConfig = TrainConfig::default(),
        /// The optimiser.
        pub optim: AdamWConfig = AdamWConfig::default(),
        /// The text or the images.
        pub data: DataConfig = DataConfig::default(),
    }
}

settings! {
    /// Length, batches, learning rate and measurements of a run.
    pub struct TrainConfig {
        /// Optimiser steps.
        pub steps: usize = 1000,
        /// Sequences in a batch.
        pub batch: usize = 16,
        /// Sequences that go through the network together; it divides the batch.
        pub micro_batch: usize = 2,
        /// Parts of the batch that run in parallel. The result depends on it (sums are
        /// taken in its order), but not on the number of threads.
        pub shards: usize = 4,
        /// The largest learning rate.
        pub learning_rate: f64 = 1e-3,
        /// Steps of linear warm-up.
        pub warmup: usize = 100,
        /// The learning rate after the warm-up.
        pub schedule: ScheduleShape = ScheduleShape::Cosine,
        /// The smallest learning rate, which the schedule ends at, as a fraction of the largest.
        pub min_lr_ratio: f64 = 0.1,
        /// Steps between two validations. The last step is always followed by one; by no other
        /// with 0, which runs begun before may have.
        pub eval_every: usize = 250,
        /// Validation batches, of as many sequences as a training batch; of images, all that are
        /// not trained on are used.
        pub eval_batches: usize = 16,
        /// The seed of the initialisation and of the order of the data.
        pub seed: u64 = 0,
        /// Steps between two lines of the metrics.
        pub log_every: usize = 10,
        /// Steps between two saved states; 0 saves when the run is stopped only.
        pub checkpoint_every: usize = 100,
        /// Steps between two records of the coefficients of the connections; 0 records none. Not
        /// written back when 0: it changes no result, and runs from before it go on.
        #[serde(skip_serializing_if = "is_zero")]
        pub record_every: usize = 0,
        /// Writes the metrics as an event file for TensorBoard too, while the run trains. Not
        /// written back when off: it changes no result, and runs from before it go on.
        #[serde(skip_serializing_if = "is_off")]
        pub tensorboard: bool = false,
        /// Precision of the operands of the linear layers' products in training. Not written back
        /// when f32.
        #[serde(skip_serializing_if = "Precision::is_f32")]
        pub precision: Precision = Precision::F32,
        /// Ends the run if something does not learn over its first steps (a parameter without
        /// a gradient, identical streams, a saturated mix); else it is a warning.
        pub strict: bool = false,
    }
}

/// Precision of the operands of products; sums, weights, connections and everything else are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision
    #[default]
    F32,
    /// Rounded to bf16, 8 bits of significand, to nearest
    Bf16,
}

words!(Precision);

impl Precision {
    fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

/// The largest batch, in whatever it is counted.
const LARGEST: usize = 1 << 31;

fn is_off(setting: &bool) -> bool {
    !setting
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl TrainConfig {
    /// The learning rate as a function of the step.
    pub fn learning_rates(&self) -> Schedule {
        Schedule {
            peak: self.learning_rate,
            warmup: self.warmup,
            steps: self.steps,
            shape: self.schedule,
            min_ratio: self.min_lr_ratio,
        }
    }

    /// Micro-batches in a batch.
    pub fn micro_batches(&self) -> usize {
        self.batch / self.micro_batch
    }
}

settings! {
    /// Training and validation data.
    pub struct DataConfig {
        /// A text file or a directory of text, or a directory of images, as the network wants;
        /// empty for the built-in corpus or images that are drawn.
        pub path: String = String::new(),
        /// Built-in corpus of a text network without a path; that of [earlier
        /// runs](Builtin::of_earlier_runs) where it has no effect. Not written back then.
        #[serde(skip_serializing_if = "Builtin::is_of_earlier_runs")]
        pub builtin: Builtin [absent: Builtin::of_earlier_runs()] = Builtin::default(),
        /// Images that are drawn for a network of images without a path; [`Drawn::Shapes`] where it
        /// has no effect. Not written back then: runs from before it go on.
        #[serde(skip_serializing_if = "Drawn::is_of_earlier_runs")]
        pub drawn: Drawn = Drawn::Shapes,
        /// Images to train on, chosen once and for all; 0 for all of the training part or, of images
        /// without a test part, for nine tenths: the others validate. Not written back when 0: runs
        /// from before it go on.
        #[serde(skip_serializing_if = "is_zero")]
        pub train_images: usize = 0,
        /// Mixup's alpha for batches of images; 0 mixes nothing.
        pub mixup: f32 = 0.0,
        /// Takes a set of images of which some training batches are missing. Not written back when
        /// off: runs from before it go on.
        #[serde(skip_serializing_if = "is_off")]
        pub partial: bool = false,
        /// Kind of the tokens of a text; the data decide it. Not written back when they are bytes.
        #[serde(skip_serializing_if = "TokenKind::is_bytes")]
        pub tokens: TokenKind = TokenKind::default(),
    }
}

impl DataConfig {
    /// The path; `None` for what needs no path.
    pub fn path(&self) -> Option<PathBuf> {
        (!self.path.is_empty()).then(|| PathBuf::from(&self.path))
    }
}

impl RunConfig {
    /// The configuration in a file, with the defaults where it is silent.
    ///
    /// # Errors
    /// As [`Layers::file`] and [`Layers::resolve`].
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Layers::defaults().file(path)?.resolve()
    }

    /// The configuration that a run has written: a setting that did not exist then has the value
    /// that the program acted on.
    ///
    /// # Errors
    /// As [`RunConfig::from_file`].
    pub fn of_run(path: &Path) -> Result<Self, ConfigError> {
        let settings = layers::read(path).map_err(|error| match error {
            ConfigError::Unreadable { path, source } => ConfigError::of_no_run(path, source),
            error => error,
        })?;
        Layers::recorded(settings).resolve()
    }

    /// This configuration with overrides of the form `key.path=value`.
    ///
    /// # Errors
    /// As [`Layers::set`] and [`Layers::resolve`].
    pub fn with_overrides<S: AsRef<str>>(&self, overrides: &[S]) -> Result<Self, ConfigError> {
        Layers::over(self).set(overrides)?.resolve()
    }

    /// Says what a new run should not be begun with, over what it is based on: a preset. Runs
    /// that were begun go on.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] where the setting was chosen. Where the base has it already, as
    /// the warm-up of a preset in a run of few steps, a remark is returned.
    pub fn check_new(&self, base: &Self) -> Result<Option<String>, ConfigError> {
        let (train, base) = (&self.train, &base.train);
        ensure!(
            train.eval_every != 0 || base.eval_every == 0,
            "train.eval_every is 0, expected at least 1; train.eval_every={} validates after the \
             last step only",
            train.steps
        );
        if train.warmup <= train.steps {
            return Ok(None);
        }
        let rate = 100.0 * train.steps as f64 / train.warmup as f64;
        let reason = format!(
            "train.warmup is {}, longer than the run, train.steps {}: the learning rate would \
             reach {rate:.0} % of train.learning_rate only",
            train.warmup, train.steps
        );
        ensure!(train.warmup == base.warmup, "{reason}");
        Ok(Some(reason))
    }

    /// As TOML, every setting explicit.
    pub fn to_table(&self) -> toml::Table {
        let mut table = toml::Table::try_from(self).expect("a configuration becomes TOML");
        shorten(&mut table);
        table
    }

    /// Text that distinguishes the configuration from others: the same for a run of an earlier
    /// version as that version's.
    pub fn identity(&self) -> String {
        earlier::first_names(self.as_recorded_first()).to_string()
    }

    /// The settings without those that say what their absence in a run of an earlier version says.
    pub fn as_recorded_first(&self) -> toml::Table {
        let mut table = self.to_table();
        earlier::leave_out(self, &mut table);
        table
    }

    /// Says what cannot be run, naming the keys.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        size::conceivable(self)?;
        self.model.validate()?;
        let (data, optim, train) = (&self.data, &self.optim, &self.train);
        match self.model.objective() {
            Objective::NextToken { vocabulary } => {
                ensure!(
                    !data.tokens.is_bytes() || vocabulary >= VOCABULARY,
                    "model.vocab_size is {vocabulary}, but a text of bytes needs {VOCABULARY}"
                );
                let mixup = data.mixup;
                ensure!(
                    mixup == 0.0,
                    "data.mixup is {mixup}, but text is not mixed: set 0"
                );
                let images = data.train_images;
                ensure!(
                    images == 0,
                    "data.train_images is {images}, but a network of text has none: leave it out"
                );
                ensure!(
                    data.drawn == Drawn::Shapes,
                    "data.drawn is for images: a network of text has data.builtin"
                );
                ensure!(
                    !data.partial,
                    "data.partial is true, but it is for images with batches missing: leave it \
                     out for text"
                );
            }
            Objective::Class(_) | Objective::Noise(_) => ensure!(
                data.tokens.is_bytes(),
                "data.tokens is for text: leave it out for images"
            ),
        }
        for (key, value) in [
            ("steps", train.steps),
            ("batch", train.batch),
            ("micro_batch", train.micro_batch),
            ("shards", train.shards),
            ("eval_batches", train.eval_batches),
            ("log_every", train.log_every),
        ] {
            ensure!(value > 0, "train.{key} is 0, expected at least 1");
            // Of these, several are multiplied.
            ensure!(
                value <= LARGEST || matches!(key, "steps" | "log_every"),
                "train.{key} is {value}, expected at most {LARGEST}"
            );
        }
        let (batch, micro_batch) = (train.batch, train.micro_batch);
        ensure!(
            batch.is_multiple_of(micro_batch),
            "train.batch {batch} is not a multiple of train.micro_batch {micro_batch}"
        );
        ensure!(
            train.shards <= train.micro_batches(),
            "train.shards is {}, but train.batch {batch} has only {} micro-batches of \
             train.micro_batch {micro_batch}",
            train.shards,
            train.micro_batches()
        );
        // TOML's integers are signed: a larger seed could not be written back.
        ensure!(
            i64::try_from(train.seed).is_ok(),
            "train.seed is {}, expected less than 2^63",
            train.seed
        );
        let (rate, ratio, eps) = (train.learning_rate, train.min_lr_ratio, optim.eps);
        ensure!(
            rate.is_finite() && rate > 0.0,
            "train.learning_rate is {rate}, expected a positive number"
        );
        for (key, value) in [
            ("data.mixup", data.mixup),
            ("optim.weight_decay", optim.weight_decay),
            ("optim.clip", optim.clip),
        ] {
            ensure!(
                value.is_finite() && value >= 0.0,
                "{key} is {value}, expected 0 or more"
            );
        }
        ensure!(
            (0.0..=1.0).contains(&ratio),
            "train.min_lr_ratio is {ratio}, expected 0 to 1"
        );
        for (key, beta) in [("beta1", optim.beta1), ("beta2", optim.beta2)] {
            ensure!(
                (0.0..1.0).contains(&beta),
                "optim.{key} is {beta}, expected 0 to less than 1"
            );
        }
        ensure!(
            eps.is_finite() && eps > 0.0,
            "optim.eps is {eps}, expected more than 0"
        );
        ensure!(
            data.mixup == 0.0 || !matches!(self.model.objective(), Objective::Noise(_)),
            "data.mixup is {}, but a {} learns from whole images of one class: set 0",
            data.mixup,
            self.model.kind()
        );
        Ok(())
    }
}

/// Writes a single-precision number as the shortest decimal that is read back as it:
/// 0.95, not 0.949999988079071.
fn shorten(table: &mut toml::Table) {
    for (_, value) in table.iter_mut() {
        match value {
            toml::Value::Table(inner) => shorten(inner),
            toml::Value::Float(number) if f64::from(*number as f32) == *number => {
                let shortest = (*number as f32).to_string();
                *number = shortest.parse().expect("a number");
            }
            _ => {}
        }
    }
}
