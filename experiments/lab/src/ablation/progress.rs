//! What a person sees while a sweep runs, on standard error: bars and a table that fills on a
//! terminal, plain lines elsewhere.

use crate::data::{DataAccount, LISTED_AT_START};
use figures::terminal::{fitting, printable_lines, stderr_width, wrapped};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, Write, stderr},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// Reports of a run where there are only lines.
const LINES_PER_RUN: u64 = 4;
/// Width of a name: that of `DHC x8 w/o tanh seed 12`.
const NAME: usize = 23;
/// A terminal that is narrower has no room for bars.
const WITH_BARS: usize = 72;
/// Columns before the message of a run with a bar, and without one.
const BAR_BEFORE: usize = NAME + 24;
const NAME_BEFORE: usize = 23;
/// Columns before a line where there is no terminal: `[1:02:03] `.
const CLOCK_BEFORE: usize = 10;

/// The display of a sweep.
#[derive(Debug)]
pub struct Progress {
    screen: Option<Screen>,
    runs: usize,
    ended: AtomicUsize,
    began: Instant,
}

#[derive(Debug)]
struct Screen {
    width: usize,
    bars: MultiProgress,
    table: ProgressBar,
    total: ProgressBar,
}

/// The display of one run.
#[derive(Debug)]
pub struct RunProgress<'p> {
    all: &'p Progress,
    bar: Option<ProgressBar>,
    name: String,
    steps: u64,
    lines: u64,
}

/// The state of a run after a step.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Steps done.
    pub step: u64,
    /// Training loss.
    pub loss: f64,
    /// Speed.
    pub tokens_per_second: f64,
    /// Time of a step.
    pub step_time: Duration,
}

impl Progress {
    /// The display of `runs` runs, of which `ended` need nothing more.
    pub fn new(runs: usize, ended: usize) -> Self {
        let screen = stderr().is_terminal().then(|| Screen::new(runs, ended));
        Self {
            screen,
            runs,
            ended: AtomicUsize::new(ended),
            began: Instant::now(),
        }
    }

    /// Says in a few lines what was read.
    pub fn data(&self, account: &DataAccount) {
        for line in account.lines(LISTED_AT_START) {
            self.line(&line);
        }
    }

    /// Begins the display of a run that has done `step` of `steps` steps.
    pub fn begin(&self, name: String, step: u64, steps: u64) -> RunProgress<'_> {
        let bar = self.screen.as_ref().map(|screen| {
            let bar = ProgressBar::new(steps).with_position(step);
            let bar = screen.bars.insert_before(&screen.total, bar);
            bar.set_style(style(match screen.with_bars() {
                true => "{prefix:23!} {bar:10} {pos:>5}/{len:<5} {wide_msg}",
                false => "{prefix:22!} {wide_msg}",
            }));
            bar.set_prefix(name.clone());
            bar
        });
        if bar.is_none() && step > 0 {
            self.line(&format!("{name}: goes on from step {step} of {steps}"));
        }
        RunProgress {
            all: self,
            bar,
            name,
            steps,
            lines: parts_done(step, steps),
        }
    }

    /// Shows the table as it is now; only a terminal has a place for it.
    pub fn table(&self, text: &str) {
        if let Some(screen) = &self.screen {
            screen.table.set_message(text.trim_end().to_owned());
        }
    }

    /// Removes the bars.
    pub fn clear(&self) {
        if let Some(screen) = &self.screen {
            screen.table.finish_and_clear();
            screen.total.finish_and_clear();
        }
    }

    /// Says something in a line of its own.
    pub fn line(&self, text: &str) {
        match &self.screen {
            // A terminal that is gone is noticed by the next write to it.
            Some(screen) => drop(screen.bars.println(wrapped(text, screen.width).trim_end())),
            None => {
                let time = clock(self.began.elapsed());
                // Nobody may be listening any more; the run goes on.
                let _ = writeln!(stderr(), "[{time:>7}] {}", printable_lines(text));
            }
        }
    }
}

impl Screen {
    fn new(runs: usize, ended: usize) -> Self {
        let width = stderr_width();
        let bars = MultiProgress::new();
        let table = bars.add(ProgressBar::new_spinner());
        table.set_style(style("{msg}"));
        let total = bars.add(ProgressBar::new(runs as u64).with_position(ended as u64));
        total.set_style(style(match width >= WITH_BARS {
            true => "{prefix:23} {bar:10} {pos:>5}/{len:<5} {elapsed} so far",
            false => "{prefix} {pos}/{len} {elapsed} so far",
        }));
        total.set_prefix("runs");
        total.enable_steady_tick(Duration::from_secs(1));
        Self {
            width,
            bars,
            table,
            total,
        }
    }

    fn with_bars(&self) -> bool {
        self.width >= WITH_BARS
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is valid")
}

impl RunProgress<'_> {
    /// Shows a step.
    pub fn tick(&mut self, tick: &Tick) {
        let left = self.steps.saturating_sub(tick.step);
        let mut parts = vec![
            format!("loss {:.4}", tick.loss),
            format!(
                "{} left",
                clock(seconds(tick.step_time.as_secs_f64() * left as f64))
            ),
            format!("{} tok/s", thousands(tick.tokens_per_second)),
        ];
        match (&self.bar, &self.all.screen) {
            (Some(bar), Some(screen)) => {
                let before = match screen.with_bars() {
                    true => BAR_BEFORE,
                    false => {
                        let share = 100 * tick.step / self.steps.max(1);
                        parts.insert(0, format!("{share} %"));
                        NAME_BEFORE
                    }
                };
                bar.set_message(fitting(&parts, screen.width.saturating_sub(before)));
                bar.set_position(tick.step);
            }
            _ => {
                let lines = parts_done(tick.step, self.steps);
                if lines > self.lines && left > 0 {
                    let step = format!("{}: step {}/{}", self.name, tick.step, self.steps);
                    parts.insert(0, step);
                    let width = stderr_width().saturating_sub(CLOCK_BEFORE);
                    self.all.line(&fitting(&parts, width));
                }
                self.lines = lines;
            }
        }
    }

    /// Ends the display, saying how the run ended.
    pub fn end(self, is_final: bool, how: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let ended = self
            .all
            .ended
            .fetch_add(usize::from(is_final), Ordering::SeqCst)
            + usize::from(is_final);
        if let Some(screen) = &self.all.screen {
            screen.total.set_position(ended as u64);
        }
        let runs = self.all.runs;
        self.all
            .line(&format!("{}: {how} ({ended} of {runs} runs)", self.name));
    }
}

/// Number of the [`LINES_PER_RUN`] parts that are done.
fn parts_done(step: u64, steps: u64) -> u64 {
    (u128::from(step) * u128::from(LINES_PER_RUN) / u128::from(steps.max(1))) as u64
}

fn thousands(value: f64) -> String {
    if value >= 1000.0 {
        format!("{:.1}k", value / 1000.0)
    } else {
        format!("{value:.0}")
    }
}

/// A time from a file or a measurement: the longest there is for one that is longer, none for one
/// that is no time.
pub fn seconds(seconds: f64) -> Duration {
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) => time,
        Err(_) if seconds > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

/// `1:02:03`, `2:03`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_on_a_clock() {
        assert_eq!(clock(Duration::from_millis(65_900)), "1:05");
        assert_eq!(clock(Duration::from_secs(3 * 3600 + 62)), "3:01:02");
    }

    #[test]
    fn a_time_that_is_none_is_no_reason_to_fail() {
        assert_eq!(seconds(-1.0), Duration::ZERO);
        assert_eq!(seconds(f64::NAN), Duration::ZERO);
        assert_eq!(seconds(1e300), Duration::MAX);
        assert_eq!(seconds(f64::INFINITY), Duration::MAX);
    }

    #[test]
    fn speeds_fit_their_column() {
        assert_eq!(thousands(31_449.0), "31.4k");
        assert_eq!(thousands(12.3), "12");
    }
}
