//! From an ablation to the list of its runs.

use super::{Ablation, Arm, Contrast};
use crate::{
    config::{ConfigError, Layers, RunConfig, current_name, current_names},
    data::Source,
    measure::Measure,
    paper::PaperTable,
    run_dir::{RunError, RunId},
};
use models::model::ModelConfig;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use thiserror::Error;
use toml::{Table, Value};

/// Title and published table of a sweep.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the command.
    pub name: String,
    /// The first line of the table.
    pub title: String,
    /// The paper's table of the same comparison.
    pub paper: Option<PaperTable>,
}

impl From<&Ablation> for Subject {
    fn from(ablation: &Ablation) -> Self {
        Self {
            name: ablation.name.clone(),
            title: ablation.title.clone(),
            paper: ablation.paper.clone(),
        }
    }
}

/// A comparison with everything that decides its results.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Title and published table.
    pub subject: Subject,
    /// The arms.
    pub arms: Vec<Arm>,
    /// Statements about them.
    pub contrasts: Vec<Contrast>,
    /// The configuration of each arm, without its seed.
    pub configs: Vec<RunConfig>,
    /// Seeds to run, ascending.
    pub seeds: Vec<u64>,
    /// The directory that holds the sweep directory.
    pub root: PathBuf,
    /// Name of the sweep directory.
    pub name: String,
}

/// One run: an arm and a seed.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which arm, by its place in the sweep.
    pub arm: usize,
    /// Resolved configuration.
    pub config: RunConfig,
    /// Where its files are.
    pub id: RunId,
}

/// Why a sweep cannot be planned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A configuration that makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting for all arms that the arms themselves differ in.
    #[error(
        "--set {key}: the arms of this ablation differ in it (arm {arm} sets it): leave it out, or train one configuration with the command train"
    )]
    SetByArms {
        /// The setting.
        key: String,
        /// An arm that has it.
        arm: String,
    },
    /// An arm that would learn from other data than the first one.
    #[error(
        "arm {arm} would learn from other data than the arms before it: differences mean something on the same data only; make one sweep for each"
    )]
    OtherData {
        /// The arm.
        arm: String,
    },
    /// More runs than anyone waits for.
    #[error("{arms} arms with {seeds} seeds are more than {MOST_RUNS} runs: take fewer of either")]
    TooMany {
        /// Arms.
        arms: usize,
        /// Seeds.
        seeds: usize,
    },
    /// A sweep name or a directory that cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs of a sweep at most.
const MOST_RUNS: usize = 100_000;

impl Sweep {
    /// Lays the settings of every arm over those in common. `keys` names the settings that the
    /// user chose; the seed is one that the sweep itself sets.
    ///
    /// # Errors
    /// [`SweepError::TooMany`]; [`SweepError::SetByArms`] if an arm sets one of `keys`; [`SweepError::Config`] if an arm
    /// cannot be built; [`SweepError::OtherData`] if not all learn from the same data; [`SweepError::Run`] if the sweep's name is no file name.
    pub fn new(
        subject: Subject,
        arms: Vec<Arm>,
        common: &Layers,
        keys: &[String],
        seeds: Vec<u64>,
        (root, name): (PathBuf, String),
    ) -> Result<Self, SweepError> {
        if arms.len().saturating_mul(seeds.len()) > MOST_RUNS {
            return Err(SweepError::TooMany {
                arms: arms.len(),
                seeds: seeds.len(),
            });
        }
        let mut configs = Vec::with_capacity(arms.len());
        let mut parameters = BTreeMap::new();
        for arm in &arms {
            let settings = current_names(arm.settings.clone());
            if let Some(key) = keys.iter().find(|key| sets(&settings, &current_name(key))) {
                return Err(SweepError::SetByArms {
                    key: key.clone(),
                    arm: arm.name.clone(),
                });
            }
            let mut config = common.clone().table(settings).resolve()?;
            if arm.matched {
                let wanted = parameters.get(&arm.baseline).copied();
                let wanted = wanted.expect("a matched arm has its baseline before it");
                match_parameters(&mut config.model, wanted)?;
                config.validate()?;
            } else if arms
                .iter()
                .any(|other| other.matched && other.baseline.as_ref() == Some(&arm.name))
            {
                let account = config.model.account().map_err(ConfigError::from)?;
                parameters.insert(Some(arm.name.clone()), account.parameters.trained);
            }
            configs.push(config);
            RunId::new(&root, &name, &arm.name, 0)?;
            if Source::of(&configs[0]) != Source::of(&configs[configs.len() - 1]) {
                return Err(SweepError::OtherData {
                    arm: arm.name.clone(),
                });
            }
        }
        Ok(Self {
            subject,
            arms,
            contrasts: Vec::new(),
            configs,
            seeds,
            root,
            name,
        })
    }

    /// The sweep with statements about its arms.
    pub fn declaring(self, contrasts: Vec<Contrast>) -> Self {
        Self { contrasts, ..self }
    }

    /// Measure of the losses of all arms.
    ///
    /// # Panics
    /// If the sweep has no arms.
    pub fn measure(&self) -> Measure {
        Measure::of(&self.configs[0])
    }

    /// The sweep directory.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// All runs, seed by seed, so that every arm has its first seed early.
    ///
    /// # Errors
    /// [`SweepError::Config`] if a seed is out of range.
    pub fn jobs(&self) -> Result<Vec<Job>, SweepError> {
        let mut jobs = Vec::with_capacity(self.seeds.len() * self.arms.len());
        for &seed in &self.seeds {
            for (index, arm) in self.arms.iter().enumerate() {
                let mut config = self.configs[index].clone();
                config.train.seed = seed;
                config.validate()?;
                jobs.push(Job {
                    arm: index,
                    config,
                    id: RunId::new(&self.root, &self.name, &arm.name, seed)?,
                });
            }
        }
        Ok(jobs)
    }

    /// The seeds to show: those to run and any that an earlier call has run for these arms.
    ///
    /// # Errors
    /// [`RunError::Unreadable`] if the sweep directory cannot be listed.
    pub fn all_seeds(&self) -> Result<Vec<u64>, RunError> {
        let mut seeds: BTreeSet<u64> = self.seeds.iter().copied().collect();
        let path = self.path();
        if path.is_dir() {
            let known = |id: &RunId| self.arms.iter().any(|arm| arm.name == id.arm);
            let found = RunId::find_all(&path)?;
            seeds.extend(found.iter().filter(|id| known(id)).map(|id| id.seed));
        }
        Ok(seeds.into_iter().collect())
    }
}

/// Returns whether a table gives a value to `key.path`, to a part of it or to a section around it.
fn sets(table: &Table, key: &str) -> bool {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    match table.get(first.trim()) {
        None => false,
        Some(Value::Table(_)) if rest.is_empty() => true,
        // The whole connection belongs to the arm, settings it leaves at their default too.
        Some(Value::Table(_)) if first.trim() == "connection" => true,
        Some(Value::Table(inner)) => sets(inner, rest),
        Some(_) => true,
    }
}

/// Sets the width of the feed-forward layers so that the network has as nearly as possible
/// `wanted` trained parameters. They are an affine function of that width.
///
/// # Errors
/// If one of the networks cannot be built.
fn match_parameters(model: &mut ModelConfig, wanted: u64) -> Result<(), ConfigError> {
    let counted = |model: &ModelConfig| -> Result<f64, ConfigError> {
        Ok(model.account()?.parameters.trained as f64)
    };
    let now = counted(model)?;
    let hidden = model.ffn().hidden();
    let mut wider = model.clone();
    wider.ffn_mut().set_hidden(hidden.saturating_add(1));
    let for_each = counted(&wider)? - now;
    let more = ((wanted as f64 - now) / for_each).round();
    let fitting = (hidden as f64 + more).max(1.0) as usize;
    model.ffn_mut().set_hidden(fitting);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ablation::{ABLATIONS, Tanh},
        preset::{PRESETS, Preset},
    };
    use models::transformer::Transformer;
    use nn::connection::ConnectionConfig;

    fn sweep(ablation: &'static Ablation, settings: &[&str]) -> Result<Sweep, SweepError> {
        let keys: Vec<String> = settings
            .iter()
            .filter_map(|s| Some(s.split_once('=')?.0.to_owned()))
            .collect();
        let common = Layers::defaults().set(settings)?;
        let place = (PathBuf::from("runs"), "test".to_owned());
        let arms = ablation.arms(Tanh::Both);
        Sweep::new(ablation.into(), arms, &common, &keys, vec![0, 1], place)
    }

    #[test]
    fn every_arm_of_every_ablation_can_be_built_in_every_preset() {
        for ablation in ABLATIONS.iter() {
            for preset in Preset::of(&ablation.body) {
                let common = preset.layers();
                let place = (PathBuf::from("runs"), "test".to_owned());
                let arms = ablation.arms(Tanh::Both);
                let sweep = Sweep::new(ablation.into(), arms, &common, &[], vec![0], place);
                sweep.and_then(|sweep| sweep.jobs()).expect(preset.name);
            }
        }
    }

    #[test]
    fn arms_have_names_of_their_own_and_baselines_that_come_before_them() {
        for ablation in ABLATIONS.iter() {
            let arms = ablation.arms(Tanh::Both);
            for (index, arm) in arms.iter().enumerate() {
                assert!(
                    arms[..index].iter().all(|a| a.name != arm.name),
                    "{}",
                    arm.name
                );
                assert!(
                    arms[..index].iter().all(|a| a.label != arm.label),
                    "{}",
                    arm.label
                );
                if let Some(baseline) = &arm.baseline {
                    let found = arms[..index].iter().find(|a| &a.name == baseline);
                    assert!(found.is_some_and(Arm::is_baseline), "{}", arm.name);
                }
            }
        }
    }

    #[test]
    fn the_papers_tables_are_met_row_by_row() {
        for ablation in ABLATIONS.iter() {
            let Some(table) = &ablation.paper else {
                continue;
            };
            let arms = ablation.arms(Tanh::Both);
            for row in &table.rows {
                // A diffusion transformer of another size is in the note alone.
                if table.baseline.as_ref() == Some(&row.method) || row.method.starts_with("DiT") {
                    continue;
                }
                let row = table.row(&row.method);
                let found = arms.iter().any(|arm| arm.paper == row);
                assert!(found, "{}: {}", table.place, row.expect("a row").method);
            }
        }
    }

    #[test]
    fn every_arm_has_its_first_seed_before_any_has_its_second() {
        let sweep = sweep(&ABLATIONS[0], &[]).expect("the defaults");
        let jobs = sweep.jobs().expect("two seeds");
        let arms = sweep.arms.len();
        assert_eq!(jobs.len(), 2 * arms);
        assert!(jobs[..arms].iter().all(|job| job.id.seed == 0));
        let order: Vec<usize> = jobs[arms..].iter().map(|job| job.arm).collect();
        assert_eq!(order, (0..arms).collect::<Vec<_>>());
        assert!(jobs.iter().all(|job| job.config.train.seed == job.id.seed));
    }

    #[test]
    fn a_setting_that_the_arms_differ_in_cannot_be_set_for_all() {
        for key in ["model.connection.rate=2", "model.connection={ rate = 2 }"] {
            let error = sweep(&ABLATIONS[0], &[key]).expect_err("in the arms' hands");
            assert!(matches!(error, SweepError::SetByArms { .. }), "{error}");
        }
        assert!(sweep(&ABLATIONS[0], &["model.dim=32", "train.steps=3"]).is_ok());
        // Under the name that it had first, too.
        let arms = vec![Arm::pre_norm().with("train.schedule", "constant")];
        let keys = ["train.decline".to_owned()];
        let place = (PathBuf::from("runs"), "test".to_owned());
        let common = Layers::defaults();
        let error = Sweep::new((&ABLATIONS[0]).into(), arms, &common, &keys, vec![0], place);
        assert!(
            matches!(error, Err(SweepError::SetByArms { .. })),
            "{error:?}"
        );
    }

    /// Differences by seed mean something because of this.
    #[test]
    fn all_arms_of_a_seed_start_from_one_backbone() {
        let arms = ABLATIONS[0].arms(Tanh::Both);
        let place = (PathBuf::from("runs"), "test".to_owned());
        let smoke = PRESETS[0].layers();
        let sweep = Sweep::new((&ABLATIONS[0]).into(), arms, &smoke, &[], vec![0], place);
        let sweep = sweep.expect("the smoke preset");
        let params: Vec<_> = sweep
            .configs
            .iter()
            .map(|config| {
                let key = engine::rng::Key::new(7);
                let model = config.model.transformer().expect("a decoder");
                Transformer::new(model, key).expect("it is valid").1
            })
            .collect();
        let (baseline, others) = params.split_first().expect("arms");
        for other in others {
            for part in baseline.parts() {
                let same = other.part(&part.name).expect("the backbone is shared");
                assert_eq!(
                    baseline.slab()[part.range.clone()],
                    other.slab()[same.range.clone()],
                    "{}",
                    part.name
                );
            }
        }
    }

    fn trained(model: &ModelConfig) -> u64 {
        model.account().expect("it can be built").parameters.trained
    }

    #[test]
    fn every_connection_is_brought_to_the_parameters_of_the_baseline() {
        let mut model = ModelConfig::default();
        let wanted = trained(&model);
        for connection in ConnectionConfig::all() {
            let ModelConfig::Transformer(config) = &mut model else {
                panic!("the default is a transformer");
            };
            config.connection = connection.clone();
            match_parameters(&mut model, wanted).expect("it can be built");
            let found = trained(&model);
            let off = found as f64 / wanted as f64 - 1.0;
            assert!(off.abs() < 4e-3, "{connection:?}: {off}");
        }
    }
}
