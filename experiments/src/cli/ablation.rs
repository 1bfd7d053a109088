//! `ablation-*`: one command for each ablation.

use super::{Failure, settings::Settings, signals::stop_flag};
use crate::{
    ablation::{
        ABLATIONS, Ablation, Plan, Progress, Report, Results, Study, Sweep, SweepError, Tanh,
        Workers,
    },
    config::ConfigError,
    data::Source,
    preset::Preset,
    run_dir::{Environment, RunError, shell_line, write_atomically},
    table::{Colour, TERMINAL_WIDTH},
};
use clap::{ArgMatches, FromArgMatches, Subcommand};
use serde_json::json;
use std::{
    collections::BTreeSet,
    env,
    io::{Write, stdout},
    path::PathBuf,
    sync::atomic::Ordering,
};

/// An ablation with its arguments.
#[derive(Debug)]
pub struct Command {
    ablation: &'static Ablation,
    args: Args,
}

/// Compare arms over several seeds and print a table of what the differences allow to say.
/// Finished runs are kept, interrupted ones go on where they were.
#[derive(Debug, clap::Args)]
struct Args {
    /// Size: smoke (seconds), small (ten minutes), medium (hours), large (overnight)
    #[arg(long, value_name = "SIZE", default_value = "small")]
    preset: String,
    /// How many seeds, or which: 5, or 0,3,7. More can be added later [default: the preset's]
    #[arg(long, value_name = "N|LIST", value_parser = seeds)]
    seeds: Option<Seeds>,
    /// Dynamic arms with tanh, without, or both
    #[arg(long, value_enum, default_value = "on")]
    tanh: Tanh,
    #[command(flatten)]
    settings: Settings,
    /// Runs at a time [default: one for each thread]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Directory for results
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Name of the sweep in that directory [default: ablation and preset]
    #[arg(long)]
    name: Option<String>,
    /// Do finished runs again
    #[arg(long)]
    force: bool,
    /// Show arms, parameters, FLOPs, decay groups and estimated time, and stop
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone)]
struct Seeds(Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |part: &str| {
        let number = part.trim().parse::<u64>();
        number.map_err(|_| format!("{part:?} is no number: write 5, or 0,3,7"))
    };
    let seeds: BTreeSet<u64> = if text.contains(',') {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        parts.map(number).collect::<Result<_, _>>()?
    } else {
        match number(text)? {
            count @ 1..=1000 => (0..count).collect(),
            _ => return Err("expected 1 to 1000 seeds".into()),
        }
    };
    if seeds.is_empty() {
        return Err("expected at least one seed".into());
    }
    Ok(Seeds(seeds.into_iter().collect()))
}

impl Subcommand for Command {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        ABLATIONS.iter().fold(command, |command, ablation| {
            let about = match ablation.paper {
                Some(paper) => format!("Compare: {} ({})", ablation.title, paper.place),
                None => format!("Compare: {}", ablation.title),
            };
            let subcommand = clap::Command::new(ablation.name);
            command.subcommand(<Args as clap::Args>::augment_args(subcommand).about(about))
        })
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        ABLATIONS.iter().any(|ablation| ablation.name == name)
    }
}

impl FromArgMatches for Command {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let ablation = ABLATIONS.iter().find(|ablation| ablation.name == name);
        Ok(Self {
            ablation: ablation.ok_or_else(missing)?,
            args: Args::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn planning(error: SweepError) -> Failure {
    match error {
        SweepError::Config(ConfigError::Unreadable { .. }) => Failure::Failed(error.to_string()),
        SweepError::Run(RunError::BadName { .. })
        | SweepError::Config(_)
        | SweepError::SetByArms { .. }
        | SweepError::OtherData { .. } => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

impl Command {
    /// Runs what is left to run and prints the table.
    pub fn run(self) -> Result<(), Failure> {
        let Self { ablation, args } = self;
        if args.jobs == Some(0) {
            return Err(Failure::Usage("--jobs is 0, expected at least 1".into()));
        }
        let preset = args.preset(ablation)?;
        let sweep = args.sweep(ablation, preset)?;
        let data = Source::of(&sweep.configs[0]).open()?;
        let threads = rayon::current_num_threads();
        let command: Vec<String> = env::args().collect();
        let study = Study {
            sweep: &sweep,
            data: &data,
            command: &command,
            environment: Environment::current(threads),
        };
        let jobs = sweep.jobs().map_err(planning)?;
        let runs = jobs.len();
        if args.dry_run {
            let pending = study.pending(jobs, false)?;
            let workers = Workers::new(args.jobs, threads, pending.len());
            let plan = Plan::of(&sweep, &data)?;
            write!(stdout(), "{}", plan.to_text(&sweep, pending.len(), workers))?;
            return Ok(());
        }
        let pending = study.pending(jobs, args.force)?;
        let workers = Workers::new(args.jobs, threads, pending.len());
        let progress = Progress::new(runs, runs - pending.len());
        if pending.len() < runs {
            progress.line(&format!(
                "{} of {runs} runs have ended before and are kept",
                runs - pending.len()
            ));
        }
        let shown = Shown {
            study: &study,
            command: &shell_line(&command),
            preset: preset.size,
        };
        let stop = stop_flag();
        shown.live(&progress);
        let trained = study.train(&pending, workers, stop, &progress, || shown.live(&progress));
        progress.clear();
        let results = shown.results()?;
        if results.runs().next().is_some() {
            shown.write(&results)?;
            let text = shown.report(&results).to_text(Colour::for_stdout());
            write!(stdout(), "{text}")?;
        }
        trained?;
        if stop.load(Ordering::SeqCst) {
            let rest: Vec<String> = command
                .into_iter()
                .filter(|word| word != "--force")
                .collect();
            return Err(Failure::Interrupted(format!(
                "stopped; everything is saved. To go on: {}",
                shell_line(&rest)
            )));
        }
        Ok(())
    }
}

impl Args {
    fn preset(&self, ablation: &Ablation) -> Result<&'static Preset, Failure> {
        let found = Preset::of(ablation.body).find(|preset| preset.size == self.preset);
        found.ok_or_else(|| {
            let sizes: Vec<&str> = Preset::of(ablation.body).map(|p| p.size).collect();
            Failure::Usage(format!(
                "--preset {}: expected one of {}",
                self.preset,
                sizes.join(", ")
            ))
        })
    }

    fn sweep(
        &self,
        ablation: &'static Ablation,
        preset: &'static Preset,
    ) -> Result<Sweep, Failure> {
        let common = self.settings.over(preset);
        let common = common.map_err(|error| planning(SweepError::Config(error)))?;
        let keys = self.settings.keys();
        if keys.iter().any(|key| key == "train.seed") {
            let message = "--set train.seed: the seeds of an ablation are those of --seeds";
            return Err(Failure::Usage(message.into()));
        }
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| format!("{}-{}", ablation.name, preset.size));
        let seeds = match &self.seeds {
            Some(seeds) => seeds.0.clone(),
            None => (0..preset.seeds).collect(),
        };
        let arms = (ablation.arms)(self.tanh);
        let place = (self.out.clone(), name);
        Sweep::new(ablation.into(), arms, &common, &keys, seeds, place).map_err(planning)
    }
}

/// What is shown and written while and after the runs.
struct Shown<'a> {
    study: &'a Study<'a>,
    command: &'a str,
    preset: &'a str,
}

impl Shown<'_> {
    fn results(&self) -> Result<Results, RunError> {
        let sweep = self.study.sweep;
        let seeds = sweep.all_seeds()?;
        Results::collect(
            &sweep.root,
            &sweep.name,
            &sweep.arms,
            &seeds,
            sweep.measure(),
        )
    }

    fn report<'r>(&'r self, results: &'r Results) -> Report<'r> {
        Report {
            sweep: self.study.sweep,
            results,
            data: self.study.data,
            command: self.command,
        }
    }

    /// The table so far. A file that cannot be read now is an error at the end.
    fn live(&self, progress: &Progress) {
        if let Ok(results) = self.results() {
            let table = self.report(&results).loss_table();
            progress.table(&table.to_text(TERMINAL_WIDTH, Colour::Off));
        }
    }

    /// `results.json`, `.jsonl`, `.csv`, `.md` and `sweep.toml` in the sweep directory.
    fn write(&self, results: &Results) -> Result<(), RunError> {
        let sweep = self.study.sweep;
        let report = self.report(results);
        let (subject, data) = (&sweep.subject, self.study.data);
        let document = json!({
            "ablation": subject.name,
            "title": subject.title,
            "preset": self.preset,
            "command": self.command,
            "data": { "name": data.name(), "fingerprint": data.fingerprint() },
            "paper": subject.paper.map(|paper| {
                json!({ "place": paper.place, "scale": paper.scale, "columns": paper.columns })
            }),
            "results": results,
        });
        let json = format!("{document:#}\n");
        let lines: String = results
            .runs()
            .map(|run| format!("{}\n", json!(run)))
            .collect();
        let path = sweep.path();
        for (name, text) in [
            ("results.json", json),
            ("results.jsonl", lines),
            ("results.csv", report.csv()),
            ("results.md", report.to_markdown()),
        ] {
            write_atomically(&path.join(name), text.as_bytes())?;
        }
        self.study.write_settings(&results.seeds)
    }
}
