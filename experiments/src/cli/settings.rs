//! What every command that trains takes: a preset, a file, overrides and data.

use super::Failure;
use crate::{
    config::{ConfigError, Layers},
    data::images::ImageSet,
    preset::Preset,
};
use models::vit::VitConfig;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

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

    /// The file and the overrides over these layers, and the data, with what they decide where
    /// nothing else does.
    pub(super) fn lay_over(&self, mut layers: Layers) -> Result<Layers, ConfigError> {
        if let Some(path) = &self.config {
            layers = layers.file(path)?;
        }
        layers = layers.set(&self.set)?;
        if let Some(path) = &self.data {
            let data = Table::from_iter([("path".to_owned(), path.clone().into())]);
            layers = layers.table(Table::from_iter([("data".to_owned(), data.into())]));
        }
        fitted_to_images(layers)
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

/// Side, channels and number of classes as the images have them, where they are not set. Images
/// of a folder get the largest side below theirs that patches can tile.
///
/// Images that cannot be measured change nothing: they are complained about when they are read.
fn fitted_to_images(layers: Layers) -> Result<Layers, ConfigError> {
    let text = |key| {
        layers
            .given(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let path = text("data.path");
    let is_given = |key: &str| layers.given(key).is_some();
    let keys = ["model.image", "model.channels", "model.classes"];
    if !["vit", "dit"].contains(&text("model.type"))
        || path.is_empty()
        || keys.into_iter().all(is_given)
    {
        return Ok(layers);
    }
    let partial = layers.given("data.partial").and_then(Value::as_bool);
    let Ok(images) = ImageSet::measure(Path::new(path), partial.unwrap_or(false)) else {
        return Ok(layers);
    };
    let patch = layers.given("model.patch").and_then(Value::as_integer);
    let patch = patch.and_then(|patch| usize::try_from(patch).ok());
    let patch = patch.unwrap_or(VitConfig::default().patch).max(1);
    let side = match images.exact {
        true => images.sizes.side,
        false => (images.sizes.side / patch).max(1) * patch,
    };
    let values = [side, images.sizes.channels, images.classes];
    let settings = keys.into_iter().zip(values);
    let settings = settings.filter(|(key, _)| !is_given(key));
    let settings: Vec<String> = settings
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    layers.set(&settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn shown(set: &[&str]) -> [usize; 4] {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, bytes: Vec<u8>| {
            fs::write(directory.path().join(name), bytes).expect("a file");
        };
        let labels: Vec<u8> = (0..40).map(|i| 1 + i % 5).collect();
        let header = |dimensions: &[u32]| -> Vec<u8> {
            let sizes = dimensions.iter().flat_map(|size| size.to_be_bytes());
            [0, 0, 8, dimensions.len() as u8]
                .into_iter()
                .chain(sizes)
                .collect()
        };
        file(
            "train-images-idx3-ubyte",
            [header(&[40, 12, 12]), vec![7; 40 * 144]].concat(),
        );
        file("train-labels-idx1-ubyte", [header(&[40]), labels].concat());
        let settings = Settings {
            config: None,
            set: set.iter().map(|&text| text.to_owned()).collect(),
            data: Some(directory.path().display().to_string()),
        };
        let preset = Preset::named("vit-smoke").expect("a preset");
        let config = settings
            .over(preset)
            .and_then(Layers::resolve)
            .expect("it can be built");
        let patches = config.model.patches().expect("of images");
        let models::model::ModelConfig::Vit(model) = &config.model else {
            panic!("{:?}", config.model);
        };
        [
            patches.image,
            patches.patch,
            patches.channels,
            model.classes,
        ]
    }

    #[test]
    fn what_is_not_set_comes_from_the_images() {
        assert_eq!(shown(&[]), [12, 4, 1, 5]);
        assert_eq!(shown(&["model.patch=6"]), [12, 6, 1, 5]);
    }

    #[test]
    fn what_is_set_stays_as_it_is() {
        let set = ["model.image=24", "model.classes=9", "model.channels=3"];
        assert_eq!(shown(&set), [24, 4, 3, 9]);
        assert_eq!(shown(&set[1..2]), [12, 4, 1, 9]);
    }
}
