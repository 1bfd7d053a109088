//! `backend`: devices that could multiply matrices, whether they do so correctly, and how
//! fast.

mod choice;
mod speed;

pub(super) use choice::BackendArgs;

use super::{Failure, parity::print_reports};
use engine::backend::{Options, Threshold};
use figures::terminal::{stdout_width, wrapped};
use lab::device::{Choice, Selected, adapters};
use std::{
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

/// Devices that could multiply matrices: which there are, whether they are right, how fast
/// they are (docs/backend.md)
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show adapters with their limits, and which would be used
    List,
    /// Compare the device with reference values of PyTorch (as `parity` does for the CPU)
    Check {
        /// Files to check [default: the fixtures of the source tree]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Accept an adapter that the processor itself plays
        #[arg(long)]
        software_adapter: bool,
        /// Print one JSON line per file
        #[arg(long)]
        json: bool,
    },
    /// Time products by size on the CPU and on the device, and find where it overtakes
    Bench(speed::Args),
}

impl Args {
    /// Runs the subcommand.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List => list(),
            Command::Check {
                files,
                software_adapter,
                json,
            } => check(files, software_adapter, json),
            Command::Bench(args) => args.run(),
        }
    }
}

fn list() -> Result<(), Failure> {
    let adapters = adapters()?;
    let mut out = stdout().lock();
    for adapter in &adapters {
        let matrix = adapter.max_binding.min(adapter.max_buffer) >> 20;
        let (size, memory) = (adapter.workgroup_size, adapter.workgroup_memory >> 10);
        writeln!(out, "{}", adapter.name)?;
        for (name, value) in [
            ("kind", format!("{}, through {}", adapter.kind, adapter.api)),
            ("driver", adapter.driver.clone()),
            ("matrices", format!("up to {matrix} MiB")),
            (
                "workgroups",
                format!("up to {size} invocations, {memory} KiB"),
            ),
        ] {
            writeln!(out, "  {name:<10}  {value}")?;
        }
    }
    let first = &adapters[0];
    let used = match first.software {
        false => format!("--backend wgpu and auto would use {}", first.name),
        true => format!(
            "--backend wgpu would use none of them: {} is the processor itself \
             (--software-adapter accepts it)",
            first.name
        ),
    };
    write!(out, "{}", wrapped(&used, stdout_width()))?;
    Ok(())
}

/// A device that computes all products, however small.
fn for_everything(software: bool) -> Result<Selected, Failure> {
    let everything = Options {
        software,
        threshold: Threshold::Cube(0),
        ..Options::default()
    };
    Ok(Selected::open(Choice::Gpu, everything)?)
}

fn check(mut files: Vec<PathBuf>, software: bool, json: bool) -> Result<(), Failure> {
    let selected = for_everything(software)?;
    if files.is_empty() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
        let entries = fs::read_dir(folder).map_err(|_| {
            Failure::Usage("the source tree with its fixtures is not here: name files".into())
        })?;
        for entry in entries {
            files.push(entry?.path());
        }
        files.retain(|file| file.extension().is_some_and(|end| end == "safetensors"));
        files.sort();
    }
    let compared = print_reports(&files, json, &selected.backend);
    // A device that fails is not merely inexact.
    match selected.backend.failure() {
        Some(message) => Err(Failure::Failed(message)),
        None => compared,
    }
}
