//! `parity`: this engine against reference values of another one.

use super::output::{Failure, print, print_json, say, shown, usage};
use engine::backend::{Backend, CpuBackend};
use figures::{
    table::{Cell, Table, Tone},
    terminal::scientific,
};
use lab::{
    parity::{Agreement, Worst, check_on, export},
    run_dir::write_atomically,
};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// Executes files of reference values (docs/parity.md) and compares outputs, losses,
/// gradients and training with them
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Files to check
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON line per file
    #[arg(long)]
    json: bool,
}

/// What else there is to do with such files.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Writes reference values for the authors of kernels: one connection with every parameter in
    /// general position, its output and its exact gradients, computed in f64
    Export(Export),
}

#[derive(Debug, clap::Args)]
struct Export {
    /// The type of the connection, as in a configuration file
    #[arg(long, value_name = "TYPE")]
    connection: String,
    /// A setting of the connection, or batch, seq, dim, eps, sublayer_index; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The file to write; there must be none yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Export {
    fn run(self) -> Result<(), Failure> {
        let out = self.out.display();
        if self.out.file_name().is_none() {
            return Err(usage(format!("--out {out}: expected the name of a file")));
        }
        if self.out.symlink_metadata().is_ok() {
            let message = format!("{out} is there already: remove it, or name another file");
            return Err(Failure::Failed(message));
        }
        let content =
            export(&self.connection, &self.set).map_err(|error| usage(error.to_string()))?;
        write_atomically(&self.out, &content)?;
        say(&format!("{out}: reference values of {}", self.connection))
    }
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
        if let Some(Other::Export(export)) = self.other {
            return export.run();
        }
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
