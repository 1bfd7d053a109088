//! Options of every command that trains: a preset, a file, overrides and data.

use super::output::{Failure, usage};
use lab::{
    ablation::Arm,
    config::{ConfigError, Layers, Precision, RunConfig, setting},
    data::Data,
    preset::Preset,
    run_dir::ENVIRONMENT_FILE,
};
use std::{ffi::OsString, path::PathBuf};
use toml::Table;

/// More would only wait for each other.
pub(super) const MOST_THREADS: usize = 1024;

const PRECISION: &str = "train.precision";

/// A number of threads, or of runs at a time.
pub(super) fn thread_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=MOST_THREADS) => Ok(threads),
        _ => Err(format!("expected 1 to {MOST_THREADS}")),
    }
}

/// Refuses what no new run of this preset should be begun with; a remark on what is odd.
pub(super) fn check_new(configs: &[RunConfig], preset: &Preset) -> Result<Option<String>, Failure> {
    let base = preset.config();
    let remarks = configs.iter().map(|config| config.check_new(&base));
    let remarks: Vec<_> = remarks.collect::<Result<_, _>>().map_err(unusable)?;
    let remark = remarks.into_iter().flatten().next();
    Ok(remark.map(|remark| format!("note: {remark}")))
}

/// Settings over a preset's.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// Settings from a TOML file, over the preset's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting such as model.dim=256 or train.steps=2000; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Precision of the linear layers' operands in training (train.precision)
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// What to train on: a text file, a directory of text or of nanoGPT's tokens; for images, a
    /// directory with IDX or CIFAR files or one directory for each class [default: the source
    /// code of this program's dependencies; images that are drawn]
    #[arg(long, value_name = "PATH", visible_aliases = ["corpus", "images"])]
    data: Option<OsString>,
}

/// The failure of a configuration that makes no sense, or cannot be read.
pub(super) fn unusable(error: ConfigError) -> Failure {
    match error {
        ConfigError::Unreadable { .. } | ConfigError::NoRun { .. } => {
            Failure::Failed(error.to_string())
        }
        error => usage(error.to_string()),
    }
}

impl Settings {
    /// The preset, the file over it, the overrides over both, and the data; and what the data
    /// decide where none of these but the preset says it.
    pub(super) fn over(&self, preset: &Preset) -> Result<Layers, Failure> {
        self.over_common(preset, Table::new(), &[])
    }

    /// The same, with the settings that a sweep has in common over the preset, of these arms.
    pub(super) fn over_common(
        &self,
        preset: &Preset,
        common: Table,
        arms: &[Arm],
    ) -> Result<Layers, Failure> {
        let chosen = self.lay_over(Layers::none().table(common.clone()));
        let chosen = chosen.map_err(unusable)?;
        let layers = self.lay_over(preset.layers().table(common.clone()));
        let layers = layers.map_err(unusable)?;
        // What is wrong is said where the settings are complete.
        let Ok(config) = layers.clone().read() else {
            return Ok(layers);
        };
        let ignored = "train.eval_batches";
        let sets = |table: &Table| Layers::none().table(table.clone()).sets(ignored);
        let given = self.keys().any(|key| key == ignored)
            || sets(&common)
            || arms.iter().any(|arm| sets(&arm.settings));
        if config.model.objective().patches().is_some() && given {
            return Err(usage(format!(
                "{ignored}: it is for text; of images, all of the test part validates"
            )));
        }
        let decided = Data::settings(&config)?.into_iter();
        let free = decided.filter(|(key, _)| !chosen.sets(key));
        let settings: Vec<String> = free.map(|(key, value)| format!("{key}={value}")).collect();
        layers.set(&settings).map_err(unusable)
    }

    /// The file and the overrides over these layers, and the data.
    fn lay_over(&self, mut layers: Layers) -> Result<Layers, ConfigError> {
        if let Some(path) = &self.config {
            // Beside its environment, a configuration is the record of a run.
            layers = match path.with_file_name(ENVIRONMENT_FILE).exists() {
                true => Layers::over(&RunConfig::of_run(path)?),
                false => layers.file(path)?,
            };
        }
        layers = layers.set(&self.set)?;
        if let Some(precision) = self.precision {
            layers = layers.set(&[format!("{PRECISION}={}", precision.name())])?;
        }
        if let Some(path) = &self.data {
            let path = match path.to_str() {
                None => Err(
                    "the path is not UTF-8, which config.toml of a run needs to keep it: rename it, \
                     or give a link with another name",
                ),
                Some("") => {
                    Err("an empty path: give one, or leave --data out for the built-in data")
                }
                Some(_) if self.keys().any(|key| key == "data.path") => {
                    Err("data.path is set beside it: give one of them")
                }
                Some(path) => Ok(path),
            };
            let path = path.map_err(|reason| ConfigError::BadValue {
                key: "--data".to_owned(),
                reason: reason.to_owned(),
            })?;
            layers = layers.table(setting("data.path", path.into()));
        }
        Ok(layers)
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let settings = self.set.iter();
        let settings = settings.filter_map(|setting| Some(setting.split_once('=')?.0.trim()));
        settings.chain(self.precision.map(|_| PRECISION))
    }

    /// The keys of the overrides, where they are for the runs of several seeds.
    pub(super) fn keys_for_all(&self) -> Result<Vec<String>, Failure> {
        let keys: Vec<String> = self.keys().map(str::to_owned).collect();
        if keys.iter().any(|key| key == "train.seed") {
            let message = "--set train.seed: several seeds are run, those of --seeds";
            return Err(usage(message));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::model::ModelConfig;
    use std::{fs, path::Path};

    /// Forty images of 12 x 12 with labels from 1 to 5.
    fn write_images(directory: &Path) {
        let file = |name: &str, dimensions: &[u32], data: &[u8]| {
            let sizes: Vec<u8> = dimensions
                .iter()
                .flat_map(|size| size.to_be_bytes())
                .collect();
            let header = [0, 0, 8, dimensions.len() as u8];
            let bytes = [&header[..], &sizes, data].concat();
            fs::write(directory.join(name), bytes).expect("a file");
        };
        let labels: Vec<u8> = (0..40).map(|i| 1 + i % 5).collect();
        file("train-images-idx3-ubyte", &[40, 12, 12], &[7; 40 * 144]);
        file("train-labels-idx1-ubyte", &[40], &labels);
    }

    /// Image, patch, channels and classes of a network for these images.
    fn shown(set: &[&str]) -> [usize; 4] {
        let directory = tempfile::tempdir().expect("a directory");
        write_images(directory.path());
        let settings = Settings {
            config: None,
            precision: None,
            set: set.iter().map(|&text| text.to_owned()).collect(),
            data: Some(directory.path().into()),
        };
        let preset = Preset::named("vit-smoke").expect("a preset");
        let Ok(layers) = settings.over(preset) else {
            panic!("the images can be measured");
        };
        let ModelConfig::Vit(model) = layers.read().expect("a configuration").model else {
            panic!("the preset is of a vision transformer");
        };
        [model.image, model.patch, model.channels, model.classes]
    }

    #[test]
    fn what_is_not_set_comes_from_the_images() {
        assert_eq!(shown(&[]), [12, 4, 1, 5]);
        // 28, the default, is no multiple of it.
        assert_eq!(shown(&["model.patch=6"]), [12, 6, 1, 5]);
    }

    #[test]
    fn what_is_set_stays_as_it_is() {
        let set = ["model.image=24", "model.classes=9", "model.channels=3"];
        assert_eq!(shown(&set), [24, 4, 3, 9]);
        assert_eq!(shown(&set[1..2]), [12, 4, 1, 9]);
    }
}
