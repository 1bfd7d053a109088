//! Progress of runs, read from their files while other processes write them.

use crate::{
    ablation::{clock, seconds},
    files::read_text,
    run_dir::{
        CONFIG_FILE, METRICS_FILE, MetricsRecord, RunId, Status, read_metrics, read_summary,
    },
};
use figures::{
    stats::{mean, median},
    table::{Cell, Table, Tone},
};
use std::{fs, path::Path, time::Duration};

/// The steps whose median is the speed now.
const RECENT: usize = 16;
/// Width of a curve in characters.
const CURVE: usize = 10;
/// A run that has written nothing for so long, and for so many times the time between two of its
/// records, has stopped. Whether its process lives cannot be asked: it may be on another machine.
const SILENCE: Duration = Duration::from_secs(60);
const SILENT_RECORDS: f64 = 10.0;

/// A run at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watched {
    /// Name of the arm.
    pub arm: String,
    /// Seed of the run.
    pub seed: u64,
    /// Steps done.
    pub step: u64,
    /// Steps in all, if the configuration can be read.
    pub steps: Option<u64>,
    /// Last training loss.
    pub train_loss: Option<f64>,
    /// Last validation loss.
    pub val_loss: Option<f64>,
    /// Tokens per second over the last steps.
    pub tokens_per_second: Option<f64>,
    /// State of the run.
    pub state: State,
    /// Training losses from the first to the last, as bars.
    pub curve: String,
}

/// State of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Under way; with the time left, if it can be told.
    Running(Option<Duration>),
    /// All steps done.
    Ended,
    /// The loss is not finite.
    Diverged,
    /// Not ended, and nothing was written for a while.
    Stopped,
    /// Nothing recorded yet.
    #[default]
    Waiting,
    /// A file is damaged.
    Damaged,
}

impl Watched {
    /// The run as its files are now.
    pub fn read(id: &RunId) -> Self {
        let summary = read_summary(&id.path);
        let metrics = read_metrics(&id.path);
        let (summary, records) = match (summary, metrics) {
            (Ok(summary), Ok(records)) => (summary, records),
            _ => return Self::new(id, State::Damaged),
        };
        let steps = steps_of(&id.path);
        let Some(last) = records.last() else {
            return Self {
                steps,
                ..Self::new(id, State::Waiting)
            };
        };
        let recent = &records[records.len().saturating_sub(RECENT)..];
        let ms = median(recent.iter().map(|record| record.ms).collect()).filter(|ms| *ms > 0.0);
        let speed = ms.map(|ms| 1e3 * last.tokens as f64 / last.step as f64 / ms);
        let speed = speed.filter(|speed| speed.is_finite());
        let left = steps.zip(ms).map(|(steps, ms)| {
            let steps = steps.saturating_sub(last.step) as f64;
            seconds(steps * ms / 1e3)
        });
        let state = match summary.map(|summary| summary.status) {
            Some(Status::Ok) => State::Ended,
            Some(Status::Diverged) => State::Diverged,
            Some(Status::Interrupted) if !is_fresh(&id.path, recent, Duration::ZERO) => {
                State::Stopped
            }
            _ if is_fresh(&id.path, recent, SILENCE) => State::Running(left),
            _ => State::Stopped,
        };
        Self {
            step: last.step,
            steps,
            train_loss: Some(last.train_loss),
            val_loss: records.iter().rev().find_map(|record| record.val_loss),
            tokens_per_second: speed,
            curve: sparkline(&records),
            ..Self::new(id, state)
        }
    }

    fn new(id: &RunId, state: State) -> Self {
        Self {
            arm: id.arm.clone(),
            seed: id.seed,
            state,
            ..Self::default()
        }
    }
}

fn steps_of(path: &Path) -> Option<u64> {
    let text = read_text(&path.join(CONFIG_FILE)).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let steps = table.get("train")?.get("steps")?.as_integer()?;
    u64::try_from(steps).ok()
}

/// Returns whether the metrics were written to lately: in `silence`, or in the time of a few records.
fn is_fresh(path: &Path, recent: &[MetricsRecord], silence: Duration) -> bool {
    let written = fs::metadata(path.join(METRICS_FILE)).and_then(|file| file.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else {
        return false;
    };
    let between = last.step.saturating_sub(first.step) as f64 / (recent.len().max(2) - 1) as f64;
    let expected = SILENT_RECORDS * between * last.ms / 1e3;
    let patience = silence.max(seconds(expected.min(86_400.0)));
    // A clock that is behind that of the writer sees a file from the future: a fresh one.
    age.is_none_or(|age| age <= patience)
}

/// Training losses as bars, a mean over equal numbers of records each.
fn sparkline(records: &[MetricsRecord]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let losses = records.iter().map(|record| record.train_loss);
    let losses: Vec<f64> = losses.filter(|loss| loss.is_finite()).collect();
    let bins = losses.len().min(CURVE);
    let means = (0..bins).map(|i| {
        let part = &losses[i * losses.len() / bins..(i + 1) * losses.len() / bins];
        mean(part)
    });
    let means: Vec<f64> = means.collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // The share is 0 / 0 where all are equal, and the place of that is 0.
    let place = |mean: &f64| ((mean - low) / (high - low) * 7.0).round() as usize;
    means.iter().map(|mean| BARS[place(mean).min(7)]).collect()
}

/// The runs as a table.
pub fn table(runs: &[Watched]) -> Table {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    Table::of(runs)
        .left("arm", |run| &run.arm)
        .right("seed", |run| run.seed.to_string())
        .right("step", |run| {
            let steps = run.steps.map(|steps| format!("/{steps}"));
            format!("{}{}", run.step, steps.unwrap_or_default())
        })
        .right("train", |run| number(run.train_loss, 3))
        .right("val", |run| number(run.val_loss, 3))
        .right("tok/s", |run| number(run.tokens_per_second, 0))
        .left("state", |run| match run.state {
            State::Running(Some(left)) => Cell::from(format!("{} left", clock(left))),
            State::Running(None) => Cell::from("running"),
            State::Ended => Cell::new("ended", Tone::Good),
            State::Diverged => Cell::new("diverged", Tone::Bad),
            State::Stopped => Cell::new("stopped", Tone::Faint),
            State::Waiting => Cell::new("waiting", Tone::Faint),
            State::Damaged => Cell::new("damaged", Tone::Bad),
        })
        .left("train loss", |run| &run.curve)
        .table()
        .with_keys(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64, train_loss: f64) -> MetricsRecord {
        MetricsRecord {
            step,
            tokens: 100 * step,
            train_loss,
            val_loss: None,
            val_accuracy: None,
            val_loss_by_noise_level: None,
            lr: 1e-3,
            grad_norm: 1.0,
            ms: 10.0,
        }
    }

    fn run(records: &[MetricsRecord]) -> (tempfile::TempDir, RunId) {
        let directory = tempfile::tempdir().expect("a directory");
        let lines: String = records
            .iter()
            .map(|record| serde_json::to_string(record).expect("JSON") + "\n")
            .collect();
        fs::write(directory.path().join(METRICS_FILE), lines).expect("space");
        let config = "[train]\nsteps = 100\n";
        fs::write(directory.path().join(CONFIG_FILE), config).expect("space");
        let id = RunId {
            arm: "arm".into(),
            seed: 3,
            path: directory.path().to_owned(),
        };
        (directory, id)
    }

    #[test]
    fn a_run_under_way_says_how_fast_it_is_and_how_long_it_takes() {
        let (_directory, id) = run(&[record(10, 5.0), record(20, 4.0)]);
        let watched = Watched::read(&id);
        assert_eq!((watched.step, watched.steps), (20, Some(100)));
        assert_eq!(watched.tokens_per_second, Some(10_000.0));
        let left = Duration::from_millis(800);
        assert_eq!(watched.state, State::Running(Some(left)));
        assert_eq!(watched.curve, "█▁");
    }

    #[test]
    fn a_line_that_is_being_written_is_left_out_and_silence_means_stopped() {
        let (directory, id) = run(&[record(10, 5.0)]);
        let path = directory.path().join(METRICS_FILE);
        let mut text = fs::read_to_string(&path).expect("the file");
        text.push_str("{\"step\": 20, \"tok");
        fs::write(&path, text).expect("space");
        assert_eq!(Watched::read(&id).step, 10);
        let file = fs::File::options()
            .append(true)
            .open(&path)
            .expect("the file");
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        file.set_modified(long_ago).expect("a time");
        assert_eq!(Watched::read(&id).state, State::Stopped);
    }

    #[test]
    fn a_run_without_records_waits_and_a_damaged_one_says_so() {
        let (directory, id) = run(&[]);
        assert_eq!(Watched::read(&id).state, State::Waiting);
        let path = directory.path().join(METRICS_FILE);
        fs::write(path, "no\nmetrics\n").expect("space");
        assert_eq!(Watched::read(&id).state, State::Damaged);
    }

    /// Whatever a file says, it is shown or called damaged.
    #[test]
    fn records_that_no_run_writes_are_shown_without_panic() {
        let with = |change: &dyn Fn(&mut MetricsRecord)| {
            let mut records = [record(10, 5.0), record(20, 4.0), record(30, 3.0)];
            records.iter_mut().for_each(change);
            records.to_vec()
        };
        for records in [
            with(&|r| r.ms = 1e300),
            with(&|r| r.ms = f64::MAX),
            with(&|r| r.ms = -1.0),
            with(&|r| r.ms = 5e-324),
            with(&|r| r.step = 0),
            with(&|r| r.step = u64::MAX - r.step),
            with(&|r| r.tokens = u64::MAX),
            with(&|r| r.train_loss = f64::NAN),
            with(&|r| r.train_loss = if r.step == 20 { f64::MAX } else { -f64::MAX }),
            with(&|r| r.val_loss = Some(1e308)),
            vec![record(30, 1.0), record(10, 2.0), record(20, 3.0)],
            vec![record(10, 1.0); 40],
        ] {
            let (_directory, id) = run(&records);
            let watched = Watched::read(&id);
            assert_ne!(watched.state, State::Waiting);
            table(&[watched]).to_text(80, figures::terminal::Colour::Off);
        }
        let (directory, id) = run(&[]);
        let lines = "{\"step\": -1}\n{\"step\": 1e999}\n\0\0\n";
        fs::write(directory.path().join(METRICS_FILE), lines).expect("space");
        assert_eq!(Watched::read(&id).state, State::Damaged);
    }

    #[test]
    fn arm_and_seed_are_in_every_part_of_a_table_on_a_narrow_terminal() {
        let (_directory, id) = run(&[record(10, 5.0), record(20, 4.0)]);
        let shown = table(&[Watched::read(&id)]).to_text(40, figures::terminal::Colour::Off);
        let heads = shown
            .lines()
            .filter(|line| line.contains("arm") && line.contains("seed"));
        assert_eq!(
            (heads.count(), shown.matches("arm     3").count()),
            (2, 2),
            "{shown}"
        );
    }

    #[test]
    fn a_curve_is_as_wide_as_its_column_at_most() {
        let records: Vec<_> = (1..=95).map(|i| record(i, 1.0 / i as f64)).collect();
        let curve = sparkline(&records);
        assert_eq!(curve.chars().count(), CURVE);
        assert!(curve.starts_with('█') && curve.ends_with('▁'));
        assert_eq!(sparkline(&[]), "");
    }
}
