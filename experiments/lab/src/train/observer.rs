//! Observers of a run, and the one that keeps its warnings beside its other files.

use super::StepReport;
use crate::run_dir::{WARNINGS_FILE, read_warnings, write_atomically};
use nn::guard::{Finding, remarks};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Is told what happens during a run.
pub trait Observer: Send {
    /// The run begins, or goes on after these steps.
    fn begun(&mut self, _steps_done: u64) {}

    /// A step is done; with the validation loss, where it was measured.
    fn step(&mut self, _report: &StepReport, _validation: Option<f64>) {}

    /// Something does not learn.
    fn not_learning(&mut self, _findings: &[Finding]) {}

    /// Something that the run can live with.
    fn warning(&mut self, _message: &str) {}
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {}

/// Passes everything on to another observer, and writes each warning once into the run directory.
pub(super) struct Noting<'o> {
    observer: &'o mut dyn Observer,
    path: Option<PathBuf>,
}

impl<'o> Noting<'o> {
    pub(super) fn new(observer: &'o mut dyn Observer, directory: Option<&Path>) -> Self {
        let path = directory.map(|directory| directory.join(WARNINGS_FILE));
        Self { observer, path }
    }

    fn note(&self, message: &str) {
        let Some(path) = &self.path else {
            return;
        };
        let mut lines = path.parent().map(read_warnings).unwrap_or_default();
        let message = message.replace('\n', " ");
        if !lines.contains(&message) {
            lines.push(message);
            // A run does not fail for want of a note; a full disk is met by what it needs.
            let _ = write_atomically(path, (lines.join("\n") + "\n").as_bytes());
        }
    }
}

impl Observer for Noting<'_> {
    fn begun(&mut self, steps_done: u64) {
        if let (0, Some(path)) = (steps_done, &self.path) {
            // Those of a run before this one.
            let _ = fs::remove_file(path);
        }
        self.observer.begun(steps_done);
    }

    fn step(&mut self, report: &StepReport, validation: Option<f64>) {
        self.observer.step(report, validation);
    }

    fn not_learning(&mut self, findings: &[Finding]) {
        remarks(findings)
            .iter()
            .for_each(|remark| self.note(remark));
        self.observer.not_learning(findings);
    }

    fn warning(&mut self, message: &str) {
        self.note(message);
        self.observer.warning(message);
    }
}
