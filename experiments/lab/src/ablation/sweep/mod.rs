//! From an ablation to the list of its runs.

mod error;

pub use error::SweepError;

use super::{
    Ablation, Arm, Contrast, Cost, Quantity, arm::name_at, length::set_steps,
    matched_parameters::match_parameters,
};
use crate::{
    config::{ConfigError, Layers, RunConfig, current_name, current_names},
    data::Source,
    measure::Measure,
    paper::PaperTable,
    run_dir::{RunError, RunId},
};
use error::MOST_RUNS;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
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
    /// A cost that arms are to have in common with their baselines: their steps are then
    /// those of a [`Matching`](super::Matching).
    pub by: Option<Cost>,
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
        check_count(arms.len(), seeds.len())?;
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
            by: None,
        })
    }

    /// The sweep with arms of equal cost, if one is named.
    ///
    /// # Errors
    /// [`SweepError::OwnSteps`] if an arm is to have other steps than its baseline already.
    pub fn matched_by(self, by: Option<Cost>) -> Result<Self, SweepError> {
        let steps = |index: usize| self.configs[index].train.steps;
        let own = self
            .compared()
            .find(|&(arm, base)| steps(arm) != steps(base));
        match own.filter(|_| by.is_some()) {
            None => Ok(Self { by, ..self }),
            Some((arm, _)) => Err(SweepError::OwnSteps {
                arm: self.arms[arm].name.clone(),
            }),
        }
    }

    /// The arms that have a baseline, each with it, by their places.
    pub(super) fn compared(&self) -> impl Iterator<Item = (usize, usize)> {
        let place = |name: &String| self.arms.iter().position(|arm| arm.name == *name);
        let arms = self.arms.iter().enumerate();
        arms.filter_map(move |(index, arm)| Some((index, place(arm.baseline.as_ref()?)?)))
    }

    /// The sweep with every arm at several lengths of training, multiples of those of its settings: each
    /// beside a baseline of that length, with a schedule of its own. Without lengths it stays as it is.
    ///
    /// # Errors
    /// [`SweepError::TooMany`], [`SweepError::TooLong`], [`SweepError::Run`] if a name becomes too long.
    pub fn at_horizons(self, lengths: &[u64]) -> Result<Self, SweepError> {
        let (arms, seeds) = (self.arms.len(), self.seeds.len());
        check_count(arms.saturating_mul(lengths.len()), seeds)?;
        let mut longer = Self {
            arms: Vec::new(),
            configs: Vec::new(),
            ..self.clone()
        };
        for &times in lengths {
            for (arm, config) in self.arms.iter().zip(&self.configs) {
                let arm = arm.at_horizon(times);
                RunId::new(&self.root, &self.name, &arm.name, 0)?;
                let mut config = config.clone();
                let steps = usize::try_from(times).ok();
                let steps = steps.and_then(|times| config.train.steps.checked_mul(times));
                let steps = steps.filter(|steps| i64::try_from(*steps).is_ok());
                let too_long = || SweepError::TooLong { times };
                set_steps(&mut config.train, steps.ok_or_else(too_long)?);
                longer.arms.push(arm);
                longer.configs.push(config);
            }
        }
        Ok(if lengths.is_empty() { self } else { longer })
    }

    /// The sweep with statements about its arms. In one of several lengths of training, an arm
    /// without a length is that of the longest; statements of other lengths are left out.
    ///
    /// # Errors
    /// [`SweepError::NoAccuracy`].
    pub fn declaring(mut self, contrasts: Vec<Contrast>) -> Result<Self, SweepError> {
        let classifies = self.measure() == Measure::Images;
        let of_accuracy = |contrast: &&Contrast| contrast.of == Quantity::Accuracy;
        if let Some(contrast) = contrasts.iter().find(of_accuracy).filter(|_| !classifies) {
            return Err(SweepError::NoAccuracy {
                statement: contrast.statement.clone(),
            });
        }
        let longest = self.arms.iter().filter_map(|arm| arm.horizon).max();
        let is_there = |name: &String| self.arms.iter().any(|arm| arm.name == *name);
        let named = |name: String| match longest {
            Some(times) if !is_there(&name) => name_at(&name, times),
            _ => name,
        };
        let mut declared = Vec::with_capacity(contrasts.len());
        for mut contrast in contrasts {
            let arms = contrast.arms.into_iter();
            contrast.arms = arms.map(|(name, weight)| (named(name), weight)).collect();
            if contrast.arms.keys().all(is_there) {
                declared.push(contrast);
            }
        }
        self.contrasts = declared;
        Ok(self)
    }

    /// The sweep, unless one of its seeds, an earlier call's too, is among these, on which settings of
    /// its arms were chosen.
    ///
    /// # Errors
    /// [`SweepError::ChosenOn`], [`SweepError::Run`].
    pub fn apart_from(self, chosen_on: &[u64]) -> Result<Self, SweepError> {
        let seeds = self.all_seeds()?;
        match seeds.into_iter().find(|seed| chosen_on.contains(seed)) {
            Some(seed) => Err(SweepError::ChosenOn {
                seed,
                path: self.path(),
            }),
            None => Ok(self),
        }
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

fn check_count(arms: usize, seeds: usize) -> Result<(), SweepError> {
    match arms.saturating_mul(seeds) <= MOST_RUNS {
        true => Ok(()),
        false => Err(SweepError::TooMany { arms, seeds }),
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

#[cfg(test)]
mod tests;
