//! `graph`: drawings of a tape, and of a hyper-connection.

use super::Failure;
use clap::ValueEnum;
use engine::rng::Key;
use lab::run_dir::write_atomically;
use lessons::graph::{connection, dot, of_lesson, of_model, svg};
use std::{
    io::{Write, stdout},
    path::PathBuf,
};

/// Writes SUBJECT.svg and SUBJECT.dot: every recorded operation with values and gradients; of a
/// connection, connection.svg alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is drawn
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
    /// A hyper-connection beside a residual connection
    Connection,
}

impl Args {
    /// Records, draws and writes.
    pub fn run(self) -> Result<(), Failure> {
        let key = Key::new(self.seed);
        let of_tape = |name, graph| vec![(name, "svg", svg(&graph)), (name, "dot", dot(&graph))];
        let drawings = match self.subject {
            Subject::Lesson => of_tape("lesson", of_lesson(key)),
            Subject::Model => of_tape("model", of_model(key)),
            Subject::Connection => vec![("connection", "svg", connection())],
        };
        std::fs::create_dir_all(&self.out).map_err(|error| {
            Failure::Failed(format!(
                "cannot create {}: {error}; name another directory with --out",
                self.out.display()
            ))
        })?;
        let mut out = stdout().lock();
        for (name, extension, text) in drawings {
            let path = self.out.join(format!("{name}.{extension}"));
            write_atomically(&path, text.as_bytes())?;
            writeln!(out, "{}", path.display())?;
        }
        Ok(())
    }
}
