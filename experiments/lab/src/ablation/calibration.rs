//! Step times of arms of a sweep, measured in turn when no run of it is going on.
//!
//! The steps that runs record are timed while other runs of the sweep, and whatever else the
//! machine does, go on beside them: two arms may have had quite different neighbours. Here arms take
//! turns within seconds, so that what disturbs one round disturbs all arms of it alike, and how far
//! the rounds differ says what the times are worth.

use super::{Progress, Study, Unfinished, Workers};
use crate::{
    config::{RunConfig, TrainConfig},
    files::read_text,
    run_dir::{RunError, write_atomically},
    train::{TrainError, Trainer},
};
use figures::stats::{Estimate, median};
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// The file in a sweep directory.
const FILE: &str = "step_times.json";
/// Turns of every arm.
const ROUNDS: usize = 6;
/// Shortest turn in milliseconds, and most steps of one.
const TURN_MS: f64 = 40.0;
const MOST_STEPS: usize = 8;
/// A spread above this is pointed out.
const NOTABLE_SPREAD: f64 = 0.1;

/// Step times of the arms of a sweep, measured in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The processor.
    pub cpu: String,
    /// Threads of a step.
    pub threads: usize,
    /// Milliseconds of a step of every arm, round by round: the fastest step of its turn, since
    /// other work on the machine only ever adds.
    pub rounds_ms: BTreeMap<String, Vec<f64>>,
}

/// Cost of a step of one arm over that of one of another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostRatio {
    /// Of counted operations the quotient, of times the geometric mean over rounds.
    pub ratio: f64,
    /// Ends of the 95 % interval of times, `exp` of the t interval of the mean of the logarithms.
    pub interval: Option<[f64; 2]>,
}

impl fmt::Display for CostRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.ratio)?;
        match self.interval {
            Some([low, high]) => write!(f, " [{low:.3}, {high:.3}]"),
            None => Ok(()),
        }
    }
}

impl Calibration {
    /// Times a few steps of these arms of a sweep, by their place in it, in turn, one run at a time on as
    /// many threads as a run of the sweep has; `None` if it is stopped. Of arms whose steps are the
    /// same work one is timed for all.
    ///
    /// # Errors
    /// [`Unfinished::Train`] for an arm that cannot be built, [`Unfinished::Threads`].
    pub fn measure(
        study: &Study<'_>,
        arms: &[usize],
        workers: Workers,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<Option<Self>, Unfinished> {
        let threads = (workers.threads / workers.jobs).max(1);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        progress.line("timing the steps of all arms in turn");
        let configs = &study.sweep.configs;
        let alike = |arm: usize| {
            let same = |other: &&usize| work(&configs[**other]) == work(&configs[arm]);
            *arms.iter().find(same).expect("the arm itself")
        };
        let timed_as: Vec<usize> = arms.iter().map(|&arm| alike(arm)).collect();
        let mut rounds_ms: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for (&arm, _) in arms.iter().zip(&timed_as).filter(|(arm, one)| arm == one) {
                if stop.load(Ordering::SeqCst) {
                    return Ok(None);
                }
                // Made anew for every turn: all arms together may not fit into memory.
                let trainer = Trainer::new(&configs[arm], study.data);
                let trainer = trainer.map_err(|source: TrainError| Unfinished::Train {
                    run: study.sweep.arms[arm].label.clone(),
                    source: Box::new(source),
                })?;
                let mut trainer = trainer.with_backend(study.backend);
                let ms = pool.install(|| fastest_step(&mut trainer));
                rounds_ms.entry(arm).or_default().push(ms);
            }
        }
        let times = arms.iter().zip(&timed_as);
        let times = times.map(|(arm, one)| {
            let name = study.sweep.arms[*arm].name.clone();
            (name, rounds_ms[one].clone())
        });
        Ok(Some(Self {
            cpu: study.environment.cpu.clone(),
            threads,
            rounds_ms: times.collect(),
        }))
    }

    /// Writes the times beside the runs of a sweep.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn write(&self, sweep: &Path) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(self).expect("plain data becomes JSON");
        write_atomically(&sweep.join(FILE), format!("{text}\n").as_bytes())
    }

    /// The step times of a sweep; `None` if it has none that can be read.
    pub fn read(sweep: &Path) -> Option<Self> {
        let text = read_text(&sweep.join(FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The times of an arm, if they are times.
    fn rounds(&self, arm: &str) -> Option<&[f64]> {
        let rounds = self.rounds_ms.get(arm)?;
        let sound = rounds.iter().all(|ms| ms.is_finite() && *ms > 0.0);
        (sound && !rounds.is_empty()).then_some(rounds)
    }

    /// The median over rounds of the time of a step of an arm in milliseconds.
    pub fn step_ms(&self, arm: &str) -> Option<f64> {
        median(self.rounds(arm)?.to_vec())
    }

    /// Spread of the rounds of an arm: largest minus smallest, over the median.
    pub fn spread(&self, arm: &str) -> Option<f64> {
        let rounds = self.rounds(arm)?;
        let largest = rounds.iter().copied().fold(0.0, f64::max);
        let smallest = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        Some((largest - smallest) / self.step_ms(arm)?)
    }

    /// Time of a step of an arm over one of its baseline, from the rounds one by one.
    pub fn ratio(&self, arm: &str, baseline: &str) -> Option<CostRatio> {
        let (arm, baseline) = (self.rounds(arm)?, self.rounds(baseline)?);
        let logs: Vec<f64> = arm
            .iter()
            .zip(baseline)
            .map(|(a, b)| (a / b).ln())
            .collect();
        let estimate = Estimate::of(&logs)?;
        Some(CostRatio {
            ratio: estimate.mean.exp(),
            interval: Some([estimate.low.exp(), estimate.high.exp()]),
        })
    }
}

/// Returns whether a spread of the rounds is to be pointed out.
pub(super) fn is_notable(spread: f64) -> bool {
    spread > NOTABLE_SPREAD
}

/// The settings that decide what a step has to do.
fn work(config: &RunConfig) -> RunConfig {
    let TrainConfig {
        batch,
        micro_batch,
        shards,
        precision,
        ..
    } = config.train;
    RunConfig {
        train: TrainConfig {
            batch,
            micro_batch,
            shards,
            precision,
            ..TrainConfig::default()
        },
        optim: Default::default(),
        ..config.clone()
    }
}

fn fastest_step(trainer: &mut Trainer) -> f64 {
    // The first step allocates.
    trainer.step();
    let begun = Instant::now();
    let mut fastest = f64::INFINITY;
    for _ in 0..MOST_STEPS {
        fastest = fastest.min(trainer.step().ms);
        if begun.elapsed().as_secs_f64() * 1e3 > TURN_MS {
            break;
        }
    }
    fastest
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs;

    pub fn of(arms: &[(&str, &[f64])]) -> Calibration {
        let rounds = arms
            .iter()
            .map(|(name, ms)| (name.to_string(), ms.to_vec()));
        Calibration {
            cpu: "a processor".into(),
            threads: 1,
            rounds_ms: rounds.collect(),
        }
    }

    /// The machine becomes three times slower from round to round: of the times nothing is known,
    /// of their ratio everything.
    #[test]
    fn what_slows_all_arms_alike_leaves_their_ratio_known() {
        let times = of(&[("base", &[10.0, 30.0, 20.0]), ("arm", &[12.0, 36.0, 24.0])]);
        assert!(times.spread("arm").is_some_and(is_notable));
        let CostRatio { ratio, interval } = times.ratio("arm", "base").expect("both");
        let [low, high] = interval.expect("three rounds");
        assert!((ratio - 1.2).abs() < 1e-9 && high - low < 1e-9);
    }

    #[test]
    fn what_disturbs_one_arm_alone_widens_its_ratio() {
        let times = of(&[("base", &[10.0, 10.1, 9.9]), ("arm", &[12.0, 19.0, 12.2])]);
        let [low, high] = times
            .ratio("arm", "base")
            .expect("both")
            .interval
            .expect("three");
        assert!(low < 1.0 && high > 1.9, "{low} {high}");
        assert!(
            times
                .spread("base")
                .is_some_and(|spread| !is_notable(spread))
        );
        assert_eq!(times.step_ms("arm"), Some(12.2));
    }

    #[test]
    fn a_calibration_is_read_as_it_was_written_and_damage_is_no_calibration() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Calibration::read(directory.path()), None);
        let times = of(&[("base", &[10.0, 10.1])]);
        times.write(directory.path()).expect("space");
        assert_eq!(Calibration::read(directory.path()), Some(times));
        fs::write(directory.path().join(FILE), "{").expect("space");
        assert_eq!(Calibration::read(directory.path()), None);
        let wrong = of(&[("base", &[10.0]), ("arm", &[0.0]), ("other", &[])]);
        assert_eq!(wrong.ratio("arm", "base"), None);
        assert_eq!((wrong.spread("other"), wrong.step_ms("none")), (None, None));
    }
}
