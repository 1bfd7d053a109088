//! `--match`: the steps of arms of equal cost, before any of their runs.

use super::{RunArgs, task::PATIENCE};
use crate::{output::Failure, signals::stop_flag};
use lab::{
    ablation::{Job, Matching, Progress, Study, Sweep, Unfinished, Workers},
    run_dir::Lock,
};
use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

/// Between two looks at steps that another process chooses.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

impl RunArgs {
    /// The sweep with the steps of its arms, and these in words if its arms are of equal cost. Steps
    /// that have not been chosen before are chosen now, from what is measured on these workers.
    pub(super) fn matched(
        &self,
        study: &Study<'_>,
        jobs: &[Job],
        workers: Workers,
    ) -> Result<(Sweep, Vec<String>), Failure> {
        let sweep = study.sweep;
        let again = if self.force { jobs } else { &[] };
        let anew = self.force && self.task.is_none();
        let recorded = || Matching::recorded(sweep, again, anew);
        let Some(mut matching) = recorded()? else {
            if !self.dry_run {
                Matching::forget(&sweep.path())?;
            }
            return Ok((sweep.clone(), Vec::new()));
        };
        let mut taken = None;
        // Tasks begin at the same time: one chooses, the others wait for it.
        let begun = Instant::now();
        while self.task.is_some() && taken.is_none() && !matching.is_complete(sweep) {
            taken = take(study, begun)?;
            matching = recorded()?.expect("steps of equal cost are asked for");
        }
        let mut lines = Vec::new();
        if !matching.is_complete(sweep) {
            let progress = Progress::new(jobs.len(), 0);
            let completed = matching.completed(study, workers, stop_flag(), &progress)?;
            progress.clear();
            let stopped = || Failure::Interrupted("stopped before the first run".to_owned());
            matching = completed.ok_or_else(stopped)?;
            if self.dry_run {
                lines.push("steps chosen now, and again when the sweep starts".to_owned());
            } else {
                matching.write(&sweep.path())?;
            }
        }
        drop(taken);
        lines.extend(matching.lines(sweep));
        let disturbed = matching.disturbed(sweep);
        if !disturbed.is_empty() {
            lines.push(format!(
                "warning: the machine was not quiet when the steps of {} were timed; --force, when it is, chooses them again and does all runs again",
                disturbed.join(", ")
            ));
        }
        Ok((matching.applied_to(sweep), lines))
    }
}

/// The sweep for this process, or a pause if another one has it.
fn take(study: &Study<'_>, begun: Instant) -> Result<Option<Lock>, Failure> {
    match study.take() {
        Err(Unfinished::Busy { .. })
            if begun.elapsed() < PATIENCE && !stop_flag().load(Ordering::SeqCst) =>
        {
            thread::sleep(BETWEEN_LOOKS);
            Ok(None)
        }
        taken => Ok(Some(taken?)),
    }
}
