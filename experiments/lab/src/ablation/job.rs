//! Doing the runs of a sweep: finished ones are kept, partial ones resumed.

use super::{
    ABLATIONS, Ablation, Arm, Job, MatchingError, Progress, RunProgress, Sweep, Tick, Workers,
    contrast, run, seconds,
};
use crate::{
    data::Data,
    device::Selected,
    invocation::{command_line, path_argument},
    run_dir::{
        Environment, Lock, RunDir, RunError, SWEEP_FILE, Status, Summary, check_config,
        read_summary, write_atomically,
    },
    train::{Observer, StepReport, TrainError, Trainer, check_same_data},
};
use nn::guard::{Finding, remarks};
use rayon::ThreadPoolBuildError;
use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;
use toml::{Table, Value};

/// A sweep with all that its runs need.
#[derive(Debug)]
pub struct Study<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// Training and validation data.
    pub data: &'a Data,
    /// The command line.
    pub command: &'a [String],
    /// The machine.
    pub environment: Environment,
    /// Who multiplies matrices.
    pub backend: &'a Selected,
    /// Longest wait for a run that another process holds; `None` waits until it is free.
    pub patience: Option<Duration>,
}

/// Between two looks at a run that another process holds.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Why a study did not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unfinished {
    /// A finished run was made from other data of the same name.
    #[error(
        "{} was trained on other data (SHA-256 {stored}, now {wanted}): choose another --name, or --force to start afresh",
        path.display()
    )]
    OtherData {
        /// The run directory.
        path: PathBuf,
        /// The fingerprint of its data.
        stored: String,
        /// The fingerprint of the data now.
        wanted: String,
    },
    /// Another process is working on the sweep.
    #[error(
        "{} is working on the sweep {}: wait until it ends, or choose another --name; this shows how far it is:\n  {}",
        holder.as_deref().unwrap_or("another process"),
        path.display(),
        command_line(&["watch".as_ref(), path_argument(path).as_os_str()])
    )]
    Busy {
        /// The sweep directory.
        path: PathBuf,
        /// Process and machine, if they could be read.
        holder: Option<String>,
    },
    /// A run could not be trained.
    #[error("{run}: {source}")]
    Train {
        /// Arm and seed.
        run: String,
        /// Why.
        source: Box<TrainError>,
    },
    /// Arms that cannot have steps of equal cost.
    #[error(transparent)]
    Matching(#[from] MatchingError),
    /// The sweep directory cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The operating system grants no more threads.
    #[error("{0}: take fewer --threads or --jobs")]
    Threads(#[from] ThreadPoolBuildError),
}

impl Study<'_> {
    /// The runs that are still to be done, after checking that those already done are of the
    /// same configuration and data. With `force` everything done before is removed.
    ///
    /// # Errors
    /// [`Unfinished::Run`] and [`Unfinished::OtherData`].
    pub fn pending(&self, jobs: Vec<Job>, force: bool) -> Result<Vec<Job>, Unfinished> {
        let before = jobs.iter().filter(|job| force && job.id.path.is_dir());
        let before: Vec<&Job> = before.collect();
        // Nothing is removed while another process works on one of them.
        for job in &before {
            RunDir::open(&job.id)?;
        }
        for job in &before {
            RunDir::open_afresh(&job.id)?;
        }
        let mut pending = Vec::new();
        for job in jobs {
            match read_summary(&job.id.path)?.filter(|summary| summary.status.is_final()) {
                None => pending.push(job),
                Some(summary) => {
                    check_config(&job.id.path, &job.config.to_table())?;
                    self.check_data(&job, &summary)?;
                }
            }
        }
        Ok(pending)
    }

    fn check_data(&self, job: &Job, summary: &Summary) -> Result<(), Unfinished> {
        let wanted = &self.data.account().fingerprint;
        if summary.corpus_fingerprint == *wanted {
            return Ok(());
        }
        Err(Unfinished::OtherData {
            path: job.id.path.clone(),
            stored: summary.corpus_fingerprint.clone(),
            wanted: wanted.clone(),
        })
    }

    /// Takes the sweep for this process, so that no second one begins the same runs with other
    /// settings. Single tasks do not: they take their runs in turn.
    ///
    /// # Errors
    /// [`Unfinished::Busy`] if another process has it; [`Unfinished::Run`].
    pub fn take(&self) -> Result<Lock, Unfinished> {
        let path = self.sweep.path();
        fs::create_dir_all(&path).map_err(|error| RunError::writing(&path, error))?;
        Lock::take(&path).map_err(|error| match error {
            RunError::Locked { holder, .. } => Unfinished::Busy { path, holder },
            error => error.into(),
        })
    }

    /// Records the contrasts of the sweep in its directory: before its first results as declared,
    /// afterwards as exploratory.
    ///
    /// # Errors
    /// Errors of reading and writing; [`RunError::Damaged`] if the record is no such file.
    pub fn declare(&self) -> Result<(), RunError> {
        contrast::record(&self.sweep.path(), &self.sweep.contrasts, &self.sweep.seeds)
    }

    /// Trains the pending runs. `ended` is called after each of them.
    ///
    /// # Errors
    /// [`Unfinished::Train`] for the first run that could not be trained or stored; the others
    /// under way have saved their state by then.
    pub fn train(
        &self,
        pending: &[Job],
        workers: Workers,
        stop: &AtomicBool,
        progress: &Progress,
        ended: impl Fn() + Sync,
    ) -> Result<(), Unfinished> {
        let workers = workers.start()?;
        let done = run(pending, &workers, stop, |job| {
            let summary = self.train_one(job, stop, progress);
            ended();
            summary.map_err(|source| Unfinished::Train {
                run: self.name_of(job),
                source: Box::new(source),
            })
        });
        done.map(drop)
    }

    /// Name of a run for people: `DHC x4 seed 2`.
    pub fn name_of(&self, job: &Job) -> String {
        format!("{} seed {}", self.sweep.arms[job.arm].label, job.id.seed)
    }

    fn train_one(
        &self,
        job: &Job,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<Option<Summary>, TrainError> {
        let Some(directory) = self.in_turn(job, stop, progress)? else {
            return Ok(None);
        };
        if let Some(summary) = directory.summary()?.filter(|s| s.status.is_final()) {
            progress
                .begin(self.name_of(job), summary.steps, summary.steps)
                .end(true, "was done by another process meanwhile and is kept");
            return Ok(Some(summary));
        }
        directory.set_config(&job.config.to_table())?;
        check_same_data(directory.path(), self.data.account())?;
        directory.set_command(self.command)?;
        directory.set_environment(&Environment {
            threads: rayon::current_num_threads(),
            backend: self
                .backend
                .at(job.config.train.precision)
                .name()
                .to_owned(),
            data: Some(self.data.account().clone()),
            ..self.environment.clone()
        })?;
        let mut trainer = Trainer::new(&job.config, self.data)?.with_backend(self.backend);
        let mut shown = Shown {
            progress,
            run: None,
            name: self.name_of(job),
            steps: job.config.train.steps as u64,
            tokens_per_step: (job.config.train.batch * job.config.model.tokens()) as f64,
            step_ms: None,
        };
        let summary = trainer.run(Some(&directory), &mut shown, stop);
        if let Some(run) = shown.run {
            match &summary {
                Ok(summary) => run.end(summary.status.is_final(), &how(summary)),
                Err(_) => run.end(false, "failed"),
            }
        }
        summary.map(Some)
    }

    /// The directory of a run as soon as no other process holds it; `None` if it is to stop first.
    fn in_turn(
        &self,
        job: &Job,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<Option<RunDir>, RunError> {
        let begun = Instant::now();
        let mut told = false;
        while !stop.load(Ordering::SeqCst) {
            let waits = || {
                self.patience
                    .is_none_or(|patience| begun.elapsed() < patience)
            };
            match RunDir::open(&job.id) {
                Err(RunError::Locked { holder, .. }) if waits() => {
                    if !told {
                        let holder = holder.as_deref().unwrap_or("another process");
                        progress.line(&format!(
                            "{}: {holder} is working on it; waiting",
                            self.name_of(job)
                        ));
                    }
                    told = true;
                    thread::sleep(BETWEEN_LOOKS);
                }
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// Writes what the sweep was made from into its directory: settings in common and of each
    /// arm, as `sweep.toml`.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn write_settings(&self, seeds: &[u64]) -> Result<(), RunError> {
        let Sweep {
            subject,
            arms,
            configs,
            ..
        } = self.sweep;
        let named = |of: fn(&Arm) -> Option<Value>| -> Table {
            let values = arms.iter();
            values
                .filter_map(|arm| Some((arm.name.clone(), of(arm)?)))
                .collect()
        };
        let of_arms = arms.iter().zip(configs);
        let of_arms = of_arms.map(|(arm, config)| (arm.name.clone(), config.to_table().into()));
        let seeds: Vec<Value> = seeds.iter().map(|&seed| Value::from(seed as i64)).collect();
        let mut settings: Vec<(&str, Value)> = vec![
            ("title", subject.title.clone().into()),
            ("labels", named(|arm| Some(arm.label.clone().into())).into()),
            (
                "baselines",
                named(|arm| Some(arm.baseline.clone()?.into())).into(),
            ),
            ("ablation", subject.name.clone().into()),
            ("seeds", seeds.into()),
            ("arms", of_arms.collect::<Table>().into()),
        ];
        let horizons = named(|arm| Some((arm.horizon? as i64).into()));
        if !horizons.is_empty() {
            settings.push(("horizons", horizons.into()));
        }
        // Those of built-in ablations are known by their name.
        let built_in = |ablation: &Ablation| ablation.name == subject.name;
        if let Some(paper) = &subject.paper
            && !ABLATIONS.iter().any(built_in)
        {
            let table = Value::try_from(paper).expect("a table becomes TOML");
            let rows = named(|arm| Some(arm.paper.as_ref()?.method.clone().into()));
            settings.extend([("paper", table), ("paper_rows", rows.into())]);
        }
        let settings = settings
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        let path = self.sweep.path().join(SWEEP_FILE);
        write_atomically(&path, settings.collect::<Table>().to_string().as_bytes())
    }
}

fn how(summary: &Summary) -> String {
    let time = super::clock(seconds(summary.wall_seconds));
    match (summary.status, summary.final_val_loss) {
        (Status::Ok, Some(loss)) => format!("validation loss {loss:.4} after {time}"),
        (Status::Diverged, _) => format!(
            "diverged at step {}",
            summary.diverged_at_step.unwrap_or(summary.steps)
        ),
        (Status::Interrupted, _) => format!("stopped after step {}, can go on", summary.steps),
        (Status::Ok, None) => format!("ended after {time}"),
    }
}

/// Hands what happens in a run on to its bar.
struct Shown<'p> {
    progress: &'p Progress,
    run: Option<RunProgress<'p>>,
    name: String,
    steps: u64,
    tokens_per_step: f64,
    /// Moving mean, so that the display is calm.
    step_ms: Option<f64>,
}

impl Observer for Shown<'_> {
    fn begun(&mut self, steps_done: u64) {
        self.run = Some(
            self.progress
                .begin(self.name.clone(), steps_done, self.steps),
        );
    }

    fn step(&mut self, report: &StepReport, _: Option<f64>) {
        let ms = self
            .step_ms
            .map_or(report.ms, |ms| 0.95 * ms + 0.05 * report.ms);
        self.step_ms = Some(ms);
        if let Some(run) = &mut self.run {
            run.tick(&Tick {
                step: report.step,
                loss: report.loss,
                tokens_per_second: 1e3 * self.tokens_per_step / ms,
                step_time: seconds(ms / 1e3),
            });
        }
    }

    fn not_learning(&mut self, findings: &[Finding]) {
        for remark in remarks(findings) {
            self.warning(&remark);
        }
    }

    fn warning(&mut self, message: &str) {
        self.progress
            .line(&format!("{}: warning: {message}", self.name));
    }
}
