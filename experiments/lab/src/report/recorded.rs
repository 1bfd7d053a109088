//! The content of a directory of runs.

use super::found::{
    RecordedError, ablation_of, arms, first_difference, read_config, read_sweep_file, runs_in,
    subject,
};
use crate::{
    ablation::{
        Arm, Calibration, Learnt, Matching, Report, Results, RunResult, Sweep, recorded_contrasts,
    },
    config::RunConfig,
    data::DataAccount,
    files::read_text,
    measure::Measure,
    run_dir::{COMMAND_FILE, ENVIRONMENT_FILE, Environment, RunId, read_metrics, read_warnings},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The content of a directory of runs.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Arms, settings and what was compared.
    pub sweep: Sweep,
    /// Results of the runs that have ended.
    pub results: Results,
    /// The data of the runs.
    pub data: LearntFrom,
    /// Accounts of the data, as far as runs have them: one unless their data differ.
    pub accounts: Vec<DataAccount>,
    /// The different command lines that made the runs.
    pub commands: Vec<String>,
    /// The different programs and machines that made them.
    pub environments: Vec<Environment>,
    /// Remarks for the reader: runs that are not finished, missing or damaged, settings, data
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
        let sources = Sources::read(&ids, &mut remarks);
        let ablation = ablation_of(&made_by, &sources.commands);
        let arms = arms(ablation, &made_by, baseline, &sources.configs)?;
        let (arms, configs): (Vec<Arm>, Vec<RunConfig>) = arms.into_iter().unzip();
        let Some(first) = configs.first() else {
            let reason = sources.unreadable.unwrap_or_default();
            let path = directory.to_owned();
            return Err(RecordedError::NoConfiguration { path, reason });
        };
        let measure = Measure::of(first);
        let seeds: BTreeSet<u64> = ids.iter().map(|id| id.seed).collect();
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let mut missing = Vec::new();
        for arm in &arms {
            let is = |id: &RunId, seed: &u64| id.arm == arm.name && id.seed == *seed;
            let absent = |seed: &&u64| !ids.iter().any(|id| is(id, seed));
            let absent = seeds.iter().filter(absent);
            missing.extend(absent.map(|seed| format!("{} seed {seed}: no such run", arm.name)));
        }
        let mut runs: Vec<Vec<RunResult>> = vec![Vec::new(); arms.len()];
        for id in ids {
            let Some(arm) = arms.iter().position(|arm| arm.name == id.arm) else {
                continue;
            };
            let name = format!("{} seed {}", id.arm, id.seed);
            match RunResult::read(id.clone()) {
                Ok(Some(run)) => {
                    // A warning that was written down when it was given is there already.
                    let given = read_warnings(&id.path);
                    let own = run.summary().remarks.iter();
                    let own = own.filter(|own| !given.contains(own));
                    remarks.extend(own.map(|own| format!("{name}: {own}")));
                    runs[arm].push(run);
                }
                Ok(None) => {
                    let state = unfinished(&id, configs[arm].train.steps);
                    remarks.push(format!("{name}: {state}"));
                }
                Err(error) => remarks.push(format!("{name}: {error}")),
            }
        }
        remarks.extend(missing);
        if arms.len() > 1 && arms.iter().all(|arm| arm.baseline.is_none()) {
            remarks.push("no baseline is known: name one with --baseline ARM".to_owned());
        }
        let data = data_of(runs.iter().flatten(), &mut remarks);
        let versions = sources.environments.iter();
        let versions = versions.map(|one| one.git.as_ref().map(|git| &git.commit));
        let versions = versions.collect::<BTreeSet<_>>().len();
        if versions > 1 {
            remarks.push(format!(
                "the runs were made by {versions} versions of the code"
            ));
        }
        let contrasts = recorded_contrasts(directory).unwrap_or_else(|error| {
            remarks.push(error.to_string());
            Vec::new()
        });
        let matching = Matching::read(directory).unwrap_or_else(|error| {
            remarks.push(error.to_string());
            None
        });
        let results = Results::of(&arms, &seeds, runs, measure, Calibration::read(directory))
            .with_matching(matching)
            .with_horizons(&arms)
            .with_statements(&contrasts);
        Ok(Self {
            sweep: Sweep {
                subject: subject(directory, ablation, &made_by),
                arms,
                contrasts: Vec::new(),
                configs,
                seeds,
                root: directory.to_owned(),
                name: String::new(),
                by: None,
            },
            results,
            data,
            accounts: sources.accounts,
            commands: sources.commands,
            environments: sources.environments,
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

/// Progress of a run that has not ended.
fn unfinished(id: &RunId, steps: usize) -> String {
    match read_metrics(&id.path) {
        Ok(records) => match records.last() {
            Some(last) => format!("not finished, at step {} of {steps}", last.step),
            None => "not begun".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}

/// Commands, settings and data of runs, as far as their files have them.
#[derive(Default)]
struct Sources {
    commands: Vec<String>,
    environments: Vec<Environment>,
    accounts: Vec<DataAccount>,
    /// Seed and configuration of the first run of each arm.
    configs: BTreeMap<String, (u64, RunConfig)>,
    /// Fault of the first configuration that cannot be read.
    unreadable: Option<String>,
}

impl Sources {
    fn read(ids: &[RunId], remarks: &mut Vec<String>) -> Self {
        let mut sources = Self::default();
        let mut warnings: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        for id in ids {
            sources.add_config(id, remarks);
            for warning in read_warnings(&id.path) {
                let seeds = warnings.entry((&*id.arm, warning)).or_default();
                seeds.push(id.seed.to_string());
            }
            let text = |name| read_text(&id.path.join(name)).unwrap_or_default();
            let command = text(COMMAND_FILE).trim().to_owned();
            push_new(
                &mut sources.commands,
                Some(command).filter(|c| !c.is_empty()),
            );
            let mut environment = serde_json::from_str(&text(ENVIRONMENT_FILE)).ok();
            let account = environment.as_mut();
            let account = account.and_then(|one: &mut Environment| one.data.take());
            push_new(&mut sources.accounts, account);
            push_new(&mut sources.environments, environment);
        }
        remarks.extend(warnings.into_iter().map(|((arm, warning), seeds)| {
            format!("{arm} seed {}: warning: {warning}", seeds.join(", "))
        }));
        sources
    }

    fn add_config(&mut self, id: &RunId, remarks: &mut Vec<String>) {
        let RunId { arm, seed, .. } = id;
        let (config, left_out) = match read_config(&id.path) {
            Ok(read) => read,
            Err(error) => {
                remarks.push(format!("{arm} seed {seed}: {error}"));
                self.unreadable.get_or_insert(error);
                return;
            }
        };
        let remark = left_out.map(|error| {
            format!(
                "settings of another version of the program, shown without data and optim: {error}"
            )
        });
        push_new(remarks, remark);
        let Some((first_seed, first)) = self.configs.get(arm) else {
            self.configs.insert(arm.clone(), (*seed, config));
            return;
        };
        if let Some(key) = first_difference(first, &config) {
            remarks.push(format!(
                "{arm} seed {seed} has another {key} than seed {first_seed}: their mean means little"
            ));
        }
    }
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
        let measure = Measure::of(config);
        matches!(measure, Measure::Bytes | Measure::Tokens).then(|| {
            let windows = config.train.eval_batches.saturating_mul(config.train.batch);
            let (tokens, unit) = (config.model.tokens(), measure.tokens());
            format!("up to {windows} fixed windows of {tokens} {unit}, as many as the text has")
        })
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
