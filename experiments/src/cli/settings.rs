//! What every command that trains takes: a preset, a file, overrides and data.

use super::Failure;
use crate::{
    config::{ConfigError, Layers, RunConfig},
    preset::Preset,
    run_dir::ENVIRONMENT_FILE,
};
use std::path::PathBuf;
use toml::Table;

/// Settings over a preset's.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// Settings from a TOML file, over the preset's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting such as model.dim=256 or train.steps=2000; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What to train on: a text file or a directory of text; for images, a directory with IDX or
    /// CIFAR-10 files or one directory for each class [default: the source code of this program's
    /// dependencies; generated shapes]
    #[arg(long, value_name = "PATH", visible_aliases = ["corpus", "images"])]
    data: Option<String>,
}

impl Settings {
    /// The preset, the file over it, the overrides over both, and the data.
    pub(super) fn over(&self, preset: &Preset) -> Result<Layers, ConfigError> {
        self.lay_over(Layers::defaults().set(&preset.settings())?)
    }

    /// The file and the overrides over these layers, and the data.
    pub(super) fn lay_over(&self, mut layers: Layers) -> Result<Layers, ConfigError> {
        if let Some(path) = &self.config {
            // Beside its environment, a configuration is the record of a run.
            layers = match path.with_file_name(ENVIRONMENT_FILE).exists() {
                true => Layers::over(&RunConfig::of_run(path)?),
                false => layers.file(path)?,
            };
        }
        layers = layers.set(&self.set)?;
        if let Some(path) = &self.data {
            let data = Table::from_iter([("path".to_owned(), path.clone().into())]);
            layers = layers.table(Table::from_iter([("data".to_owned(), data.into())]));
        }
        Ok(layers)
    }

    /// The keys of the overrides, where they are for the runs of several seeds.
    pub(super) fn keys_for_all(&self) -> Result<Vec<String>, Failure> {
        let key = |setting: &String| Some(setting.split_once('=')?.0.trim().to_owned());
        let keys: Vec<String> = self.set.iter().filter_map(key).collect();
        if keys.iter().any(|key| key == "train.seed") {
            let message = "--set train.seed: several seeds are run, those of --seeds";
            return Err(Failure::Usage(message.into()));
        }
        Ok(keys)
    }
}
