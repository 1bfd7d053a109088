//! `train`: one configuration, one seed.

mod plan;
mod profile;
mod progress;

use super::{
    Failure,
    backend::BackendArgs,
    settings::{Settings, check_new, usage},
    signals::stop_flag,
};
use figures::terminal::{stdout_width, wrapped};
use lab::{
    config::{Layers, RunConfig},
    data::Data,
    device::Selected,
    invocation::{arguments, command_line, path_argument},
    measure::Measure,
    memory,
    preset::{PRESETS, Preset},
    run_dir::{CONFIG_FILE, Environment, RunDir, RunId, Status, Summary},
    train::{TrainError, Trainer, check_same_data},
};
use progress::Progress;
use std::{
    ffi::OsStr,
    io::{Write, stderr, stdout},
    path::{Path, PathBuf},
    slice,
    sync::atomic::AtomicBool,
};

/// Train one network. A run that was interrupted goes on where it was, to the last bit.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to begin: smoke (seconds), small (a minute), medium, large, nanogpt (its recipe for
    /// CPUs), moe-... (mixtures of experts), vit-... (images), dit-... (drawing images)
    #[arg(long, default_value = "small", value_parser = preset)]
    preset: &'static Preset,
    #[command(flatten)]
    settings: Settings,
    /// Seed of the initialisation and of the order of the data
    #[arg(long)]
    seed: Option<u64>,
    /// Directory of the run [default: runs/train/PRESET/seedSEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this directory, with its own settings
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "config", "set", "data", "seed", "out", "force"])]
    resume: Option<PathBuf>,
    /// Remove the run that is in the directory, and nothing else there, and start afresh
    #[arg(long)]
    force: bool,
    /// Fail if something does not learn (no gradient, identical streams, a saturated mix), instead
    /// of warning
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    backend: BackendArgs,
    /// Show settings, parameters with their decay groups, FLOPs and memory, and stop
    #[arg(long)]
    dry_run: bool,
    /// Time a few steps operation by operation, and stop
    #[arg(long, conflicts_with = "dry_run")]
    profile: bool,
}

fn preset(name: &str) -> Result<&'static Preset, String> {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    Preset::named(name).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

impl Args {
    /// Trains, or shows what training would be.
    pub fn run(self) -> Result<(), Failure> {
        let config = self.config()?;
        let place = self.place(&config)?;
        let begun = !self.force && place.path.join(CONFIG_FILE).exists();
        let remark = match begun || self.resume.is_some() {
            true => None,
            false => check_new(slice::from_ref(&config), self.preset)?,
        };
        memory::of_training(&config).map_err(usage)?;
        let data = Data::open(&config)?;
        if self.dry_run {
            let trainer = Trainer::new(&config, &data).map_err(failure)?;
            let text = plan::describe(&trainer, &data, &place.path);
            stdout().write_all(text.as_bytes())?;
            return Ok(());
        }
        if self.profile {
            let backend = self.backend.open()?;
            let trainer = Trainer::new(&config, &data).map_err(failure)?;
            let mut trainer = trainer.with_backend(&backend);
            stdout().write_all(profile::measure(&mut trainer).as_bytes())?;
            return Ok(());
        }
        let backend = self.backend.open()?;
        let directory = match self.force {
            true => RunDir::open_afresh(&place)?,
            false => RunDir::open(&place)?,
        };
        if let Some(remark) = remark {
            // The terminal may be gone.
            let _ = writeln!(stderr(), "{remark}");
        }
        let stop = stop_flag();
        let summary = train(&config, &data, &directory, &backend, stop).map_err(failure)?;
        report(&summary, Measure::of(&config), directory.path())
    }

    fn config(&self) -> Result<RunConfig, Failure> {
        let layers = match &self.resume {
            Some(directory) => {
                Layers::over(&RunConfig::of_run(&directory.join(CONFIG_FILE)).map_err(usage)?)
            }
            None => self.settings.over(self.preset)?,
        };
        let mut settings = Vec::new();
        if let Some(seed) = self.seed {
            settings.push(format!("train.seed={seed}"));
        }
        if self.strict {
            settings.push("train.strict=true".to_owned());
        }
        let layers = layers.set(&settings);
        layers.and_then(Layers::resolve).map_err(usage)
    }

    /// Where the run's files are.
    fn place(&self, config: &RunConfig) -> Result<RunId, Failure> {
        let seed = config.train.seed;
        let place = match self.resume.as_ref().or(self.out.as_ref()) {
            Some(path) => RunId {
                arm: "train".to_owned(),
                seed,
                path: path.clone(),
            },
            None => RunId::new(Path::new("runs"), "train", self.preset.name, seed)?,
        };
        Ok(place)
    }
}

fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::Config(error) => usage(error),
        error => Failure::Failed(error.to_string()),
    }
}

fn train(
    config: &RunConfig,
    data: &Data,
    directory: &RunDir,
    backend: &Selected,
    stop: &AtomicBool,
) -> Result<Summary, TrainError> {
    let mut trainer = Trainer::new(config, data)?.with_backend(backend);
    directory.set_config(&config.to_table())?;
    check_same_data(directory.path(), data.account())?;
    directory.set_command(&arguments())?;
    let threads = rayon::current_num_threads();
    directory.set_environment(&Environment {
        data: Some(data.account().clone()),
        ..Environment::current(threads, &*backend.backend)
    })?;
    let mut progress = Progress::new(&trainer);
    progress.data(data.account());
    let summary = trainer.run(Some(directory), &mut progress, stop);
    progress.clear();
    summary
}

/// How it ended, and what can be done next.
fn report(summary: &Summary, measure: Measure, directory: &Path) -> Result<(), Failure> {
    let steps = summary.steps;
    let place = directory.display().to_string();
    let again = |words: &[&str]| {
        let words = words.iter().map(OsStr::new);
        let directory = path_argument(directory);
        command_line(&words.chain([directory.as_os_str()]).collect::<Vec<_>>())
    };
    let minutes = summary.wall_seconds / 60.0;
    match summary.status {
        Status::Ok => {
            let after = format!("after {steps} steps and {minutes:.1} minutes");
            let mut out = stdout();
            if let Some(loss) = summary.final_val_loss {
                let worth = worth(summary, measure, loss);
                write!(
                    out,
                    "{}",
                    wrapped(&format!("{worth}, {after}"), stdout_width())
                )?;
            }
            if let Some(levels) = summary.final_val_loss_by_noise_level {
                let losses = levels.map(|loss| loss.map_or("-".to_owned(), |x| format!("{x:.3}")));
                let levels = format!("by noise level, little to much: {}", losses.join(" "));
                write!(out, "{}", wrapped(&levels, stdout_width()))?;
            }
            if summary.final_val_accuracy.is_some() {
                write!(
                    out,
                    "{}",
                    wrapped(&format!("everything is in {place}"), stdout_width())
                )?;
                return Ok(());
            }
            let what = match summary.final_val_loss_by_noise_level {
                Some(_) => "see it draw",
                None => "hear it talk",
            };
            let files = format!("everything is in {place}; to {what}:");
            write!(out, "{}", wrapped(&files, stdout_width()))?;
            writeln!(out, "  {}", again(&["sample"]))?;
            Ok(())
        }
        Status::Diverged => Err(Failure::Failed(format!(
            "diverged at step {}: its loss is not finite; try a smaller train.learning_rate; \
             metrics are in {place}",
            summary.diverged_at_step.unwrap_or(steps)
        ))),
        Status::Interrupted => Err(Failure::Interrupted(format!(
            "stopped after step {steps}, everything is saved. To go on:\n  {}",
            again(&["train", "--resume"])
        ))),
    }
}

/// The validation loss in the units of its network.
fn worth(summary: &Summary, measure: Measure, loss: f64) -> String {
    if let Some(accuracy) = summary.final_val_accuracy {
        return format!(
            "validation accuracy {:.2} %, loss {loss:.4} nats",
            100.0 * accuracy
        );
    }
    if summary.final_val_loss_by_noise_level.is_some() {
        return format!("squared error of the predicted noise {loss:.4} (1 for predicting none)");
    }
    match measure.bits_per_byte(loss) {
        Some(bits) => format!("validation loss {loss:.4} nats, {bits:.4} bits per byte"),
        None => format!("validation loss {loss:.4} {}", measure.unit()),
    }
}
