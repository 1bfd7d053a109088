//! `watch`: runs while they train.

use super::{
    output::{Failure, print, shown, usage},
    signals::stop_flag,
};
use console::Term;
use lab::{
    report::runs_in,
    watch::{State, Watched, table},
};
use std::{
    io::{IsTerminal, Write, stdin, stdout},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Time until a request to end is noticed.
const TICK: Duration = Duration::from_millis(100);
/// The terminal's other screen, so that what was there before comes back.
const ENTER_SCREEN: &str = "\x1b[?1049h";
const LEAVE_SCREEN: &str = "\x1b[?1049l";
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows every run of a sweep directory with its loss, speed and time left, again and again until
/// Ctrl-C (or q and Enter). Where the output is no terminal, prints once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A sweep directory such as runs/ablation-rate-small
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Seconds between two looks
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    every: f64,
    /// Print once and end
    #[arg(long)]
    once: bool,
}

impl Args {
    /// Shows the runs.
    pub fn run(self) -> Result<(), Failure> {
        if !(0.1..=86_400.0).contains(&self.every) {
            let message = format!("--every is {}, expected 0.1 to 86400 seconds", self.every);
            return Err(usage(message));
        }
        let text = self.text()?;
        if self.once || !stdout().is_terminal() {
            return print(&text);
        }
        let stop = stop_flag();
        end_on_q(stop);
        print(ENTER_SCREEN)?;
        let last = self.show(text, stop);
        print(LEAVE_SCREEN)?;
        print(&last?)
    }

    /// Shows the runs until it is asked to end; returns what was last seen.
    fn show(&self, mut text: String, stop: &AtomicBool) -> Result<String, Failure> {
        let every = Duration::from_secs_f64(self.every);
        loop {
            let seen = cut(&text, usize::from(Term::stdout().size().0));
            let hint = "Ctrl-C, or q and Enter, ends this; the runs go on";
            print(&format!("{CLEAR}{seen}\n{hint}"))?;
            stdout().flush()?;
            let looked = Instant::now();
            while looked.elapsed() < every {
                if stop.load(Ordering::SeqCst) {
                    return Ok(text);
                }
                thread::sleep(TICK);
            }
            // A directory that vanishes meanwhile leaves what was last seen.
            text = self.text().unwrap_or(text);
        }
    }

    fn text(&self) -> Result<String, Failure> {
        let ids = runs_in(&self.directory)?;
        let mut runs: Vec<Watched> = ids.iter().map(Watched::read).collect();
        let ended = runs.iter().filter(|run| run.state == State::Ended).count();
        let all = runs.len();
        // What moves comes first: a terminal may be too short for all.
        runs.sort_by_key(|run| match run.state {
            State::Running(_) => 0,
            State::Diverged | State::Damaged => 1,
            State::Stopped | State::Waiting => 2,
            State::Ended => 3,
        });
        let table = shown(&table(&runs));
        Ok(format!("{table}\n{ended} of {all} runs have ended\n"))
    }
}

/// As many lines as fit above the last two of a terminal of this height, and how many are left
/// out.
fn cut(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(4).max(3);
    if lines.len() <= room + 1 {
        return text.to_owned();
    }
    let left_out = lines.len() - room;
    format!("{}\n.. {left_out} more lines\n", lines[..room].join("\n"))
}

/// Sets `stop` when somebody types q and Enter.
fn end_on_q(stop: &'static AtomicBool) {
    if stdin().is_terminal() {
        thread::spawn(move || {
            let asked = stdin().lines().map_while(Result::ok);
            if asked.into_iter().any(|line| line.trim() == "q") {
                stop.store(true, Ordering::SeqCst);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_is_too_short_keeps_the_head_of_the_table() {
        let text: String = (0..40).map(|i| format!("run {i}\n")).collect();
        let cut_text = cut(&text, 24);
        assert!(cut_text.lines().count() < 24);
        assert!(cut_text.starts_with("run 0\n") && cut_text.ends_with(".. 20 more lines\n"));
        assert_eq!(cut(&text, 60), text);
    }
}
