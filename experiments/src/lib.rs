//! The command line: one file for each command, one line in `Command`.

mod backend;
mod bench;
mod graph;
mod inspect;
mod parity;
mod report;
mod sample;
mod settings;
mod signals;
mod sweep;
mod teach;
mod train;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use figures::terminal::printable_lines;
use lab::{invocation, run_dir::Build};
use std::{
    env, fmt,
    io::{self, Write},
    process::ExitCode,
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
    /// Show runs while they train
    Watch(watch::Args),
    /// Continue a text or draw images with a trained network
    Sample(sample::Args),
    /// Show what the connections of a trained network have learned
    Inspect(inspect::Args),
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
            Command::Watch(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Graph(args) => args.run(),
            Command::Teach(args) => args.run(),
            Command::Sweep(args) => args.run(),
            Command::LrSweep(args) => args.run(),
            Command::Ablation(command) => command.run(),
        }
    }
}

/// Why a command ended without doing its work.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for makes no sense: exit status 2.
    Usage(String),
    /// The world did not play along: exit status 1.
    Failed(String),
    /// It was asked to end early, and says how to go on: exit status 130.
    Interrupted(String),
    /// Nobody reads the output any more: not an error.
    ClosedPipe,
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let closed = (&error as &dyn std::any::Any)
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if closed {
            Failure::ClosedPipe
        } else {
            Failure::Failed(error.to_string())
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) | Failure::Failed(message) | Failure::Interrupted(message) => {
                f.write_str(message)
            }
            Failure::ClosedPipe => f.write_str("the output was closed"),
        }
    }
}

/// What this program was compiled with and from, found by `build.rs`.
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
    match result {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            let (label, status) = match failure {
                Failure::Usage(_) => ("error: ", 2),
                Failure::Interrupted(_) => ("", 130),
                _ => ("error: ", 1),
            };
            let text = printable_lines(&failure.to_string());
            // The terminal may be gone.
            let _ = writeln!(io::stderr(), "{label}{text}");
            ExitCode::from(status)
        }
    }
}

/// Says what a command can live with, beside its output.
fn remark(remarks: &[String]) {
    for text in remarks {
        // The terminal may be gone.
        let _ = writeln!(io::stderr(), "note: {}", printable_lines(text));
    }
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
    let mut matches = take_negative_numbers(Cli::command()).get_matches();
    Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit())
}

/// More would only wait for each other.
const MOST_THREADS: usize = 1024;

/// A number of threads, or of runs at a time.
fn thread_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=MOST_THREADS) => Ok(threads),
        _ => Err(format!("expected 1 to {MOST_THREADS}")),
    }
}

/// Without a number: those that Slurm has granted, and no more than the machine or the container
/// has. `RAYON_NUM_THREADS` is heeded, as far as [`MOST_THREADS`].
fn use_threads(threads: Option<usize>) -> Result<(), Failure> {
    let granted = || {
        let granted = env::var("SLURM_CPUS_PER_TASK").ok()?;
        let granted = granted
            .parse::<usize>()
            .ok()
            .filter(|granted| *granted > 0)?;
        Some(granted.min(available_parallelism().ok()?.get()))
    };
    let set = || {
        let set = env::var("RAYON_NUM_THREADS").ok()?.parse::<usize>().ok()?;
        Some(set.min(MOST_THREADS))
    };
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
