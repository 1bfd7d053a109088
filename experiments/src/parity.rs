//! `parity`: this engine against reference values of another one.

use super::output::{Failure, print, print_json, shown};
use engine::backend::{Backend, CpuBackend};
use figures::{
    table::{Cell, Table, Tone},
    terminal::scientific,
};
use lab::parity::{Agreement, Worst, check_on};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

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
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        match check_on(file, backend) {
            Ok(agreement) => {
                if json {
                    print_json(&agreement)?;
                }
                found.push(agreement);
            }
            Err(error) => {
                let unchecked = Unchecked {
                    file,
                    error: error.to_string(),
                    passed: false,
                };
                if json {
                    print_json(&unchecked)?;
                }
                errors.push(unchecked.error);
            }
        }
    }
    if !json && !found.is_empty() {
        print(&shown(&table(&found)))?;
    }
    let failed = found.iter().filter(|agreement| !agreement.passed);
    errors.extend(failed.map(Agreement::reason));
    match &*errors {
        [] => Ok(()),
        _ => Err(Failure::Failed(errors.join("\nerror: "))),
    }
}

fn table(found: &[Agreement]) -> Table {
    let error = |worst: &Option<Worst>| match worst {
        Some(worst) if worst.passes() => Cell::from(scientific(worst.error, 1)),
        Some(worst) => Cell::new(scientific(worst.error, 1), Tone::Bad),
        None => Cell::new("-", Tone::Faint),
    };
    Table::of(found)
        .left("file", |of| {
            let name = of.file.file_stem().unwrap_or(of.file.as_os_str());
            Cell::from(name.to_string_lossy())
        })
        .left("", |of| match of.passed {
            true => Cell::new("pass", Tone::Good),
            false => Cell::new("FAIL", Tone::Bad),
        })
        .right("outputs", |of| error(&of.outputs))
        .right("losses", |of| error(&of.losses))
        .right("gradients", |of| error(&of.gradients))
        .right("training losses", |of| error(&of.training_losses))
        .right("trained weights", |of| error(&of.trained))
        .left("worst gradient", |of| {
            let worst = of.gradients.as_ref();
            Cell::from(worst.map_or("", |worst| &worst.tensor))
        })
        .table()
}
