//! Commands that train many runs and compare them: `ablation-*`, `sweep`, `lr-sweep`.

pub(super) mod ablation;
mod confirmation;
mod emit;
pub(super) mod file;
pub(super) mod learning_rate;
mod matched;
mod shown;
mod task;

use super::{
    backend::BackendArgs,
    output::Failure,
    settings::{check_new, thread_count},
    signals::stop_flag,
};
use clap::ValueEnum;
use figures::terminal::{Colour, stdout_width, wrapped};
use lab::{
    ablation::{
        Calibration, Contrast, Cost, Job, Plan, Progress, Results, Study, Sweep, SweepError,
        Workers, contrasts_of, distinct_horizons, distinct_seeds,
    },
    config::{ConfigError, nearest_word, size},
    data::{LISTED_WHEN_ASKED, Source},
    invocation::{arguments, command_line, shell_line},
    memory::{available, readable},
    preset::Preset,
    run_dir::{Environment, RunError, read_summary},
};
use shown::{Beside, Shown};
use std::{
    collections::BTreeSet,
    io::{Write, stdout},
    path::PathBuf,
    sync::atomic::Ordering,
};

/// Options of the runs of a comparison.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// How many seeds, or which: 5, or 0,3,7. More can be added later; statements keep those they were
    /// declared with [default: the preset's]
    #[arg(long, value_name = "N|LIST", value_parser = seeds)]
    seeds: Option<Seeds>,
    /// Give every arm the steps that the time, or the operations, of its baseline's buy
    #[arg(long = "match", value_name = "COST")]
    by: Option<Cost>,
    /// Train every arm at several lengths, multiples of its steps, such as 1,2,4,8
    #[arg(long, value_name = "LIST", value_parser = horizons)]
    horizons: Option<Horizons>,
    /// Runs at a time [default: one for each thread]
    #[arg(long, value_name = "N", value_parser = thread_count)]
    jobs: Option<usize>,
    #[command(flatten)]
    backend: BackendArgs,
    /// Directory for results
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Name of the sweep in that directory [default: the command and the preset, or the file]
    #[arg(long)]
    name: Option<String>,
    /// Do finished runs again
    #[arg(long)]
    force: bool,
    /// Time the steps of all arms in turn once more, on a quiet machine
    #[arg(long)]
    time_steps: bool,
    /// Show arms, parameters, FLOPs, decay groups and estimated time, and stop
    #[arg(long)]
    dry_run: bool,
    /// List the runs with their numbers and how far they are, and stop
    #[arg(long, conflicts_with = "dry_run")]
    list: bool,
    /// Do this one of the listed runs only; for batch systems
    #[arg(long, value_name = "I", conflicts_with_all = ["dry_run", "list", "jobs"])]
    task: Option<usize>,
    /// Print a script that does each run as a task of a batch system, and stop
    #[arg(long, value_name = "SYSTEM", conflicts_with_all = ["dry_run", "list", "task", "jobs", "force"])]
    emit: Option<Emit>,
    #[command(flatten)]
    array: emit::ArrayArgs,
}

/// Batch systems with a script of their own; `--list` and `--task` drive any other.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Emit {
    /// A job array
    Slurm,
}

/// Seeds, ascending.
#[derive(Debug, Clone)]
struct Seeds(Vec<u64>);

/// Lengths of training, ascending.
#[derive(Debug, Clone)]
struct Horizons(Vec<u64>);

fn horizons(text: &str) -> Result<Horizons, String> {
    let lengths = text.split(',').map(|part| part.trim().parse());
    let lengths = lengths.collect::<Result<_, _>>().unwrap_or_default();
    distinct_horizons(lengths).map(Horizons)
}

/// `5` for 0 to 4, or `0,3,7`.
fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |part: &str| {
        let number = part.trim().parse::<u64>();
        number.map_err(|_| format!("{part:?} is no seed, a whole number: write 5, or 0,3,7"))
    };
    if !text.contains(',') {
        return match number(text)? {
            count @ 1..=1000 => Ok(Seeds((0..count).collect())),
            _ => Err("expected 1 to 1000 seeds".into()),
        };
    }
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let seeds = parts.map(number).collect::<Result<Vec<_>, _>>()?;
    distinct_seeds(seeds).map(Seeds)
}

fn planning(error: SweepError) -> Failure {
    match error {
        SweepError::Config(ConfigError::Unreadable { .. }) => Failure::Failed(error.to_string()),
        SweepError::Run(RunError::BadName { .. })
        | SweepError::Config(_)
        | SweepError::SetByArms { .. }
        | SweepError::OtherData { .. }
        | SweepError::OwnSteps { .. }
        | SweepError::TooLong { .. }
        | SweepError::NoAccuracy { .. }
        | SweepError::ChosenOn { .. }
        | SweepError::TooMany { .. } => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

/// The failure of a name that is none of those known.
fn unknown<'a>(
    flag: &str,
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Failure {
    let hint = match nearest_word(name, known.clone()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("expected one of {}", known.collect::<Vec<_>>().join(", ")),
    };
    Failure::Usage(format!("{flag}: there is no {kind}{name}: {hint}"))
}

/// A command that can be pasted to do the rest of what this one began.
fn to_go_on(command: &[String]) -> String {
    let rest = command.iter().skip(1).filter(|word| *word != "--force");
    command_line(&rest.collect::<Vec<_>>())
}

impl RunArgs {
    /// Where the sweep directory is: `name` unless another was asked for, runs of other lengths beside
    /// the others.
    fn place(&self, name: impl FnOnce() -> String) -> (PathBuf, String) {
        let usual = || {
            let horizons = self.horizons.as_ref().map_or("", |_| "-horizons");
            let cost = self
                .by
                .map_or_else(String::new, |by| format!("-equal-{by}"));
            format!("{}{horizons}{cost}", name())
        };
        (self.out.clone(), self.name.clone().unwrap_or_else(usual))
    }

    /// The sweep with the lengths and the equal cost that are asked for here, or else in its file, and
    /// with statements about its arms.
    fn of_lengths(
        &self,
        sweep: Result<Sweep, SweepError>,
        (by, horizons): (Option<Cost>, &[u64]),
        contrasts: Vec<Contrast>,
    ) -> Result<Sweep, Failure> {
        let horizons = self.horizons.as_ref().map_or(horizons, |given| &given.0);
        let sweep = sweep.and_then(|sweep| sweep.at_horizons(horizons));
        let sweep = sweep.and_then(|sweep| sweep.matched_by(self.by.or(by)));
        let sweep = sweep.and_then(|sweep| sweep.declaring(contrasts));
        sweep.map_err(planning)
    }

    /// The seeds asked for, or as many as are usual.
    fn seeds(&self, usual: &[u64]) -> Vec<u64> {
        match &self.seeds {
            Some(seeds) => seeds.0.clone(),
            None => usual.to_vec(),
        }
    }

    /// Runs what is left to run and prints the table; `beside` is what to print after it, and a
    /// file of the sweep directory to write. Returns the results if all runs have ended.
    fn go(
        &self,
        sweep: &Sweep,
        preset: &Preset,
        beside: &dyn Fn(&Results) -> Beside,
    ) -> Result<Option<Results>, Failure> {
        let remark = match sweep.path().exists() {
            true => None,
            false => check_new(&sweep.configs, preset)?,
        };
        let command = arguments();
        let jobs = sweep.jobs().map_err(planning)?;
        if self.list {
            return task::list(sweep, &jobs).map(|()| None);
        }
        if let Some(Emit::Slurm) = self.emit {
            return self
                .array
                .emit_slurm(&sweep.name, jobs.len())
                .map(|()| None);
        }
        let needed = memory_of_a_run(sweep, &jobs)?;
        let data = Source::of(&sweep.configs[0]).open()?;
        let threads = rayon::current_num_threads();
        let precisions = sweep.configs.iter().map(|config| config.train.precision);
        let backend = self.backend.open(precisions)?;
        let study = Study {
            sweep,
            data: &data,
            command: &command,
            environment: Environment::current(threads, &*backend.backend),
            backend: &backend,
            patience: self.task.map(|_| task::PATIENCE),
        };
        let force = self.force && !self.dry_run;
        let fitting = fitting_runs(needed);
        // Whoever only reads takes nothing, and tasks take their runs in turn.
        let works = force || needed.is_some() || self.time_steps;
        let taken = match works && !self.dry_run && self.task.is_none() {
            true => Some(study.take()?),
            false => None,
        };
        let (together, doing) = match self.task {
            Some(number) => {
                task::check(number, jobs.len())?;
                (Some(1), std::slice::from_ref(&jobs[number]))
            }
            None => (self.jobs.or(Some(threads.min(fitting))), &jobs[..]),
        };
        let all_at_once = Workers::new(together, threads, doing.len());
        let (matched, steps) = self.matched(&study, doing, all_at_once)?;
        let study = Study {
            sweep: &matched,
            ..study
        };
        let sweep = study.sweep;
        let jobs = sweep.jobs().map_err(planning)?;
        if let Some(number) = self.task {
            return task::run(&study, jobs, number, self.force).map(|()| None);
        }
        let runs = jobs.len();
        if taken.is_some() {
            study.declare()?;
        }
        let pending = study.pending(jobs, force)?;
        if self
            .jobs
            .is_some_and(|jobs| jobs.min(pending.len()) > fitting)
        {
            return Err(Failure::Usage(format!(
                "--jobs: a run needs about {}, this machine has {}: expected at most {fitting}",
                readable(needed.unwrap_or(0)),
                readable(available())
            )));
        }
        let workers = Workers::new(together, threads, pending.len());
        let stop = stop_flag();
        if self.dry_run {
            let all: Vec<usize> = (0..sweep.arms.len()).collect();
            let plan = Plan::of(&study, &all, workers, stop)?;
            let Some(plan) = plan else {
                return Err(Failure::Interrupted("stopped".to_owned()));
            };
            write!(
                stdout(),
                "{}",
                plan.to_text(sweep, runs, &pending, stdout_width())
            )?;
            let contrasts = contrasts_of(&sweep.path(), &sweep.contrasts, &sweep.seeds)?;
            let contrasts = contrasts.iter().map(ToString::to_string);
            let account = data.account().lines(LISTED_WHEN_ASKED);
            for line in steps.into_iter().chain(contrasts).chain(account) {
                write!(stdout(), "{}", wrapped(&line, stdout_width()))?;
            }
            return Ok(None);
        }
        let progress = Progress::new(runs, runs - pending.len());
        if let Some(remark) = remark {
            progress.line(&remark);
        }
        if !pending.is_empty() {
            progress.data(data.account());
            steps.iter().for_each(|line| progress.line(line));
        }
        if pending.len() < runs {
            progress.line(&format!(
                "{} of {runs} runs have ended before and are kept",
                runs - pending.len()
            ));
        }
        let shown = Shown {
            study: &study,
            command: &shell_line(&command),
            preset: preset.name,
        };
        shown.live(&progress);
        let arms: BTreeSet<usize> = pending.iter().map(|job| job.arm).collect();
        let arms: Vec<usize> = arms.into_iter().collect();
        // An arm that cannot be built ends the sweep with its first run.
        if !pending.is_empty()
            && let Ok(Some(plan)) = Plan::of(&study, &arms, workers, stop)
        {
            progress.line(&plan.time(runs, &pending));
        }
        let trained = study.train(&pending, workers, stop, &progress, || shown.live(&progress));
        let finished = trained.is_ok() && !stop.load(Ordering::SeqCst);
        if finished && (self.time_steps || !pending.is_empty()) {
            let all: Vec<usize> = (0..sweep.arms.len()).collect();
            let times = Calibration::measure(&study, &all, all_at_once, stop, &progress);
            let written = times.and_then(|times| match times {
                Some(times) => Ok(times.write(&sweep.path())?),
                None => Ok(()),
            });
            // The table is worth more than its times.
            if let Err(error) = written {
                progress.line(&format!("warning: step times were not measured: {error}"));
            }
        }
        progress.clear();
        let results = shown.results()?.with_horizons(&sweep.arms);
        let stopped = stop.load(Ordering::SeqCst);
        if results.runs().next().is_some() {
            let beside = beside(&results);
            let written = shown.write(&results, &beside);
            if !stopped {
                let text = shown
                    .report(&results)
                    .to_text(stdout_width(), Colour::for_stdout());
                write!(stdout(), "{text}{}", beside.text)?;
            }
            match written {
                // What has been done before can be read where nothing can be written.
                Err(error) if pending.is_empty() => progress.line(&format!("remark: {error}")),
                written => written?,
            }
        }
        trained?;
        if stopped {
            return Err(Failure::Interrupted(format!(
                "stopped; everything is saved. To go on:\n  {}",
                to_go_on(&command)
            )));
        }
        Ok(Some(results))
    }
}

/// The most that one of the runs still to be done takes; `None` if all have ended.
fn memory_of_a_run(sweep: &Sweep, jobs: &[Job]) -> Result<Option<u64>, Failure> {
    let mut arms = BTreeSet::new();
    for job in jobs {
        let ended = read_summary(&job.id.path)?.is_some_and(|summary| summary.status.is_final());
        if !ended {
            arms.insert(job.arm);
        }
    }
    let needed = arms
        .into_iter()
        .map(|arm| size::of_training(&sweep.configs[arm]));
    let needed: Result<Vec<u64>, ConfigError> = needed.collect();
    let needed = needed.map_err(|error| planning(SweepError::Config(error)))?;
    Ok(needed.into_iter().max())
}

/// Runs of this size that fit into the memory together.
fn fitting_runs(needed: Option<u64>) -> usize {
    let fitting = needed.map_or(u64::MAX, |needed| available() / needed.max(1));
    usize::try_from(fitting).unwrap_or(usize::MAX).max(1)
}
