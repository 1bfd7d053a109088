//! What a directory of runs says.

mod compared;
mod error;
mod learnt;

pub use error::RecordedError;
pub use learnt::LearntFrom;

use super::{
    found::{ReadConfig, read_config, runs_in},
    settings::first_difference,
};
use crate::{
    ablation::{Arm, Calibration, Report, Results, RunResult, Sweep},
    config::RunConfig,
    data::DataAccount,
    files::read_text,
    measure::Measure,
    run_dir::{COMMAND_FILE, ENVIRONMENT_FILE, Environment, RunId, read_metrics, read_warnings},
};
use compared::{ablation_of, arms, read_sweep_file, subject};
use learnt::data_of;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What was read from a directory of runs.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Arms, settings and what was compared.
    pub sweep: Sweep,
    /// What the runs that have ended say.
    pub results: Results,
    /// The data of the runs.
    pub data: LearntFrom,
    /// What the runs read, as far as they say: one account unless their data differ.
    pub accounts: Vec<DataAccount>,
    /// The different command lines that made the runs.
    pub commands: Vec<String>,
    /// The different programs and machines that made them.
    pub environments: Vec<Environment>,
    /// What a reader has to know: runs that are not finished, missing or damaged, settings, data
    /// or programs that differ where they should not.
    pub remarks: Vec<String>,
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
        let mut accounts: Vec<DataAccount> = Vec::new();
        let mut configs: BTreeMap<String, (u64, RunConfig)> = BTreeMap::new();
        let mut reason = None;
        let mut warnings: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
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
            for warning in read_warnings(&id.path) {
                let seeds = warnings.entry((&*id.arm, warning)).or_default();
                seeds.push(id.seed.to_string());
            }
            let command = read_text(&id.path.join(COMMAND_FILE)).unwrap_or_default();
            push_new(
                &mut commands,
                Some(command.trim().to_owned()).filter(|c| !c.is_empty()),
            );
            let environment = read_text(&id.path.join(ENVIRONMENT_FILE)).ok();
            let mut environment: Option<Environment> =
                environment.and_then(|text| serde_json::from_str(&text).ok());
            push_new(
                &mut accounts,
                environment.as_mut().and_then(|one| one.data.take()),
            );
            push_new(&mut environments, environment);
        }
        remarks.extend(warnings.into_iter().map(|((arm, warning), seeds)| {
            format!("{arm} seed {}: warning: {warning}", seeds.join(", "))
        }));
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
        let measure = Measure::of(first);
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
                Ok(Some(run)) => {
                    // A warning that was written down when it was given is there already.
                    let given = read_warnings(&id.path);
                    let own = run.summary().remarks.iter();
                    let own = own.filter(|own| !given.contains(own));
                    remarks.extend(own.map(|own| format!("{} seed {}: {own}", id.arm, id.seed)));
                    runs[arm].push(run);
                }
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
        let results = Results::of(&arms, &seeds, runs, measure, Calibration::read(directory));
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
            accounts,
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

fn push_new<T: PartialEq>(known: &mut Vec<T>, value: Option<T>) {
    if let Some(value) = value.filter(|value| !known.contains(value)) {
        known.push(value);
    }
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
