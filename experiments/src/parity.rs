//! `parity`: this engine against reference values of another one.

use super::Failure;
use engine::backend::{Backend, CpuBackend};
use figures::{
    table::{Align, Cell, Table, Tone},
    terminal::{Colour, scientific, stdout_width},
};
use lab::parity::{Report, Worst, check_on};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    path::PathBuf,
    sync::Arc,
};

/// Executes files of reference values (docs/parity.md) and compares outputs, losses,
/// gradients and training with them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to check
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON line per file
    #[arg(long)]
    json: bool,
}

/// A file that could not be checked, in JSON.
#[derive(Serialize)]
struct Unchecked<'a> {
    file: &'a PathBuf,
    error: String,
    passed: bool,
}

impl Args {
    /// Checks every file, prints what was found, and fails if any did not pass.
    pub fn run(self) -> Result<(), Failure> {
        let cpu: Arc<dyn Backend> = Arc::new(CpuBackend);
        print_reports(&self.files, self.json, &cpu)
    }
}

/// Checks every file on `backend`, prints what was found, and fails if any did not pass.
pub(super) fn print_reports(
    files: &[PathBuf],
    json: bool,
    backend: &Arc<dyn Backend>,
) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let mut reports = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        match check_on(file, backend) {
            Ok(report) => {
                if json {
                    writeln!(out, "{}", serde_json::to_string(&report)?)?;
                }
                reports.push(report);
            }
            Err(error) => {
                let error = error.to_string();
                if json {
                    let line = Unchecked {
                        file,
                        error: error.clone(),
                        passed: false,
                    };
                    writeln!(out, "{}", serde_json::to_string(&line)?)?;
                }
                errors.push(error);
            }
        }
    }
    if !json && !reports.is_empty() {
        let text = table(&reports).to_text(stdout_width(), Colour::for_stdout());
        out.write_all(text.as_bytes())?;
    }
    let failed = reports.iter().filter(|report| !report.passed);
    errors.extend(failed.map(reason));
    match &*errors {
        [] => Ok(()),
        _ => Err(Failure::Failed(errors.join("\nerror: "))),
    }
}

/// What is wrong with a report that has not passed.
fn reason(report: &Report) -> String {
    let mut reasons: Vec<String> = report
        .groups()
        .filter(|group| !group.passes())
        .map(|group| {
            format!(
                "{} is off by {} of its largest magnitude, tolerated {}",
                group.tensor,
                scientific(group.error, 1),
                scientific(group.tolerance, 0)
            )
        })
        .collect();
    if !report.decay_differs.is_empty() {
        reasons.push(format!(
            "weight decay differs for {}",
            report.decay_differs.join(", ")
        ));
    }
    format!("{}: {}", report.file.display(), reasons.join("; "))
}

fn table(reports: &[Report]) -> Table {
    let mut table = Table::new([
        ("file", Align::Left),
        ("", Align::Left),
        ("outputs", Align::Right),
        ("losses", Align::Right),
        ("gradients", Align::Right),
        ("training losses", Align::Right),
        ("trained weights", Align::Right),
        ("worst gradient", Align::Left),
    ]);
    for report in reports {
        let name = report.file.file_stem().unwrap_or(report.file.as_os_str());
        let verdict = match report.passed {
            true => Cell::new("pass", Tone::Good),
            false => Cell::new("FAIL", Tone::Bad),
        };
        let gradient = report.gradients.as_ref();
        table.push([
            Cell::from(name.to_string_lossy()),
            verdict,
            error(&report.outputs),
            error(&report.losses),
            error(&report.gradients),
            error(&report.training_losses),
            error(&report.trained),
            Cell::from(gradient.map_or("", |worst| &worst.tensor)),
        ]);
    }
    table
}

fn error(worst: &Option<Worst>) -> Cell {
    match worst {
        Some(worst) if worst.passes() => Cell::from(scientific(worst.error, 1)),
        Some(worst) => Cell::new(scientific(worst.error, 1), Tone::Bad),
        None => Cell::new("-", Tone::Faint),
    }
}
