//! `sweep FILE`: any settings, written down.

use super::{Beside, RunArgs, planning, unknown};
use crate::{output::Failure, settings::Settings};
use lab::{
    ablation::{Subject, Sweep, SweepFile, SweepFileError},
    preset::{PRESETS, Preset},
};
use std::path::PathBuf;

/// The preset of a sweep that names none.
const PRESET: &str = "small";

/// Compare any settings over several seeds: every combination of the lists in a file is an arm.
/// Finished runs are kept, interrupted ones go on where they were.
///
/// A file looks like this (docs/experiments.md has the rest):
///
///   preset = "small"
///   seeds = 3
///   baseline = { model.connection = { type = "pre_norm" } }
///   [grid]
///   train.learning_rate = [1e-3, 3e-3]
///   model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }]
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The sweep, in TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    run: RunArgs,
}

fn unusable(error: SweepFileError) -> Failure {
    match error {
        SweepFileError::Unreadable { .. } => Failure::Failed(error.to_string()),
        error => Failure::Usage(error.to_string()),
    }
}

impl Args {
    /// Runs what is left to run and prints the table.
    pub fn run(self) -> Result<(), Failure> {
        let file = SweepFile::read(&self.file).map_err(unusable)?;
        let name = file.preset.as_deref().unwrap_or(PRESET);
        let preset = Preset::named(name).ok_or_else(|| {
            let known = PRESETS.iter().map(|preset| preset.name);
            unknown("preset", "preset ", name, known)
        })?;
        let common = self.settings.over_common(preset, file.common, &file.arms)?;
        let keys = self.settings.keys_for_all()?;
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let seeds = file.seeds.unwrap_or_else(|| preset.seeds.clone());
        let seeds = self.run.seeds(&seeds);
        let subject = Subject {
            name: format!("sweep {stem}"),
            title: file
                .title
                .unwrap_or_else(|| format!("{} arms", file.arms.len())),
            paper: file.paper,
        };
        let place = self.run.place(|| stem.into_owned());
        let sweep = Sweep::new(subject, file.arms, &common, &keys, seeds, place);
        let lengths = (file.by, &file.horizons[..]);
        let sweep = self.run.of_lengths(sweep, lengths, file.contrasts)?;
        let sweep = sweep.apart_from(&file.chosen_on).map_err(planning)?;
        self.run.go(&sweep, preset, &|_| Beside::default())?;
        Ok(())
    }
}
