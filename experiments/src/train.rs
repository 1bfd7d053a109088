//! `train`: one configuration, one seed.

use super::{
    backend::BackendArgs,
    output::{Failure, print, remark, say},
    settings::{Settings, check_new, unusable},
    signals::stop_flag,
};
use lab::{
    ablation::{clock, seconds},
    config::{Layers, RunConfig, size},
    data::Data,
    device::Selected,
    invocation::{arguments, command_line, path_argument},
    measure::Measure,
    preset::{PRESETS, Preset},
    progress::Progress,
    run_dir::{CONFIG_FILE, Environment, RunDir, RunError, RunId, Status, Summary, read_probes},
    train::{TrainError, Trainer, check_same_data, describe, profile},
};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    slice,
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
        let note = match begun || self.resume.is_some() {
            true => None,
            false => check_new(slice::from_ref(&config), self.preset)?,
        };
        size::of_training(&config).map_err(unusable)?;
        let data = Data::open(&config)?;
        let trainer = || Trainer::new(&config, &data).map_err(failure);
        if self.dry_run {
            return print(&describe(&trainer()?, &data, &place.path));
        }
        let backend = self.backend.open([config.train.precision])?;
        if self.profile {
            return print(&profile(&mut trainer()?.with_backend(&backend)));
        }
        let directory = match self.force {
            true => RunDir::open_afresh(&place)?,
            false => RunDir::open(&place)?,
        };
        remark(note);
        let summary = train(&config, &data, &directory, &backend).map_err(failure)?;
        report(&summary, Measure::of(&config), directory.path())
    }

    fn config(&self) -> Result<RunConfig, Failure> {
        let layers = match &self.resume {
            Some(directory) => {
                Layers::over(&RunConfig::of_run(&directory.join(CONFIG_FILE)).map_err(unusable)?)
            }
            None => self.settings.over(self.preset)?,
        };
        let seed = self.seed.map(|seed| format!("train.seed={seed}"));
        let strict = self.strict.then(|| "train.strict=true".to_owned());
        let settings: Vec<String> = seed.into_iter().chain(strict).collect();
        let layers = layers.set(&settings);
        layers.and_then(Layers::resolve).map_err(unusable)
    }

    /// The directory of the run.
    fn place(&self, config: &RunConfig) -> Result<RunId, Failure> {
        let seed = config.train.seed;
        let Some(path) = self.resume.as_ref().or(self.out.as_ref()) else {
            let name = self.preset.name;
            return Ok(RunId::new(Path::new("runs"), "train", name, seed)?);
        };
        Ok(RunId {
            arm: "train".to_owned(),
            seed,
            path: path.clone(),
        })
    }
}

fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::Config(error) => unusable(error),
        error => Failure::Failed(error.to_string()),
    }
}

fn train(
    config: &RunConfig,
    data: &Data,
    directory: &RunDir,
    backend: &Selected,
) -> Result<Summary, TrainError> {
    let mut trainer = Trainer::new(config, data)?.with_backend(backend);
    directory.set_config(&config.to_table())?;
    check_same_data(directory.path(), data.account())?;
    directory.set_command(&arguments())?;
    directory.set_environment(&Environment {
        data: Some(data.account().clone()),
        ..Environment::current(
            rayon::current_num_threads(),
            &*backend.at(config.train.precision),
        )
    })?;
    let mut progress = Progress::new(&trainer);
    progress.data(data.account());
    let summary = trainer.run(Some(directory), &mut progress, stop_flag());
    progress.clear();
    summary
}

/// Says how a run has ended, and what can be done next.
fn report(summary: &Summary, measure: Measure, directory: &Path) -> Result<(), Failure> {
    let steps = summary.steps;
    let place = directory.display();
    let again = |words: &[&str]| {
        let words = words.iter().map(OsStr::new);
        let directory = path_argument(directory);
        command_line(&words.chain([directory.as_os_str()]).collect::<Vec<_>>())
    };
    match summary.status {
        Status::Ok => {}
        Status::Diverged => {
            return Err(Failure::Failed(format!(
                "diverged at step {}: its loss is not finite; try a smaller train.learning_rate; \
                 metrics are in {place}",
                summary.diverged_at_step.unwrap_or(steps)
            )));
        }
        Status::Interrupted => {
            return Err(Failure::Interrupted(format!(
                "stopped after step {steps}, everything is saved. To go on:\n  {}",
                again(&["train", "--resume"])
            )));
        }
    }
    if let Some(loss) = summary.final_val_loss {
        let worth = worth(summary, measure, loss);
        let time = clock(seconds(summary.wall_seconds));
        let steps = match steps {
            1 => "1 step".to_owned(),
            steps => format!("{steps} steps"),
        };
        say(&format!("{worth}, after {steps} in {time}"))?;
    }
    if let Some(levels) = summary.final_val_loss_by_noise_level {
        let losses = levels.map(|loss| loss.map_or("-".to_owned(), |x| format!("{x:.3}")));
        say(&format!(
            "by noise level, little to much: {}",
            losses.join(" ")
        ))?;
    }
    for line in probed(directory)? {
        say(&line)?;
    }
    if summary.final_val_accuracy.is_some() {
        return say(&format!("everything is in {place}"));
    }
    let what = match summary.final_val_loss_by_noise_level {
        Some(_) => "see it draw",
        None => "hear it talk",
    };
    say(&format!("everything is in {place}; to {what}:"))?;
    print(&format!("  {}\n", again(&["sample"])))
}

/// The results of the probes in sentences.
fn probed(directory: &Path) -> Result<Vec<String>, RunError> {
    let probes = read_probes(directory)?.unwrap_or_default();
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let shown = probes.iter().filter_map(|probe| {
        let (right, chance) = (percent(probe.share()?), percent(probe.chance));
        Some(format!("{} {right} ({chance})", probe.name))
    });
    let shown: Vec<String> = shown.collect();
    let without = probes.iter().filter(|probe| probe.share().is_none());
    let without: Vec<&str> = without.map(|probe| &*probe.name).collect();
    let lines = [
        ("probes, % right (by chance): ", shown.join(", ")),
        ("no such positions in this text: ", without.join(", ")),
    ];
    let lines = lines.into_iter().filter(|(_, list)| !list.is_empty());
    Ok(lines.map(|(what, list)| what.to_owned() + &list).collect())
}

/// The validation loss in the units of its network.
fn worth(summary: &Summary, measure: Measure, loss: f64) -> String {
    if let Some(accuracy) = summary.final_val_accuracy {
        let percent = 100.0 * accuracy;
        return format!("validation accuracy {percent:.2} %, loss {loss:.4} nats");
    }
    if summary.final_val_loss_by_noise_level.is_some() {
        return format!("squared error of the predicted noise {loss:.4} (1 for predicting none)");
    }
    match measure.bits_per_byte(loss) {
        Some(bits) => format!("validation loss {loss:.4} nats, {bits:.4} bits per byte"),
        None => format!("validation loss {loss:.4} {}", measure.unit()),
    }
}
