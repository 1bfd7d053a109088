//! What a person sees while a run is under way: a bar on a terminal, lines elsewhere.

use crate::{
    ablation::seconds,
    data::{DataAccount, LISTED_AT_START},
    terminal::{TERMINAL_WIDTH, wrapped},
    train::{Observer, StepReport, Trainer},
};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use nn::guard::{Finding, remarks};
use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

/// Between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The display of one run, on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    tokens_per_step: f64,
    /// Milliseconds per step, a moving mean so that the display is calm.
    step_ms: Option<f64>,
    validation: Option<f64>,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(trainer: &Trainer) -> Self {
        let train = &trainer.config().train;
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}");
            ProgressBar::new(train.steps as u64).with_style(style.expect("a valid template"))
        });
        Self {
            bar,
            steps: train.steps as u64,
            tokens_per_step: (train.batch * trainer.task().tokens_per_row()) as f64,
            step_ms: None,
            validation: None,
            last_line: Instant::now(),
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // Nobody may be listening any more; the run goes on regardless.
            None => drop(writeln!(stderr(), "{text}")),
        }
    }

    /// Says in a few lines what was read.
    pub(super) fn data(&self, account: &DataAccount) {
        for line in account.lines(LISTED_AT_START) {
            self.line(wrapped(&line, TERMINAL_WIDTH).trim_end());
        }
    }

    fn state(&self, report: &StepReport) -> String {
        let ms = self.step_ms.unwrap_or(report.ms);
        let left = seconds(ms / 1e3 * self.steps.saturating_sub(report.step) as f64);
        let mut text = format!("loss {:.4}", report.loss);
        if let Some(loss) = self.validation {
            text.push_str(&format!(", validation {loss:.4}"));
        }
        let speed = 1e3 * self.tokens_per_step / ms;
        text.push_str(&format!(
            ", {speed:.0} tokens/s, {} left",
            HumanDuration(left)
        ));
        text
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
                self.line(&format!("step {}/{}: {state}", report.step, self.steps));
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
