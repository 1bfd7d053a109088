//! Output of commands on the terminal and in files, and the ways in which they fail.

use figures::{
    table::Table,
    terminal::{Colour, printable_lines, stdout_width, wrapped},
};
use lab::run_dir::{RunError, write_atomically};
use serde::Serialize;
use std::{
    error::Error,
    fs,
    io::{self, Write, stderr, stdout},
    path::Path,
};

/// Why a command ended without doing its work.
#[derive(Debug)]
pub enum Failure {
    /// A request that makes no sense: exit status 2.
    Usage(String),
    /// A file, a device or the training failed: exit status 1.
    Failed(String),
    /// The user has ended it early; the message says how to go on: exit status 130.
    Interrupted(String),
    /// Nobody reads the output any more: not an error.
    ClosedPipe,
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let cause: &(dyn Error + 'static) = &error;
        match cause.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// The failure of a request that makes no sense.
pub(super) fn usage(message: impl Into<String>) -> Failure {
    Failure::Usage(message.into())
}

/// Prints a text as it is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Prints a sentence in lines of the width of the terminal.
pub(super) fn say(sentence: &str) -> Result<(), Failure> {
    print(&wrapped(sentence, stdout_width()))
}

/// A table for standard output.
pub(super) fn shown(table: &Table) -> String {
    table.to_text(stdout_width(), Colour::for_stdout())
}

/// Prints a value as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&(serde_json::to_string(value)? + "\n"))
}

/// Prints lines on standard error. The terminal may be gone: then nobody misses them.
pub(super) fn remark(lines: impl IntoIterator<Item = String>) {
    for line in lines {
        let _ = writeln!(stderr(), "{}", printable_lines(&line));
    }
}

/// Prints what a command can live with.
pub(super) fn note(remarks: &[String]) {
    remark(remarks.iter().map(|text| format!("note: {text}")));
}

/// Makes a directory that --out has named.
pub(super) fn create(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|error| {
        let path = directory.display();
        let advice = "name another directory with --out";
        Failure::Failed(format!("cannot create {path}: {error}; {advice}"))
    })
}

/// Writes files into a directory of --out; returns their paths.
pub(super) fn write_into(
    directory: &Path,
    files: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<Vec<String>, Failure> {
    create(directory)?;
    let files = files.into_iter();
    let paths: Result<Vec<String>, RunError> = files
        .map(|(name, content)| {
            let path = directory.join(name);
            write_atomically(&path, &content)?;
            Ok(path.display().to_string())
        })
        .collect();
    Ok(paths?)
}
