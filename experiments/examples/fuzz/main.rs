//! Damages files of every kind that the program reads, and has the program read them:
//!
//! ```sh
//! cargo run --release -p experiments --example fuzz -- --files 10000 --seed 1
//! ```
//!
//! A file may be refused or taken; what counts as a failure is a panic, an end by a signal, more
//! than ten seconds and more than 1 GB. The same seed damages the same files in the same way. A
//! file that made the program fail is kept, with what was run, in a directory that is named.

mod kinds;
mod mutate;
mod originals;
mod reading;

use clap::Parser;
use reading::{LONGEST, Outcome, Place};
use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Set where this program is the one that reads.
const READER: &str = "HC_FUZZ_READER";

#[derive(Debug, Parser)]
struct Args {
    /// Files to damage
    #[arg(long, default_value_t = 1000)]
    files: u64,
    /// What decides how
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only this one of the files
    #[arg(long, value_name = "N")]
    only: Option<u64>,
    /// Where files go that made the program fail
    #[arg(long, value_name = "DIR", default_value = "fuzz-failures")]
    keep: PathBuf,
}

fn main() -> ExitCode {
    if env::var_os(READER).is_some() {
        return experiments::main();
    }
    let args = Args::parse();
    let program = env::current_exe().expect("a program has a path");
    let place = Place::new(&program, READER, args.keep);
    let files = args.only.map_or(0..args.files, |file| file..file + 1);
    let (first, last) = (files.start, files.end);
    let next = AtomicU64::new(first);
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        loop {
            let file = next.fetch_add(1, Ordering::Relaxed);
            if file >= last {
                return;
            }
            let outcome = place.read_one(args.seed, file);
            outcomes.lock().expect("no holder panics").push(outcome);
            if (file + 1).is_multiple_of(1000) {
                eprintln!("{} files", file + 1);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes.into_inner().expect("no holder panics");
    let count = |wanted| outcomes.iter().filter(|one| **one == wanted).count();
    println!(
        "{} files: {} taken, {} refused; {} panics, {} aborts (more than 1 GB among them), {} \
         hangs over {} s",
        last - first,
        count(Outcome::Taken),
        count(Outcome::Refused),
        count(Outcome::Panic),
        count(Outcome::Abort),
        count(Outcome::Hang),
        LONGEST.as_secs()
    );
    match outcomes.iter().any(|outcome| outcome.is_failure()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
