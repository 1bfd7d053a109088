//! `graph`: drawings of a tape, and of a hyper-connection.

use super::output::{Failure, print, write_into};
use clap::ValueEnum;
use engine::rng::Key;
use lessons::graph::{connection, dot, of_lesson, of_model, svg};
use std::path::PathBuf;

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
        let of_tape = |graph| vec![("svg", svg(&graph)), ("dot", dot(&graph))];
        let (name, drawings) = match self.subject {
            Subject::Lesson => ("lesson", of_tape(of_lesson(key))),
            Subject::Model => ("model", of_tape(of_model(key))),
            Subject::Connection => ("connection", vec![("svg", connection())]),
        };
        let files = drawings.into_iter();
        let files = files.map(|(end, text)| (format!("{name}.{end}"), text.into_bytes()));
        print(&(write_into(&self.out, files)?.join("\n") + "\n"))
    }
}
