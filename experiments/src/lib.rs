//! The command line: one file for each command, one line in `Command`.

mod backend;
mod bench;
mod checkpoint;
mod export;
mod graph;
mod import;
mod inspect;
mod output;
mod parity;
mod probe;
mod report;
mod sample;
mod settings;
mod signals;
mod sweep;
mod teach;
mod train;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use lab::{invocation, run_dir::Build};
use output::{Failure, remark};
use settings::{MOST_THREADS, thread_count};
use std::{
    env,
    process::{self, ExitCode},
    thread::available_parallelism,
};

/// Train, ablate, check and look inside hyper-connections on the CPU.
#[derive(Debug, Parser)]
#[command(name = "experiments", version, max_term_width = 100)]
struct Cli {
    /// Threads to use [default: all cores that Slurm and the container grant]
    #[arg(long, global = true, value_name = "N", value_parser = thread_count)]
    threads: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
enum Command {
    /// Time the training step that other engines are raced on
    Bench(bench::Args),
    /// Devices that could multiply matrices
    Backend(backend::Args),
    /// Compare with reference values of another engine
    Parity(parity::Args),
    /// Train one network
    Train(train::Args),
    /// Tables, plots and a page from the files of runs
    Report(report::Args),
    /// Ask trained decoders questions on held-out text
    Probe(probe::Args),
    /// Show runs while they train
    Watch(watch::Args),
    /// Continue a text or draw images with a trained network
    Sample(sample::Args),
    /// Show what the connections of a trained network have learned
    Inspect(inspect::Args),
    /// Write a trained network as a PyTorch program
    Export(export::Args),
    /// Take weights back that PyTorch has changed
    Import(import::Args),
    /// Draw what a tape has recorded, with values and gradients
    Graph(graph::Args),
    /// Lessons that compute
    Teach(teach::Args),
    /// Compare any settings over several seeds
    Sweep(sweep::file::Args),
    /// Find the best learning rate of each arm, and compare the arms there
    LrSweep(sweep::learning_rate::Args),
    /// Compare arms over several seeds
    #[command(flatten)]
    Ablation(sweep::ablation::Command),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Command::Bench(args) => args.run(),
            Command::Backend(args) => args.run(),
            Command::Parity(args) => args.run(),
            Command::Train(args) => args.run(),
            Command::Sample(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Probe(args) => args.run(),
            Command::Watch(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Export(args) => args.run(),
            Command::Import(args) => args.run(),
            Command::Graph(args) => args.run(),
            Command::Teach(args) => args.run(),
            Command::Sweep(args) => args.run(),
            Command::LrSweep(args) => args.run(),
            Command::Ablation(command) => command.run(),
        }
    }
}

/// Compiler, target and commit of this program, found by `build.rs`.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: match (option_env!("BUILD_COMMIT"), option_env!("BUILD_DIRTY")) {
        (Some(commit), Some(dirty)) => Some((commit, matches!(dirty.as_bytes(), b"true"))),
        _ => None,
    },
    rustc: env!("BUILD_RUSTC"),
    target: env!("BUILD_TARGET"),
    target_features: env!("BUILD_TARGET_FEATURES"),
    profile: env!("BUILD_PROFILE"),
};

/// Parses the arguments of the process and runs its command.
pub fn main() -> ExitCode {
    BUILD.declare();
    invocation::program();
    let cli = parse();
    let result = use_threads(cli.threads).and_then(|()| cli.command.run());
    let (label, text, status) = match result {
        Ok(()) | Err(Failure::ClosedPipe) => return ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => ("error: ", text, 2),
        Err(Failure::Failed(text)) => ("error: ", text, 1),
        Err(Failure::Interrupted(text)) => ("", text, 130),
    };
    remark([format!("{label}{text}")]);
    ExitCode::from(status)
}

/// The arguments of the process. A negative number is the value of its option, which says what
/// it takes, and not an unknown option.
fn parse() -> Cli {
    fn take_negative_numbers(command: clap::Command) -> clap::Command {
        command
            .mut_args(|arg| {
                let takes_values = arg.get_action().takes_values();
                arg.allow_negative_numbers(takes_values)
            })
            .mut_subcommands(take_negative_numbers)
    }
    let matches = take_negative_numbers(Cli::command()).try_get_matches();
    let cli = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    cli.unwrap_or_else(|error| match error.kind() {
        ErrorKind::ValueValidation => {
            remark([in_plain_words(error.to_string().trim_end())]);
            process::exit(2)
        }
        _ => error.exit(),
    })
}

/// What the standard library says of numbers, for people who do not program.
fn in_plain_words(error: &str) -> String {
    error
        .replace(
            "invalid digit found in string",
            "expected a whole number, 0 or more",
        )
        .replace("invalid float literal", "expected a number")
        .replace(
            "number too large to fit in target type",
            "the number is too large",
        )
}

/// Without a number: those that Slurm has granted, and no more than the machine or the container
/// has. `RAYON_NUM_THREADS` is heeded, as far as [`MOST_THREADS`].
fn use_threads(threads: Option<usize>) -> Result<(), Failure> {
    let number = |name: &str| env::var(name).ok()?.parse::<usize>().ok();
    let granted = || {
        let granted = number("SLURM_CPUS_PER_TASK").filter(|granted| *granted > 0)?;
        Some(granted.min(available_parallelism().ok()?.get()))
    };
    let set = || Some(number("RAYON_NUM_THREADS")?.min(MOST_THREADS));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.or_else(granted).or_else(set).unwrap_or(0))
        .build_global()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_known_wherever_the_program_was_built_from_a_checkout() {
        let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/../.git");
        let exists = std::fs::exists(checkout).expect("a place");
        assert_eq!(BUILD.commit.is_some(), exists);
        let hexadecimal = |c: char| c.is_ascii_hexdigit();
        let named = |commit: &str| commit.len() >= 40 && commit.chars().all(hexadecimal);
        assert!(BUILD.commit.is_none_or(|(commit, _)| named(commit)));
    }
}
