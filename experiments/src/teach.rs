//! `teach`: lessons that compute.

use super::output::{Failure, say, usage};
use engine::rng::Key;
use figures::terminal::stdout_width;
use lessons::teach::{Board, LESSONS};
use std::io::{self, IsTerminal, stdin, stdout};

/// Computes a lesson and prints every number beside its equation.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which lesson; without it the list of them
    #[arg(value_name = "N")]
    lesson: Option<usize>,
    /// List the lessons
    #[arg(long, conflicts_with = "lesson")]
    list: bool,
    /// Wait for Enter before every step; q and Enter leaves
    #[arg(long, requires = "lesson")]
    step: bool,
    /// Where the numbers of the lesson come from
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Args {
    /// Prints the lesson or the list.
    pub fn run(self) -> Result<(), Failure> {
        let Some(number) = self.lesson else {
            for (i, lesson) in LESSONS.iter().enumerate() {
                say(&format!("{:>2}  {}", i + 1, lesson.title))?;
            }
            return Ok(());
        };
        let Some(lesson) = number.checked_sub(1).and_then(|i| LESSONS.get(i)) else {
            return Err(usage(format!(
                "there is no lesson {number}: they are 1 to {}, see teach --list",
                LESSONS.len()
            )));
        };
        let terminal = stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let mut wait = || -> io::Result<()> {
            if terminal {
                eprint!("   [Enter; q and Enter leaves]");
            }
            let mut typed = String::new();
            let read = stdin().read_line(&mut typed)?;
            let left = matches!(typed.trim(), "q" | "Q" | "quit" | "exit");
            if left || read == 0 && stdin().is_terminal() {
                // The reader has left, as when a pipe is closed.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        };
        let mut out = stdout().lock();
        let mut board = Board::new(&mut out)
            .with_colour(terminal && !plain)
            .with_width(stdout_width().min(80));
        if self.step {
            board = board.with_pause(&mut wait);
        }
        board.title(&format!("Lesson {number}: {}", lesson.title))?;
        (lesson.run)(&mut board, Key::new(self.seed))?;
        let broken = board.into_claims().into_iter().find(|claim| !claim.holds);
        match broken {
            None => Ok(()),
            Some(claim) => Err(Failure::Failed(format!(
                "seed {}: this does not hold: {}",
                self.seed, claim.text
            ))),
        }
    }
}
