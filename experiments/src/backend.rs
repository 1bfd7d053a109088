//! `backend`: devices that could multiply matrices, whether they do so correctly, and how fast;
//! and `--backend` of the commands that compute.

use super::{
    output::{Failure, print, print_json, remark, say, shown, usage},
    parity::print_reports,
};
use clap::ValueEnum;
use engine::backend::{Options, Threshold};
use figures::table::{Table, TableOf};
use lab::{
    bench::{
        Size, named,
        products::{
            AttentionSpeed, Measured, ProductSpeed, Rates, attention_of_step, cubes, of_step,
        },
    },
    config::Precision,
    device::{Choice, Selected, adapters},
};
use std::{
    fs, iter,
    path::{Path, PathBuf},
};

/// Options that choose the backend of matrix products.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct BackendArgs {
    /// Who multiplies large matrices; the rest is the CPU's (docs/backend.md)
    #[arg(long, value_enum, default_value = "cpu")]
    backend: Name,
    /// Accept an adapter that the processor itself plays, to try the kernels
    #[arg(long)]
    software_adapter: bool,
    /// Memory of the device for what stays there between products
    #[arg(
        long,
        default_value_t = 4,
        value_name = "GIB",
        value_parser = clap::value_parser!(u64).range(1..=1024)
    )]
    device_memory: u64,
    /// Fetch every result from the device at once, to measure what leaving it there is worth
    #[arg(long)]
    fetch_results: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// The processor: the same bits for any number of threads
    Cpu,
    /// A GPU through Vulkan, Metal or DX12; an error without one
    Wgpu,
    /// A GPU if there is one, the processor otherwise
    Auto,
}

impl BackendArgs {
    /// The flags that say the same.
    pub(crate) fn flags(self) -> impl Iterator<Item = String> {
        let name = self.backend.to_possible_value().expect("a named backend");
        let memory = || format!("--device-memory={}", self.device_memory);
        let software = self.software_adapter.then(|| "--software-adapter".into());
        let fetch = self.fetch_results.then(|| "--fetch-results".into());
        iter::once(format!("--backend={}", name.get_name()))
            .chain(software)
            .chain((self.device_memory != 4).then(memory))
            .chain(fetch)
    }

    /// Opens the backend for products in these precisions, and says what is odd about it.
    pub(crate) fn open(
        self,
        precisions: impl IntoIterator<Item = Precision>,
    ) -> Result<Selected, Failure> {
        let on_device = !matches!(self.backend, Name::Cpu);
        if on_device && precisions.into_iter().any(|one| one == Precision::Bf16) {
            return Err(usage(
                "--backend: a device computes in f32, and products in bf16 are the CPU's: leave one of them out",
            ));
        }
        let choice = match self.backend {
            Name::Cpu => Choice::Cpu,
            Name::Wgpu => Choice::Gpu,
            Name::Auto => Choice::Auto,
        };
        // The processor playing a device never overtakes itself: who asks for that wants
        // to see the kernels at work.
        let threshold = match self.software_adapter {
            true => Threshold::Cube(0),
            false => Threshold::Measured,
        };
        let options = Options {
            software: self.software_adapter,
            threshold,
            budget: self.device_memory << 30,
            fetch_results: self.fetch_results,
            ..Options::default()
        };
        let selected = Selected::open(choice, options)?;
        remark(selected.notes.clone());
        Ok(selected)
    }
}

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
    /// Time products by size, or the products and the attention of a step, on the CPU and on
    /// the device, and find where it overtakes
    Bench(BenchArgs),
}

/// Products in the three layouts of a training step: cubes, or those of a step.
#[derive(Debug, clap::Args)]
struct BenchArgs {
    /// The largest cube
    #[arg(long, default_value_t = 2048, value_name = "N")]
    largest: usize,
    /// Instead of cubes the products of the linear layers of `bench --size SIZE`, forward and
    /// both gradients, and its attention
    #[arg(long, value_name = "SIZE", value_parser = named, conflicts_with = "largest")]
    step: Option<Size>,
    /// Into how many shards the batch of --step is cut
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096), requires = "step")]
    shards: u64,
    /// Accept an adapter that the processor itself plays
    #[arg(long)]
    software_adapter: bool,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
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
    for adapter in &adapters {
        let matrix = adapter.max_binding.min(adapter.max_buffer) >> 20;
        let (size, memory) = (adapter.workgroup_size, adapter.workgroup_memory >> 10);
        print(&format!(
            "{}
  kind        {}, through {}
  driver      {}
  matrices    up to {matrix} MiB
  workgroups  up to {size} invocations, {memory} KiB
",
            adapter.name, adapter.kind, adapter.api, adapter.driver
        ))?;
    }
    let first = &adapters[0];
    say(&match first.software {
        false => format!("--backend wgpu and auto would use {}", first.name),
        true => format!(
            "--backend wgpu would use none of them: {} is the processor itself \
             (--software-adapter accepts it)",
            first.name
        ),
    })
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
        let entries = fs::read_dir(folder)
            .map_err(|_| usage("the source tree with its fixtures is not here: name files"))?;
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

impl BenchArgs {
    fn run(self) -> Result<(), Failure> {
        if self.largest < 64 {
            return Err(usage("--largest: expected at least 64"));
        }
        let selected = for_everything(self.software_adapter)?;
        let shards = self.shards as usize;
        let products = match self.step {
            Some(size) => of_step(size, shards),
            None => cubes(self.largest),
        };
        let attention = self.step.map(|size| attention_of_step(size, shards));
        let mut measured =
            Measured::of(products, attention, &*selected.backend).map_err(Failure::Failed)?;
        if self.step.is_some() {
            measured.crossover = None;
        }
        if self.json {
            return print_json(&measured);
        }
        let (backend, threads) = (&measured.backend, measured.threads);
        say(&format!("{backend}; CPU with {threads} threads"))?;
        print(&shown(&table(&measured.rows)))?;
        match (self.step, measured.crossover) {
            (Some(_), _) => print(&format!(
                "\n{}",
                shown(&attention_table(&measured.attention))
            )),
            (None, Some(edge)) => say(&format!(
                "the device, transfers included, overtakes at {edge}"
            )),
            (None, None) => say("the device, transfers included, never overtakes the CPU"),
        }
    }
}

fn table(rows: &[ProductSpeed]) -> Table {
    let table = Table::of(rows)
        .left("product", |row| &row.product)
        .right("m", |row| row.m.to_string())
        .right("k", |row| row.k.to_string())
        .right("n", |row| row.n.to_string());
    with_rates(table, |row| &row.rates)
}

fn attention_table(rows: &[AttentionSpeed]) -> Table {
    let table = Table::of(rows)
        .left("attention", |row| row.pass)
        .right("sequences", |row| row.sequences.to_string())
        .right("tokens", |row| row.tokens.to_string())
        .right("heads", |row| row.heads.to_string())
        .right("head size", |row| row.head_dim.to_string());
    with_rates(table, |row| &row.rates)
}

fn with_rates<R>(table: TableOf<'_, R>, rates: impl Fn(&R) -> &Rates) -> Table {
    let rate = |rate: f64| format!("{rate:.1}");
    table
        .right("CPU GFLOP/s", |row| rate(rates(row).cpu))
        .right("device, with transfers", |row| rate(rates(row).device))
        .right("device alone", |row| {
            rates(row).device_alone.map_or("?".into(), rate)
        })
        .table()
}
