//! `--emit`: scripts for batch systems.

use crate::output::Failure;
use lab::invocation::shell_word;
use std::{
    env,
    ffi::{OsStr, OsString},
    io::{Write, stdout},
    num::NonZeroUsize,
    path::Path,
};

/// Size of a job array.
#[derive(Debug, clap::Args)]
pub(super) struct ArrayArgs {
    /// With --emit: tasks in an array at most; where there are more runs, a task does several,
    /// one after the other
    #[arg(long, value_name = "N", default_value = "1000", requires = "emit")]
    array_limit: NonZeroUsize,
    /// With --emit: tasks that run at the same time at most [default: as many as there is room for]
    #[arg(long, value_name = "N", requires = "emit")]
    max_running: Option<NonZeroUsize>,
}

impl ArrayArgs {
    /// Prints a job array of Slurm for the runs of a sweep.
    pub(super) fn emit_slurm(&self, sweep: &str, runs: usize) -> Result<(), Failure> {
        let arguments: Vec<OsString> = env::args_os().skip(1).collect();
        let (program, directory) = (env::current_exe()?, env::current_dir()?);
        let script = self.slurm(sweep, runs, &program, &directory, &arguments);
        stdout().write_all(script.as_bytes())?;
        Ok(())
    }

    /// Every task is one run, on the cores it is given, and where there are more runs than tasks
    /// every so many-th run after it. Two minutes before its time is over it is told to save its
    /// state, and queues itself again; a task that is cancelled saves its state and ends; one whose
    /// machine dies is queued again by Slurm and goes on from its last state.
    fn slurm(
        &self,
        sweep: &str,
        runs: usize,
        program: &Path,
        directory: &Path,
        arguments: &[OsString],
    ) -> String {
        let tasks = runs.min(self.array_limit.get());
        let at_once = self.max_running.map(|n| format!("%{n}"));
        let (options, files) = for_a_task(arguments);
        format!(
            include_str!("emit/slurm.sh"),
            sweep = sweep,
            last = tasks - 1,
            at_once = at_once.unwrap_or_default(),
            directory = shell_word(directory),
            program = shell_word(program),
            options = options,
            files = files,
            runs = runs,
            tasks = tasks
        )
    }
}

/// The words of the command, each after a space, without those that ask for a script and for
/// threads; apart from them what follows `--`, where options end.
fn for_a_task(arguments: &[OsString]) -> (String, String) {
    const LEFT_OUT: [&str; 4] = ["--emit", "--array-limit", "--max-running", "--threads"];
    let left_out = |word: &OsStr| LEFT_OUT.iter().any(|option| word == *option);
    let with_value = |word: &OsStr| {
        let option = word.to_str().and_then(|word| word.split_once('='));
        option.is_some_and(|(option, _)| LEFT_OUT.contains(&option))
    };
    let end = arguments.iter().position(|word| word == "--");
    let (options, files) = arguments.split_at(end.unwrap_or(arguments.len()));
    let mut kept = Vec::new();
    let mut rest = options.iter();
    while let Some(word) = rest.next() {
        if left_out(word) {
            rest.next();
        } else if !with_value(word) {
            kept.push(word);
        }
    }
    let words = |words: &mut dyn Iterator<Item = &OsString>| -> String {
        words.map(|word| format!(" {}", shell_word(word))).collect()
    };
    (words(&mut kept.into_iter()), words(&mut files.iter()))
}

#[cfg(all(test, unix))]
mod tests;
