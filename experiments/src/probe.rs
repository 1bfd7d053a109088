//! `probe`: the probes of runs that have ended without them, and their tables.

use super::output::{Failure, print, remark, say, shown};
use lab::{
    config::RunConfig,
    data::{Data, Source},
    report::{Recorded, runs_in},
    run_dir::{CONFIG_FILE, RunDir, RunId, Status, read_probes, read_summary},
    train::{check_same_data, probe_ended},
};
use std::path::PathBuf;

/// Print what trained decoders of bytes do with held-out text: ends of lines, brackets,
/// indentation, copying. `train` and the ablations compute it after the last step; for runs that
/// ended without it, it is computed from their weights here and stored beside them as probes.json.
/// No other file of a run changes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sweep directories such as runs/ablation-rate-small, or directories of single runs
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
}

impl Args {
    /// Computes what is missing and prints the tables.
    pub fn run(self) -> Result<(), Failure> {
        let mut opened = Vec::new();
        let mut failed = 0;
        for directory in &self.directories {
            for run in runs_in(directory)? {
                let name = format!("{} seed {}", run.arm, run.seed);
                match probe(&run, &mut opened) {
                    Ok(None) => {}
                    Ok(Some(done)) => remark([format!("{name}: {done}")]),
                    Err(Failure::Usage(error) | Failure::Failed(error)) => {
                        failed += 1;
                        remark([format!("{name}: {error}")]);
                    }
                    Err(failure) => return Err(failure),
                }
            }
            let recorded = Recorded::read(directory, None)?;
            let command = recorded.command();
            for (title, table) in recorded.report(&command).probes() {
                say(&title)?;
                print(&(shown(&table) + "\n"))?;
            }
        }
        match failed {
            0 => Ok(()),
            1 => Err(Failure::Failed("one run was not probed".to_owned())),
            _ => Err(Failure::Failed(format!("{failed} runs were not probed"))),
        }
    }
}

/// Probes a run; says what was done, and nothing where it had been done before.
fn probe(run: &RunId, opened: &mut Vec<(Source, Data)>) -> Result<Option<&'static str>, Failure> {
    let path = &run.path;
    match read_summary(path)?.map(|summary| summary.status) {
        Some(Status::Ok) => {}
        Some(Status::Diverged) => return Ok(Some("diverged, and is not probed")),
        Some(Status::Interrupted) | None => {
            return Ok(Some("has not ended, and is not probed"));
        }
    }
    // What is damaged, or of an earlier run in this place, is computed anew.
    if let Ok(Some(_)) = read_probes(path) {
        return Ok(None);
    }
    let config = RunConfig::of_run(&path.join(CONFIG_FILE))?;
    let source = Source::of(&config);
    let known = opened.iter().position(|(known, _)| *known == source);
    let known = match known {
        Some(known) => known,
        None => {
            opened.push((source.clone(), source.open()?));
            opened.len() - 1
        }
    };
    let data = &opened[known].1;
    check_same_data(path, data.account())?;
    let probes = probe_ended(&RunDir::open(run)?, &config, data)?;
    Ok(Some(match probes {
        Some(_) => "probed",
        None => "does not read bytes, and there are no probes for it",
    }))
}
