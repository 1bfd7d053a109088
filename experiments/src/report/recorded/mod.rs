//! What a directory of runs says.

use super::{
    found::{ReadConfig, read_config, runs_in},
    settings::first_difference,
};
use crate::{
    ablation::{
        ABLATIONS, Ablation, Arm, Learnt, Report, Results, RunResult, Subject, Sweep, Tanh,
    },
    config::RunConfig,
    measure::Measure,
    run_dir::{
        COMMAND_FILE, CONFIG_FILE, ENVIRONMENT_FILE, Environment, RunError, RunId, read_metrics,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

/// The file that a sweep writes beside its runs.
const SWEEP_FILE: &str = "sweep.toml";

/// What was read from a directory of runs.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Arms, settings and what was compared.
    pub sweep: Sweep,
    /// What the runs that have ended say.
    pub results: Results,
    /// The data of the runs.
    pub data: LearntFrom,
    /// The different command lines that made the runs.
    pub commands: Vec<String>,
    /// The different programs and machines that made them.
    pub environments: Vec<Environment>,
    /// What a reader has to know: runs that are not finished, missing or damaged, settings, data
    /// or programs that differ where they should not.
    pub remarks: Vec<String>,
}

/// The data of runs, as far as their files name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearntFrom {
    name: String,
    fingerprint: String,
}

impl Learnt for LearntFrom {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn sizes(&self) -> Option<String> {
        None
    }

    fn validation(&self, config: &RunConfig) -> Option<String> {
        (Measure::of(&config.model) == Measure::Bytes).then(|| {
            let windows = config.train.eval_batches * config.train.batch;
            let bytes = config.model.tokens();
            format!("up to {windows} fixed windows of {bytes} bytes, as many as the text has")
        })
    }
}

/// Why there is nothing to report.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordedError {
    /// The directory cannot be listed.
    Run(RunError),
    /// There is no run in it.
    NoRuns {
        /// The directory.
        path: PathBuf,
    },
    /// No run has a configuration that this program understands.
    NoConfiguration {
        /// The directory.
        path: PathBuf,
        /// What is wrong with the first.
        reason: String,
    },
    /// An arm that was asked for is not there.
    NoSuchArm {
        /// Its name.
        name: String,
        /// Those that are there.
        known: Vec<String>,
    },
}

impl fmt::Display for RecordedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(f),
            Self::NoRuns { path } => write!(
                f,
                "{} holds no runs: expected ARM/seedN/{CONFIG_FILE}, as ablations, sweeps and train write them below runs/NAME",
                path.display()
            ),
            Self::NoConfiguration { path, reason } => write!(
                f,
                "no run in {} has a configuration that can be read: {reason}",
                path.display()
            ),
            Self::NoSuchArm { name, known } => {
                write!(f, "there is no arm {name}; there are {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for RecordedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Run(error) => Some(error),
            _ => None,
        }
    }
}

impl Recorded {
    /// Reads a sweep directory, or the directory of a single run. Arms are compared with
    /// `baseline`, or with the arm that the sweep names, or with that called `pre-norm`. A run
    /// that cannot be read is a remark, not an error.
    ///
    /// # Errors
    /// [`RecordedError`] if there is nothing to report.
    pub fn read(directory: &Path, baseline: Option<&str>) -> Result<Self, RecordedError> {
        let ids = runs_in(directory)?;
        let mut remarks = Vec::new();
        let made_by = read_sweep_file(directory, &mut remarks);
        let mut commands: Vec<String> = Vec::new();
        let mut environments: Vec<Environment> = Vec::new();
        let mut configs: BTreeMap<String, (u64, RunConfig)> = BTreeMap::new();
        let mut reason = None;
        for id in &ids {
            match read_config(&id.path) {
                Ok(ReadConfig { config, left_out }) => {
                    let remark = left_out.map(|error| {
                        format!("settings of another version of the program, shown without data and optim: {error}")
                    });
                    push_new(&mut remarks, remark);
                    match configs.get(&id.arm) {
                        Some((seed, first)) => {
                            if let Some(key) = first_difference(first, &config) {
                                remarks.push(format!(
                                "{} seed {} has another {key} than seed {seed}: their mean means little",
                                id.arm, id.seed
                            ));
                            }
                        }
                        None => drop(configs.insert(id.arm.clone(), (id.seed, config))),
                    }
                }
                Err(error) => {
                    remarks.push(format!("{} seed {}: {error}", id.arm, id.seed));
                    reason.get_or_insert(error);
                }
            }
            let command = fs::read_to_string(id.path.join(COMMAND_FILE)).unwrap_or_default();
            push_new(
                &mut commands,
                Some(command.trim().to_owned()).filter(|c| !c.is_empty()),
            );
            let environment = fs::read_to_string(id.path.join(ENVIRONMENT_FILE)).ok();
            let environment = environment.and_then(|text| serde_json::from_str(&text).ok());
            push_new(&mut environments, environment);
        }
        let ablation = ablation_of(&made_by, &commands);
        let (arms, configs): (Vec<Arm>, Vec<RunConfig>) =
            arms(ablation, &made_by, baseline, &configs)?
                .into_iter()
                .unzip();
        let Some(first) = configs.first() else {
            let reason = reason.unwrap_or_default();
            let path = directory.to_owned();
            return Err(RecordedError::NoConfiguration { path, reason });
        };
        let measure = Measure::of(&first.model);
        let seeds: BTreeSet<u64> = ids.iter().map(|id| id.seed).collect();
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let present: BTreeSet<(String, u64)> =
            ids.iter().map(|id| (id.arm.clone(), id.seed)).collect();
        let mut runs: Vec<Vec<RunResult>> = vec![Vec::new(); arms.len()];
        for id in ids {
            let Some(arm) = arms.iter().position(|arm| arm.name == id.arm) else {
                continue;
            };
            match RunResult::read(id.clone()) {
                Ok(Some(run)) => runs[arm].push(run),
                Ok(None) => remarks.push(unfinished(&id, configs[arm].train.steps)),
                Err(error) => remarks.push(format!("{} seed {}: {error}", id.arm, id.seed)),
            }
        }
        for arm in &arms {
            let missing = |seed: &&u64| !present.contains(&(arm.name.clone(), **seed));
            for seed in seeds.iter().filter(missing) {
                remarks.push(format!("{} seed {seed}: no such run", arm.name));
            }
        }
        if arms.len() > 1 && arms.iter().all(|arm| arm.baseline.is_none()) {
            remarks.push("no baseline is known: name one with --baseline ARM".to_owned());
        }
        let data = data_of(runs.iter().flatten(), &mut remarks);
        let versions: BTreeSet<_> = environments
            .iter()
            .map(|e| e.git.clone().map(|g| g.commit))
            .collect();
        if versions.len() > 1 {
            remarks.push(format!(
                "the runs were made by {} versions of the code",
                versions.len()
            ));
        }
        let results = Results::of(&arms, &seeds, runs, measure);
        Ok(Self {
            sweep: Sweep {
                subject: subject(directory, ablation, &made_by),
                arms,
                configs,
                seeds,
                root: directory.to_owned(),
                name: String::new(),
            },
            results,
            data,
            commands,
            environments,
            remarks,
        })
    }

    /// The tables that an ablation prints.
    pub fn report<'r>(&'r self, command: &'r str) -> Report<'r> {
        Report {
            sweep: &self.sweep,
            results: &self.results,
            data: &self.data,
            command,
        }
    }

    /// The command lines that made the runs, in one line.
    pub fn command(&self) -> String {
        if self.commands.is_empty() {
            "unknown".to_owned()
        } else {
            self.commands.join("; ")
        }
    }
}

fn read_sweep_file(directory: &Path, remarks: &mut Vec<String>) -> toml::Table {
    let Ok(text) = fs::read_to_string(directory.join(SWEEP_FILE)) else {
        return toml::Table::new();
    };
    text.parse().unwrap_or_else(|_| {
        remarks.push(format!("{SWEEP_FILE} is damaged and was not used"));
        toml::Table::new()
    })
}

fn push_new<T: PartialEq>(known: &mut Vec<T>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !known.contains(value)) {
        known.push(value);
    }
}

fn text<'t>(table: &'t toml::Table, section: &str, key: &str) -> Option<&'t str> {
    table.get(section)?.get(key)?.as_str()
}

/// The ablation that the sweep file or else a command line names.
fn ablation_of(made_by: &toml::Table, commands: &[String]) -> Option<&'static Ablation> {
    let name = made_by.get("ablation").and_then(toml::Value::as_str);
    let words = commands.iter().flat_map(|command| command.split(' '));
    let mut names = name.into_iter().chain(words);
    names.find_map(|name| ABLATIONS.iter().find(|ablation| ablation.name == name))
}

fn subject(directory: &Path, ablation: Option<&Ablation>, made_by: &toml::Table) -> Subject {
    let text = |key| made_by.get(key).and_then(toml::Value::as_str);
    let folder = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let folder = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let known = ablation.map(Subject::from);
    Subject {
        name: (text("ablation").map(str::to_owned))
            .or(known.as_ref().map(|known| known.name.clone()))
            .or(folder)
            .unwrap_or_else(|| "runs".to_owned()),
        title: (text("title").map(str::to_owned))
            .or(known.as_ref().map(|known| known.title.clone()))
            .unwrap_or_else(|| "arms by the names of their directories".to_owned()),
        paper: known.and_then(|known| known.paper),
    }
}

/// The arms with a configuration, in the order of the ablation; others after them by name,
/// baselines first.
fn arms(
    ablation: Option<&Ablation>,
    made_by: &toml::Table,
    baseline: Option<&str>,
    configs: &BTreeMap<String, (u64, RunConfig)>,
) -> Result<Vec<(Arm, RunConfig)>, RecordedError> {
    if let Some(name) = baseline.filter(|name| !configs.contains_key(*name)) {
        return Err(RecordedError::NoSuchArm {
            name: name.to_owned(),
            known: configs.keys().cloned().collect(),
        });
    }
    let known: Vec<Arm> = ablation.map_or_else(Vec::new, |a| (a.arms)(Tanh::Both));
    let usual = Arm::pre_norm().name;
    let mut arms = Vec::new();
    for (name, (_, config)) in configs {
        let place = known.iter().position(|arm| &arm.name == name);
        let mut arm = match place {
            Some(place) => known[place].clone(),
            None => Arm {
                baseline: configs
                    .contains_key(&usual)
                    .then(|| usual.clone())
                    .filter(|usual| usual != name),
                ..Arm::of(name, name, &Default::default())
            },
        };
        if let Some(label) = text(made_by, "labels", name) {
            arm.label = label.to_owned();
        }
        if made_by.contains_key("baselines") {
            arm.baseline = text(made_by, "baselines", name).map(str::to_owned);
        }
        if let Some(baseline) = baseline {
            arm.baseline = (name != baseline).then(|| baseline.to_owned());
        }
        let order = (place.unwrap_or(usize::MAX), arm.baseline.is_some());
        arms.push((order, arm, config.clone()));
    }
    arms.sort_by_key(|(order, ..)| *order);
    Ok(arms
        .into_iter()
        .map(|(_, arm, config)| (arm, config))
        .collect())
}

fn unfinished(id: &RunId, steps: usize) -> String {
    let name = format!("{} seed {}", id.arm, id.seed);
    match read_metrics(&id.path) {
        Ok(records) => match records.last() {
            Some(last) => format!("{name}: not finished, at step {} of {steps}", last.step),
            None => format!("{name}: not begun"),
        },
        Err(error) => format!("{name}: {error}"),
    }
}

fn data_of<'r>(runs: impl Iterator<Item = &'r RunResult>, remarks: &mut Vec<String>) -> LearntFrom {
    let mut data: Vec<LearntFrom> = Vec::new();
    for run in runs {
        let summary = run.summary();
        let one = LearntFrom {
            name: summary.corpus.clone(),
            fingerprint: summary.corpus_fingerprint.clone(),
        };
        push_new(&mut data, Some(one));
    }
    if data.len() > 1 {
        remarks.push(format!(
            "the runs learnt from {} different texts or sets of images: their losses do not compare",
            data.len()
        ));
    }
    let unknown = || "unknown".to_owned();
    data.into_iter().next().unwrap_or_else(|| LearntFrom {
        name: unknown(),
        fingerprint: unknown(),
    })
}
