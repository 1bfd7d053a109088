//! The display of a run that is under way: a bar on a terminal, lines elsewhere.

use crate::{
    ablation::{clock, seconds},
    data::{DataAccount, LISTED_AT_START},
    train::{Observer, StepReport, Trainer},
};
use figures::terminal::{fitting, printable_lines, stderr_width, wrapped};
use indicatif::{ProgressBar, ProgressStyle};
use nn::guard::{Finding, remarks};
use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// Between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// A terminal that is narrower has no room for a bar.
const WITH_BAR: usize = 72;
/// The bar and the blank behind it.
const BAR_BEFORE: usize = 11;

/// The display of one run, on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    tokens_per_step: f64,
    /// Milliseconds per step, a moving mean so that the display is calm.
    step_ms: Option<f64>,
    validation: Option<f64>,
    last_line: Instant,
}

impl Progress {
    /// A display that shows nothing yet.
    pub fn new(trainer: &Trainer) -> Self {
        let train = &trainer.config().train;
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(match stderr_width() >= WITH_BAR {
                true => "{bar:10} {wide_msg}",
                false => "{wide_msg}",
            });
            ProgressBar::new(train.steps as u64).with_style(style.expect("a valid template"))
        });
        Self {
            bar,
            steps: train.steps as u64,
            tokens_per_step: (train.batch * trainer.task().network().tokens()) as f64,
            step_ms: None,
            validation: None,
            last_line: Instant::now(),
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(wrapped(text, stderr_width()).trim_end()),
            // Nobody may be listening any more; the run goes on regardless.
            None => drop(writeln!(stderr(), "{}", printable_lines(text))),
        }
    }

    /// Says in a few lines what was read.
    pub fn data(&self, account: &DataAccount) {
        for line in account.lines(LISTED_AT_START) {
            self.line(&line);
        }
    }

    /// As much of it as fits on one line beside the bar, what matters most first.
    fn state(&self, report: &StepReport) -> String {
        let ms = self.step_ms.unwrap_or(report.ms);
        let left = seconds(ms / 1e3 * self.steps.saturating_sub(report.step) as f64);
        let mut parts = vec![
            format!("{}/{}", report.step, self.steps),
            format!("loss {:.4}", report.loss),
        ];
        if let Some(loss) = self.validation {
            parts.push(format!("validation {loss:.4}"));
        }
        parts.push(format!("{} left", clock(left)));
        parts.push(format!("{:.0} tokens/s", 1e3 * self.tokens_per_step / ms));
        let width = stderr_width();
        let before = match self.bar {
            Some(_) if width >= WITH_BAR => BAR_BEFORE,
            Some(_) => 0,
            None => "step ".len(),
        };
        fitting(&parts, width - before)
    }
}

impl Observer for Progress {
    fn begun(&mut self, steps_done: u64) {
        if steps_done > 0 {
            self.line(&format!(
                "going on from step {steps_done} of {}",
                self.steps
            ));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(steps_done);
        }
    }

    fn step(&mut self, report: &StepReport, validation: Option<f64>) {
        let mean = self
            .step_ms
            .map_or(report.ms, |ms| 0.95 * ms + 0.05 * report.ms);
        self.step_ms = Some(mean);
        self.validation = validation.or(self.validation);
        let state = self.state(report);
        match &self.bar {
            Some(bar) => {
                bar.set_message(state);
                bar.set_position(report.step);
            }
            None if validation.is_some() || self.last_line.elapsed() >= BETWEEN_LINES => {
                self.last_line = Instant::now();
                self.line(&format!("step {state}"));
            }
            None => {}
        }
    }

    fn not_learning(&mut self, findings: &[Finding]) {
        for remark in remarks(findings) {
            self.warning(&remark);
        }
    }

    fn warning(&mut self, message: &str) {
        self.line(&format!("warning: {message}"));
    }
}
