//! `--list` and `--task`: the runs of a sweep one by one, for batch systems.

use super::to_go_on;
use crate::{output::Failure, signals::stop_flag};
use figures::terminal::{stderr_width, wrapped};
use lab::{
    ablation::{Job, Progress, Study, Sweep, Workers, contrasts_of},
    run_dir::read_summary,
    state::STATE_FILE,
};
use std::{
    io::{Write, stderr, stdout},
    sync::atomic::Ordering,
    time::Duration,
};

/// Longest wait for a run that another process holds: longer than a killed task needs to
/// save its state, and than a file server needs to take the lock of a lost machine away.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// Prints number, state, arm, seed and directory of every run, separated by tabs, and on standard
/// error the contrasts.
pub(super) fn list(sweep: &Sweep, jobs: &[Job]) -> Result<(), Failure> {
    for (number, job) in jobs.iter().enumerate() {
        let path = &job.id.path;
        let ended = read_summary(path)?.is_some_and(|summary| summary.status.is_final());
        let state = match (ended, path.join(STATE_FILE).exists()) {
            (true, _) => "done",
            (false, true) => "partial",
            (false, false) => "new",
        };
        let arm = &sweep.arms[job.arm].name;
        let (seed, path) = (job.id.seed, path.display());
        writeln!(stdout(), "{number}\t{state}\t{arm}\t{seed}\t{path}")?;
    }
    for one in contrasts_of(&sweep.path(), &sweep.contrasts, &sweep.seeds)? {
        write!(stderr(), "{}", wrapped(&one.to_string(), stderr_width()))?;
    }
    Ok(())
}

/// Refuses the number of a run that is not there.
pub(super) fn check(number: usize, runs: usize) -> Result<(), Failure> {
    match number < runs {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "--task {number}: there are {runs} runs, numbered from 0; --list shows them"
        ))),
    }
}

/// Does one run. A run that has ended is left as it is, one that another process holds is waited
/// for.
///
/// # Panics
/// If there is no run of this number.
pub(super) fn run(
    study: &Study<'_>,
    mut jobs: Vec<Job>,
    number: usize,
    force: bool,
) -> Result<(), Failure> {
    let job = jobs.swap_remove(number);
    let name = study.name_of(&job);
    let stop = stop_flag();
    let progress = Progress::new(1, 0);
    study.declare()?;
    let pending = study.pending(vec![job], force)?;
    if pending.is_empty() {
        progress.line(&format!("{name}: has ended before and is kept"));
        return Ok(());
    }
    progress.data(study.data.account());
    let workers = Workers::new(Some(1), rayon::current_num_threads(), 1);
    let trained = study.train(&pending, workers, stop, &progress, || ());
    progress.clear();
    trained?;
    if stop.load(Ordering::SeqCst) {
        return Err(Failure::Interrupted(format!(
            "stopped; everything is saved. To go on:\n  {}",
            to_go_on(study.command)
        )));
    }
    Ok(())
}
