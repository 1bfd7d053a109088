//! `teach`: lessons that compute.

use super::output::{Failure, print, say, usage, write_into};
use engine::rng::Key;
use figures::terminal::stdout_width;
use lab::run_dir::write_atomically;
use lessons::{
    pages::{page_of, site},
    teach::{Board, LESSONS},
};
use std::{
    io::{self, IsTerminal, stdin, stdout},
    path::{Path, PathBuf},
};

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
    /// Write the lesson's page for a browser to this file; without N, all pages and their index
    /// into this directory
    #[arg(long, value_name = "PATH", conflicts_with_all = ["list", "step", "seed"])]
    html: Option<PathBuf>,
}

impl Args {
    /// Prints the lesson or the list.
    pub fn run(self) -> Result<(), Failure> {
        let Some(number) = self.lesson else {
            if let Some(directory) = &self.html {
                return write_site(directory);
            }
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
        if let Some(file) = &self.html {
            return write_page(number, file);
        }
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

fn write_site(directory: &Path) -> Result<(), Failure> {
    let files = site()?.into_iter();
    let files = files.map(|(name, text)| (name, text.into_bytes()));
    print(&(write_into(directory, files)?.join("\n") + "\n"))
}

fn write_page(number: usize, file: &Path) -> Result<(), Failure> {
    let page = page_of(number).expect("every lesson has a page");
    write_atomically(file, page.alone()?.as_bytes())?;
    print(&format!("{}\n", file.display()))
}
