//! Settings to begin with: which network, at which size, on what data. The files of
//! `experiments/presets`.
//!
//! One list for every command. `train` takes a preset by its name, an ablation by its size, since
//! the body is the ablation's business.

use crate::{
    ablation::SweepFile,
    config::{Layers, RunConfig},
};
use std::sync::LazyLock;

/// A network at one size, with the settings of its training.
#[derive(Debug, Clone)]
pub struct Preset {
    /// Name, `vit-small`.
    pub name: &'static str,
    /// Purpose, or time it takes.
    pub about: String,
    /// Seeds of an ablation.
    pub seeds: Vec<u64>,
    settings: Layers,
}

const FILES: [(&str, &str); 14] = built_in!(
    "presets": "smoke", "small", "medium", "large", "nanogpt", "moe-smoke", "moe-small",
    "moe-medium", "vit-smoke", "vit-small", "vit-medium", "dit-smoke", "dit-small", "dit-medium"
);

/// Every preset, by body, smallest first.
pub static PRESETS: LazyLock<Vec<Preset>> =
    LazyLock::new(|| FILES.iter().map(|(name, _)| Preset::read(name)).collect());

impl Preset {
    /// Reads a built-in file and the one that it is based on.
    fn read(wanted: &str) -> Self {
        let file = FILES.iter().find(|(name, _)| *name == wanted);
        let (name, text) = file.expect("a preset is based on another");
        let file = SweepFile::without_arms(text);
        let file = file.unwrap_or_else(|error| panic!("presets/{name}.toml: {error}"));
        let base = file.preset.map(|base| Self::read(&base).settings);
        Self {
            name,
            about: file.title.expect("a title"),
            seeds: file.seeds.expect("seeds"),
            settings: base.unwrap_or_else(Layers::defaults).table(file.common),
        }
    }

    /// The preset with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The presets of a body, smallest first.
    pub fn of(body: &str) -> impl Iterator<Item = &'static Self> {
        PRESETS.iter().filter(move |preset| preset.body() == body)
    }

    /// Kind of network: `moe`, `vit`, `dit`, and nothing for a decoder of text.
    pub fn body(&self) -> &'static str {
        body_and_size(self.name).0
    }

    /// Name among those of the same body: `small`.
    pub fn size(&self) -> &'static str {
        body_and_size(self.name).1
    }

    /// The settings, to lay others over.
    pub fn layers(&self) -> Layers {
        self.settings.clone()
    }

    /// The whole configuration.
    ///
    /// # Panics
    /// If it cannot be built, which a test excludes.
    pub fn config(&self) -> RunConfig {
        self.layers().resolve().expect("every preset can be built")
    }
}

/// `vit` and `small` of `vit-small`.
pub(crate) fn body_and_size(name: &str) -> (&str, &str) {
    name.rsplit_once('-').unwrap_or(("", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_its_name_and_can_be_built() {
        for preset in PRESETS.iter() {
            assert_eq!(
                Preset::named(preset.name).map(|found| &found.about),
                Some(&preset.about)
            );
            preset.config();
        }
    }

    #[test]
    fn a_new_run_is_refused_what_was_chosen_wrongly_and_told_what_follows() {
        let smoke = Preset::named("smoke").expect("a preset").config();
        let check = |overrides: &[&str]| {
            let config = smoke.with_overrides(overrides).expect("it can be built");
            let checked = config.check_new(&smoke);
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["train.warmup=200"]), Ok(None));
        let error = check(&["train.warmup=201"]).expect_err("longer than the run");
        assert!(error.starts_with("train.warmup is 201, longer than the run, train.steps 200"));
        let remark = check(&["train.steps=5"]).expect("it can be begun");
        let remark = remark.expect("a remark");
        assert!(
            remark.ends_with("reach 25 % of train.learning_rate only"),
            "{remark}"
        );
        let error = check(&["train.eval_every=0"]).expect_err("no validation");
        assert!(error.contains("train.eval_every=200 validates after the last step"));
    }
}
