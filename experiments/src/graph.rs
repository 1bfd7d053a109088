//! `graph`: the tape draws itself.

use super::Failure;
use clap::ValueEnum;
use engine::rng::Key;
use lab::run_dir::write_atomically;
use lessons::graph::{dot, of_lesson, of_model, svg};
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

/// Writes SUBJECT.svg and SUBJECT.dot: every recorded operation with values and gradients.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is recorded
    #[arg(value_enum, default_value = "lesson")]
    subject: Subject,
    /// The directory for both files
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// Where the numbers come from
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// One token through one hyper-connection and back: lessons 1 and 2
    Lesson,
    /// A decoder of one block with dynamic hyper-connections
    Model,
}

impl Args {
    /// Records, draws and writes.
    pub fn run(self) -> Result<(), Failure> {
        let key = Key::new(self.seed);
        let (name, graph) = match self.subject {
            Subject::Lesson => ("lesson", of_lesson(key)),
            Subject::Model => ("model", of_model(key)),
        };
        std::fs::create_dir_all(&self.out).map_err(|error| {
            Failure::Failed(format!(
                "cannot create {}: {error}; name another directory with --out",
                self.out.display()
            ))
        })?;
        let mut out = stdout().lock();
        for (extension, text) in [("svg", svg(&graph)), ("dot", dot(&graph))] {
            let path = self.out.join(format!("{name}.{extension}"));
            write_atomically(&path, text.as_bytes())?;
            writeln!(out, "{}", path.display())?;
        }
        Ok(())
    }
}
