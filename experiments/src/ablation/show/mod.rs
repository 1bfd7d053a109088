//! The tables of an ablation, for a terminal, Markdown and CSV.

use super::{ArmResult, Delta, Results, RouterMeans, Sweep};
use crate::{
    config::RunConfig,
    data::{Data, Windows},
    measure::Measure,
    paper::{PaperTable, Quantity},
    stats::{Convergence, Verdict},
    table::{Align, Cell, Colour, TERMINAL_WIDTH, Table, Tone},
};
use std::fmt::{self, Write};

/// Everything beside the numbers that a reader needs to judge them.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What was run.
    pub sweep: &'a Sweep,
    /// What came out.
    pub results: &'a Results,
    /// What the networks learnt from.
    pub data: &'a dyn Learnt,
    /// The command line.
    pub command: &'a str,
}

/// What is known of the data that networks have learnt from.
pub trait Learnt: fmt::Debug {
    /// Its name.
    fn name(&self) -> &str;

    /// Its SHA-256.
    fn fingerprint(&self) -> &str;

    /// How much there is to train on and to validate.
    fn sizes(&self) -> Option<String>;

    /// What the validation loss of this configuration is the mean over.
    fn validation(&self, config: &RunConfig) -> Option<String>;
}

impl Learnt for Data {
    fn name(&self) -> &str {
        self.name()
    }

    fn fingerprint(&self) -> &str {
        self.fingerprint()
    }

    fn sizes(&self) -> Option<String> {
        Some(self.sizes())
    }

    fn validation(&self, config: &RunConfig) -> Option<String> {
        let corpus = match self {
            Self::Text(corpus) => corpus,
            Self::Images(set) => {
                return Some(format!("all {} images of the test part", set.test.len()));
            }
        };
        // As many windows as are asked for, or whole batches of them that fit into the text.
        let (bytes, train) = (config.model.tokens(), &config.train);
        let batches = Windows::new(corpus, bytes)
            .and_then(|windows| windows.validation_batches(train.eval_batches, train.batch));
        let windows: usize = batches.map_or(0, |batches| batches.iter().map(|b| b.rows).sum());
        Some(format!(
            "{windows} fixed windows of {bytes} bytes, spread evenly over the validation text"
        ))
    }
}

impl Report<'_> {
    /// Losses, differences and verdicts, with the paper's numbers beside ours if they are of
    /// losses too, or of distances, which are as much better the lower they are.
    pub fn loss_table(&self) -> Table {
        let bytes = self.sweep.measure() == Measure::Bytes;
        let distances = || self.paper(Quantity::Distance);
        let paper = self.paper(Quantity::Loss).or_else(distances);
        let mut columns = columns(["arm", "val loss"]);
        if bytes {
            columns.push(("bits per byte".to_owned(), Align::Right));
        }
        columns.push(("Δ ours ± 95 %".to_owned(), Align::Right));
        columns.push(("verdict".to_owned(), Align::Left));
        columns.extend(paper_columns(paper));
        let mut table = Table::new(columns.iter().map(|(name, align)| (&name[..], *align)));
        for arm in &self.results.arms {
            let mut row = vec![
                Cell::from(&arm.label),
                number(arm.val_loss, |loss| format!("{loss:.4}")),
            ];
            if bytes {
                row.push(number(arm.bits_per_byte, |bits| format!("{bits:.4}")));
            }
            row.extend([self.delta_cell(arm), self.verdict_cell(arm)]);
            row.extend(paper.iter().flat_map(|_| paper_cells(arm, 3)));
            table.push(row);
        }
        table
    }

    /// Accuracies and their differences, with the paper's beside ours; `None` where nothing is
    /// classified.
    pub fn accuracy_table(&self) -> Option<Table> {
        if self.results.arms.iter().all(|arm| arm.accuracy.is_none()) {
            return None;
        }
        let paper = self.paper(Quantity::Accuracy);
        let mut columns = columns(["arm", "top-1 (%)", "Δ ours ± 95 %"]);
        columns.extend(paper_columns(paper));
        let mut table = Table::new(columns.iter().map(|(name, align)| (&name[..], *align)));
        for arm in &self.results.arms {
            let delta = match &arm.accuracy_delta {
                Some(delta) => Cell::from(with_interval(delta, 100.0, 2)),
                None if arm.baseline.is_none() => Cell::new("baseline", Tone::Faint),
                None => Cell::from(""),
            };
            let accuracy = number(arm.accuracy, |share| format!("{:.2}", 100.0 * share));
            let mut row = vec![Cell::from(&arm.label), accuracy, delta];
            row.extend(paper.iter().flat_map(|_| paper_cells(arm, 2)));
            table.push(row);
        }
        Some(table)
    }

    /// Spread over seeds and what the arms cost.
    pub fn cost_table(&self) -> Table {
        let mut table = Table::new([
            ("arm", Align::Left),
            ("seeds", Align::Right),
            ("sd over seeds", Align::Right),
            ("extra params", Align::Right),
            ("(%)", Align::Right),
            ("extra FLOPs (%)", Align::Right),
            ("step (ms)", Align::Right),
            ("Δ at equal time ±\u{a0}95\u{a0}%", Align::Right),
            ("tokens factor [95\u{a0}%]", Align::Right),
            ("effect size", Align::Right),
            ("seeds needed", Align::Right),
            ("spikes", Align::Right),
            ("diverged", Align::Right),
        ]);
        let percent = |fraction: f64| format!("{:+.2}", 100.0 * fraction);
        for arm in &self.results.arms {
            let delta = arm.delta.as_ref();
            table.push([
                Cell::from(&arm.label),
                Cell::from(arm.runs.len().to_string()),
                number(arm.sd_over_seeds, |sd| format!("{sd:.4}")),
                number(arm.extra_parameters, |extra| format!("{extra:+}")),
                number(arm.extra_parameters_fraction, percent),
                number(arm.extra_flops_fraction, percent),
                number(arm.timing.step_ms, |ms| format!("{ms:.1}")),
                number(arm.timing.delta_at_equal_time.as_ref(), |delta| {
                    with_interval(delta, 1.0, 4)
                }),
                number(arm.convergence, tokens_factor),
                number(delta.and_then(|d| d.corrected_effect_size), |size| {
                    signed(size, 1)
                }),
                number(delta.and_then(|d| d.seeds_needed), |n| n.to_string()),
                Cell::from(arm.spikes.to_string()),
                Cell::from(arm.diverged_runs.to_string()),
            ]);
        }
        table
    }

    /// One row for each arm, numbers in full.
    pub fn csv(&self) -> String {
        let [first, second] = match self.sweep.subject.paper {
            Some(paper) => paper.columns.map(|name| format!("paper_delta_{name}")),
            None => ["paper_delta_1", "paper_delta_2"].map(str::to_owned),
        };
        let mut table = Table::new(
            [
                "arm",
                "baseline",
                "seeds",
                "diverged",
                "spikes",
                "val_loss",
                "bits_per_byte",
                "accuracy",
                "accuracy_delta",
                "sd_over_seeds",
                "delta",
                "delta_low",
                "delta_high",
                "p_value",
                "p_holm",
                "effect_size",
                "corrected_effect_size",
                "seeds_needed",
                "verdict",
                "parameters",
                "extra_parameters",
                "flops_per_token",
                "extra_flops_fraction",
                "convergence_factor",
                "convergence_factor_low",
                "convergence_factor_high",
                "convergence_seeds",
                &first.to_lowercase(),
                &second.to_lowercase(),
                "timing_step_ms",
                "timing_delta_at_equal_time",
                "timing_delta_at_equal_time_low",
                "timing_delta_at_equal_time_high",
            ]
            .map(|name| (name, Align::Right)),
        );
        for arm in &self.results.arms {
            let delta = arm.delta.as_ref();
            let interval = delta.and_then(|delta| delta.interval);
            let factor_ends = arm.convergence.and_then(|c| c.interval);
            let equal_time = arm.timing.delta_at_equal_time.as_ref();
            let equal_time_ends = equal_time.and_then(|delta| delta.interval);
            table.push([
                Cell::from(&arm.name),
                Cell::from(arm.baseline.as_deref().unwrap_or_default()),
                Cell::from(arm.runs.len().to_string()),
                Cell::from(arm.diverged_runs.to_string()),
                Cell::from(arm.spikes.to_string()),
                full(arm.val_loss),
                full(arm.bits_per_byte),
                full(arm.accuracy),
                full(arm.accuracy_delta.as_ref().map(|delta| delta.mean)),
                full(arm.sd_over_seeds),
                full(delta.map(|delta| delta.mean)),
                full(interval.map(|[low, _]| low)),
                full(interval.map(|[_, high]| high)),
                full(delta.and_then(|delta| delta.p_value)),
                full(delta.and_then(|delta| delta.p_holm)),
                full(delta.and_then(|delta| delta.effect_size)),
                full(delta.and_then(|delta| delta.corrected_effect_size)),
                full(delta.and_then(|delta| delta.seeds_needed)),
                full(arm.verdict),
                full(arm.parameters),
                full(arm.extra_parameters),
                full(arm.flops_per_token),
                full(arm.extra_flops_fraction),
                full(arm.convergence.map(|c| c.factor)),
                full(factor_ends.map(|[low, _]| low)),
                full(factor_ends.map(|[_, high]| high)),
                full(arm.convergence.map(|c| c.reached)),
                full(arm.paper_delta.map(|[first, _]| first)),
                full(arm.paper_delta.map(|[_, second]| second)),
                full(arm.timing.step_ms),
                full(equal_time.map(|delta| delta.mean)),
                full(equal_time_ends.map(|[low, _]| low)),
                full(equal_time_ends.map(|[_, high]| high)),
            ]);
        }
        table.to_csv()
    }

    /// The whole report for a terminal, at most 80 columns wide.
    pub fn to_text(&self, colour: Colour) -> String {
        let table = |table: Table| table.to_text(TERMINAL_WIDTH, colour);
        let mut text = String::new();
        for line in self.heading() {
            text.push_str(&wrapped(&line, TERMINAL_WIDTH));
        }
        for one in self.tables() {
            let _ = write!(text, "\n{}", table(one));
        }
        text.push('\n');
        for line in self.notes() {
            text.push_str(&wrapped(&line, TERMINAL_WIDTH));
        }
        text
    }

    /// The whole report in Markdown.
    pub fn to_markdown(&self) -> String {
        let mut heading = self.heading().into_iter();
        let mut text = format!("# {}\n\n", heading.next().unwrap_or_default());
        for line in heading {
            let _ = writeln!(text, "- {line}");
        }
        for table in self.tables() {
            let _ = write!(text, "\n{}", table.to_markdown());
        }
        text.push('\n');
        for line in self.notes() {
            let _ = writeln!(text, "- {line}");
        }
        text
    }

    /// All tables, that of the losses first.
    pub fn tables(&self) -> impl Iterator<Item = Table> {
        let routers = RouterMeans::table(&self.results.arms);
        let tables = [Some(self.loss_table()), self.accuracy_table(), routers];
        tables.into_iter().flatten().chain([self.cost_table()])
    }

    /// The paper's table if it is of this quantity and has a number for one of the arms.
    fn paper(&self, quantity: Quantity) -> Option<&'static PaperTable> {
        let table = self.sweep.subject.paper;
        let numbers = self
            .results
            .arms
            .iter()
            .any(|arm| arm.paper_delta.is_some());
        table.filter(|table| numbers && table.quantity == quantity)
    }

    /// Title and scales: ours and the paper's must not be mistaken for each other.
    pub fn heading(&self) -> Vec<String> {
        let subject = &self.sweep.subject;
        let measure = self.sweep.measure();
        let mut lines = vec![format!("{}: {}", subject.name, subject.title)];
        let baselines = self
            .results
            .arms
            .iter()
            .filter(|arm| arm.baseline.is_none());
        let parameters = range(baselines.filter_map(|arm| arm.parameters), scaled);
        let tokens = range(self.results.runs().map(|run| run.tokens), scaled);
        let models = self.sweep.configs.iter().map(|config| &config.model);
        let sublayers = range(models.map(|model| model.sublayers() as u64), |n| {
            n.to_string()
        });
        if let (Some(parameters), Some(tokens), Some(sublayers)) = (parameters, tokens, sublayers) {
            lines.push(format!(
                "OURS: {parameters} parameters, {sublayers} sublayers, {tokens} tokens ({}) of {}, {}; Δ is of validation loss in {}",
                measure.tokens(),
                self.data.name(),
                count(self.results.seeds.len(), "seed"),
                measure.unit(),
            ));
        }
        let quantities = [Quantity::Loss, Quantity::Accuracy, Quantity::Distance];
        for paper in quantities.into_iter().filter_map(|q| self.paper(q)) {
            lines.push(format!(
                "PAPER ({}): {}; Δ is of {}. Another scale altogether: compare signs and order, not sizes.",
                paper.place, paper.scale, paper.about
            ));
        }
        lines
    }

    /// How the numbers were made and what the marks mean.
    pub fn notes(&self) -> Vec<String> {
        let results = self.results;
        let validation = self.data.validation(&self.sweep.configs[0]);
        let validation = validation.map_or_else(String::new, |over| format!(", mean over {over}"));
        let mut lines = vec![format!(
            "val loss: after the last step{validation}, the same for all arms and seeds; then mean over seeds."
        )];
        lines.push(
            "Δ: arm minus baseline, paired by seed (same data order, same initial backbone), with the half-width of its 95 % t interval. better / worse: the interval excludes zero, also after Holm's correction over the arms; not shown: it does not, which does not show equality; few seeds: fewer than 3 pairs, nothing is claimed."
                .to_owned(),
        );
        if let (Some(effect), Some(sd)) =
            (results.minimum_detectable_effect, results.sd_of_differences)
        {
            lines.push(format!(
                "Minimum detectable effect: {effect:.4} (power 0.8, before Holm; the paired differences have a standard deviation of {sd:.4}). Smaller effects need more seeds: run the same command with a larger --seeds, finished runs are kept."
            ));
        }
        lines.push(
            "step: the wall time that a quarter of the recorded steps stay below, the lowest over seeds, which other work on the machine disturbs least. Δ at equal time: of the arm after the steps that fit into the baseline's time at these speeds; its learning rate is then still high, so this is unkind to slow arms. tokens factor: tokens of the baseline over tokens to the baseline's final loss, geometric mean over the seeds that get there; (k/n) if only k do, and then without interval. extra params and FLOPs: trained, forward per token."
                .to_owned(),
        );
        lines.push(
            "effect size: mean difference over its standard deviation, corrected for few seeds (Hedges). seeds needed: to show a difference of this size four times in five. spikes: training losses 8 robust standard deviations above the median of the 32 recorded before. docs/statistics.md has the formulas."
                .to_owned(),
        );
        if results.arms.iter().any(|arm| arm.routers.is_some()) {
            lines.push(RouterMeans::NOTE.to_owned());
        }
        for arm in &results.arms {
            for run in arm.diverged() {
                let step = run.diverged_at_step.unwrap_or(run.steps);
                lines.push(format!(
                    "{}: seed {} diverged at step {step}; it is in no mean.",
                    arm.label, run.seed
                ));
            }
        }
        if let Some(note) = self.sweep.subject.paper.and_then(|paper| paper.note) {
            lines.push(note());
        }
        let fingerprint = self.data.fingerprint();
        let fingerprint = &fingerprint[..16.min(fingerprint.len())];
        let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
        lines.push(format!(
            "data: {}, SHA-256 {fingerprint}{}; seeds: {}",
            self.data.name(),
            self.data
                .sizes()
                .map_or_else(String::new, |sizes| format!("; {sizes}")),
            seeds.join(" ")
        ));
        lines.push(format!("command: {}", self.command));
        lines.push(format!("files: {}", self.sweep.path().display()));
        lines
    }

    fn delta_cell(&self, arm: &ArmResult) -> Cell {
        if arm.baseline.is_none() {
            return Cell::new("baseline", Tone::Faint);
        }
        if let (None, Some(run)) = (arm.val_loss, arm.diverged().next()) {
            let step = run.diverged_at_step.unwrap_or(run.steps);
            return Cell::new(format!("diverged at step {step}"), Tone::Bad);
        }
        let Some(delta) = &arm.delta else {
            return Cell::from("");
        };
        Cell::from(with_interval(delta, 1.0, 4))
    }

    fn verdict_cell(&self, arm: &ArmResult) -> Cell {
        let diverged = arm.diverged().count();
        if diverged > 0 {
            return Cell::new(format!("diverged {diverged}/{}", arm.runs.len()), Tone::Bad);
        }
        spoken(arm.verdict.filter(|_| arm.delta.is_some()))
    }
}

/// Columns of names on the left and numbers on the right.
fn columns<const N: usize>(names: [&str; N]) -> Vec<(String, Align)> {
    let align = |index| {
        if index == 0 {
            Align::Left
        } else {
            Align::Right
        }
    };
    let names = names.iter().enumerate();
    names
        .map(|(index, name)| (name.to_string(), align(index)))
        .collect()
}

fn paper_columns(paper: Option<&PaperTable>) -> Vec<(String, Align)> {
    let names = paper.iter().flat_map(|paper| paper.columns);
    names
        .map(|name| (format!("paper Δ {name}"), Align::Right))
        .collect()
}

fn paper_cells(arm: &ArmResult, digits: usize) -> [Cell; 2] {
    match arm.paper_delta {
        Some(deltas) => deltas.map(|delta| Cell::from(signed(delta, digits))),
        None => ["", ""].map(Cell::from),
    }
}

/// A difference with the half-width of its interval, in a unit `scale` times smaller.
fn with_interval(delta: &Delta, scale: f64, digits: usize) -> String {
    let mean = signed(scale * delta.mean, digits);
    match delta.interval {
        Some([low, high]) => format!("{mean} ±{:.digits$}", scale * (high - low) / 2.0),
        None => format!("{mean} (n=1)"),
    }
}

/// A verdict in a word or two.
pub(super) fn spoken(verdict: Option<Verdict>) -> Cell {
    match verdict {
        None => Cell::from(""),
        Some(Verdict::Better) => Cell::new("better", Tone::Good),
        Some(Verdict::Worse) => Cell::new("worse", Tone::Bad),
        Some(Verdict::NoDifferenceShown) => Cell::from("not shown"),
        Some(Verdict::TooFewSeeds) => Cell::new("few seeds", Tone::Faint),
    }
}

/// A factor with its interval or with the seeds that it is of.
fn tokens_factor(convergence: Convergence) -> String {
    let Convergence {
        factor,
        interval,
        reached,
        pairs,
    } = convergence;
    match interval {
        Some([low, high]) => format!("{factor:.2} [{low:.2}, {high:.2}]"),
        None => format!("{factor:.2} ({reached}/{pairs})"),
    }
}

fn number<T>(value: Option<T>, shown: impl FnOnce(T) -> String) -> Cell {
    value.map_or(Cell::from(""), |value| Cell::from(shown(value)))
}

fn full<T: ToString>(value: Option<T>) -> Cell {
    number(value, |value| value.to_string())
}

/// With its sign, and a true minus, which is as wide as the plus.
pub(super) fn signed(value: f64, digits: usize) -> String {
    let magnitude = format!("{:.digits$}", value.abs());
    let zero = magnitude.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    match (zero, value < 0.0) {
        (true, _) => magnitude,
        (_, true) => format!("−{magnitude}"),
        (_, false) => format!("+{magnitude}"),
    }
}

/// `0.43M` of 432 000.
fn scaled(value: u64) -> String {
    let value = value as f64;
    if value >= 1e9 {
        format!("{:.2}B", value / 1e9)
    } else if value >= 1e5 {
        format!("{:.2}M", value / 1e6)
    } else {
        format!("{:.1}k", value / 1e3)
    }
}

/// `4` or `4 to 32`.
fn range(values: impl Iterator<Item = u64>, shown: impl Fn(u64) -> String) -> Option<String> {
    let (low, high) = values.fold(None, |range: Option<(u64, u64)>, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })?;
    let (low, high) = (shown(low), shown(high));
    Some(if low == high {
        low
    } else {
        format!("{low} to {high}")
    })
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Words on lines of at most `width`; later lines are indented.
pub fn wrapped(line: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthStr;
    let mut text = String::new();
    let mut used = 0;
    for word in line.split(' ') {
        if used == 0 {
            text.push_str(word);
            used = word.width();
        } else if used + 1 + word.width() <= width {
            text.push(' ');
            text.push_str(word);
            used += 1 + word.width();
        } else {
            text.push_str("\n  ");
            text.push_str(word);
            used = 2 + word.width();
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::{ABLATIONS, Tanh, results::tests::results};
    use super::*;
    use crate::{config::Layers, data::Corpus};
    use std::{path::PathBuf, sync::Arc};

    fn text(losses: &[(&str, &[Option<f64>])]) -> String {
        let results = results(losses);
        let ablation = &ABLATIONS[0];
        let arms = (ablation.arms)(Tanh::Both);
        let place = (PathBuf::from("runs"), "test".to_owned());
        let sweep = Sweep::new(
            ablation.into(),
            arms,
            &Layers::defaults(),
            &[],
            vec![0],
            place,
        );
        let corpus = Arc::new(Corpus {
            train: vec![b'a'; 900],
            validation: vec![b'a'; 100],
            name: "text".into(),
            fingerprint: "0123456789abcdef0123".into(),
            files: 1,
            files_skipped: 0,
        });
        Report {
            sweep: &sweep.expect("the defaults"),
            results: &results,
            data: &Data::from(&corpus),
            command: "experiments ablation-rate",
        }
        .to_text(Colour::Off)
    }

    const BASE: (&str, &[Option<f64>]) = ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1)]);

    #[test]
    fn a_difference_is_called_by_its_name_and_noise_is_not() {
        let text = text(&[
            BASE,
            ("lower", &[Some(1.951), Some(2.149), Some(2.050)]),
            ("noisy", &[Some(1.7), Some(2.2), Some(2.1)]),
        ]);
        let row = |name: &str| text.lines().find(|line| line.starts_with(name));
        assert!(
            row("lower").is_some_and(|row| row.contains("better")),
            "{text}"
        );
        assert!(
            row("lower").is_some_and(|row| row.contains("−0.0500")),
            "{text}"
        );
        assert!(
            row("noisy").is_some_and(|row| row.contains("not shown")),
            "{text}"
        );
    }

    #[test]
    fn a_diverged_arm_is_a_row_that_says_when() {
        let text = text(&[BASE, ("wild", &[None, None, None])]);
        let row = text.lines().find(|line| line.starts_with("wild"));
        assert!(
            row.is_some_and(|row| row.contains("diverged at step 13")),
            "{text}"
        );
    }

    #[test]
    fn an_arm_with_a_diverged_seed_is_never_called_better() {
        let text = text(&[
            ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
            (
                "DHC x8 w/o tanh",
                &[Some(1.951), Some(2.149), Some(2.050), None],
            ),
        ]);
        let row = text
            .lines()
            .find(|line| line.starts_with("DHC"))
            .expect("a row");
        assert!(
            row.contains("diverged 1/4") && !row.contains("better"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_wider_than_a_terminal() {
        use unicode_width::UnicodeWidthStr;
        let text = text(&[
            BASE,
            ("DHC x8 w/o tanh", &[Some(1.9), Some(2.149), Some(2.050)]),
            ("wild", &[None, None, None]),
        ]);
        for line in text.lines() {
            assert!(line.width() <= TERMINAL_WIDTH, "{line}");
        }
    }

    #[test]
    fn what_differs_between_arms_is_shown_as_a_range() {
        let shown = |values: &[u64]| range(values.iter().copied(), |n| n.to_string());
        assert_eq!(shown(&[8, 4, 32]).as_deref(), Some("4 to 32"));
        assert_eq!(shown(&[4, 4]).as_deref(), Some("4"));
        assert_eq!(shown(&[]), None);
    }

    #[test]
    fn signs_are_shown_but_not_of_zero() {
        assert_eq!(signed(-0.0213, 4), "−0.0213");
        assert_eq!(signed(0.011, 3), "+0.011");
        assert_eq!(signed(-0.00001, 4), "0.0000");
    }
}
