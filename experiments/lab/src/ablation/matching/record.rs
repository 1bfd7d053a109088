//! The steps of a sweep in its directory: chosen once, and used again whenever the sweep goes on.

use super::{
    super::{Calibration, CostRatio, Job, Progress, Study, Sweep, Unfinished, Workers},
    Cost, MatchedArm, Matching, MatchingError, Timed, operations, settings,
};
use crate::{
    config::ConfigError,
    files::read_text,
    run_dir::{CONFIG_FILE, RunError, RunId, write_atomically},
    train::TrainError,
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// Name of the file in a sweep directory.
const FILE: &str = "matching.json";

impl Matching {
    /// The steps recorded in a sweep directory; `None` if its arms are not of equal cost.
    ///
    /// # Errors
    /// [`RunError::Unreadable`], [`RunError::Damaged`].
    pub fn read(directory: &Path) -> Result<Option<Self>, RunError> {
        let path = directory.join(FILE);
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RunError::reading(&path, error)),
        };
        let damaged = |line: usize, reason: String| RunError::Damaged {
            path: path.clone(),
            line,
            reason,
        };
        let matching: Self = serde_json::from_str(&text)
            .map_err(|error| damaged(error.line().max(1), error.to_string()))?;
        let is_sound = |arm: &MatchedArm| {
            let steps = i64::try_from(arm.steps).is_ok_and(|steps| steps > 0);
            steps && arm.cost.ratio.is_finite() && arm.cost.ratio > 0.0
        };
        match matching.arms.iter().find(|(_, arm)| !is_sound(arm)) {
            None => Ok(Some(matching)),
            Some((name, _)) => Err(damaged(1, format!("arm {name} has no sound steps"))),
        }
    }

    /// The steps of a sweep as far as they have been chosen, after checking that its runs have them;
    /// `None` for a sweep whose arms are not to be of equal cost. The runs of `again` are to be done
    /// again, and where no others are left and `anew` is set, the steps are chosen again too.
    ///
    /// # Errors
    /// [`MatchingError`]; errors of reading.
    pub fn recorded(sweep: &Sweep, again: &[Job], anew: bool) -> Result<Option<Self>, Unfinished> {
        let path = sweep.path();
        let staying = staying(sweep, again)?;
        if staying.is_empty() && anew {
            return Ok(sweep.by.map(Self::none));
        }
        let stored = match Self::read(&path)? {
            Some(Self { by, .. }) if Some(by) != sweep.by && !staying.is_empty() => {
                return Err(MatchingError::Matched { path, by }.into());
            }
            stored => stored.filter(|stored| Some(stored.by) == sweep.by),
        };
        let Some(by) = sweep.by else {
            return Ok(None);
        };
        let mut matching = stored.unwrap_or_else(|| Self::none(by));
        for (arm, base) in sweep.compared() {
            let name = &sweep.arms[arm].name;
            let run = staying.iter().find(|run| run.arm == *name);
            match (matching.arms.get(name), run) {
                (Some(one), _) if one.settings == settings(sweep, arm, base) => {}
                (Some(_), Some(_)) => {
                    let arm = name.clone();
                    return Err(MatchingError::OtherSettings { path, arm }.into());
                }
                (None, Some(run)) => {
                    let path = run.path.clone();
                    return Err(MatchingError::NotMatched { path, by }.into());
                }
                (_, None) => drop(matching.arms.remove(name)),
            }
        }
        Ok(Some(matching))
    }

    fn none(by: Cost) -> Self {
        let arms = Default::default();
        Self { by, arms }
    }

    /// Returns whether the steps of all arms of a sweep have been chosen.
    pub fn is_complete(&self, sweep: &Sweep) -> bool {
        self.missing(sweep).next().is_none()
    }

    fn missing(&self, sweep: &Sweep) -> impl Iterator<Item = (usize, usize)> {
        sweep
            .compared()
            .filter(|(arm, _)| !self.arms.contains_key(&sweep.arms[*arm].name))
    }

    /// The steps with those that had not been chosen, from costs that are measured or counted now;
    /// `None` if it is stopped.
    ///
    /// # Errors
    /// As [`Calibration::measure`]; [`MatchingError::NoTime`].
    pub fn completed(
        mut self,
        study: &Study<'_>,
        workers: Workers,
        stop: &AtomicBool,
        progress: &Progress,
    ) -> Result<Option<Self>, Unfinished> {
        let sweep = study.sweep;
        let missing: Vec<(usize, usize)> = self.missing(sweep).collect();
        let name = |index: usize| &sweep.arms[index].name;
        match self.by {
            Cost::Flops => {
                for (arm, base) in missing {
                    let counted = |index: usize| {
                        operations(&sweep.configs[index])
                            .map_err(|error| cannot(sweep, index, error))
                    };
                    let ratio = counted(arm)? / counted(base)?;
                    let cost = CostRatio {
                        ratio,
                        interval: None,
                    };
                    let matched = MatchedArm::new(sweep, (arm, base), cost);
                    self.arms.insert(name(arm).clone(), matched);
                }
            }
            Cost::Time => {
                let arms: BTreeSet<usize> = missing.iter().flat_map(|&(a, b)| [a, b]).collect();
                let arms: Vec<usize> = arms.into_iter().collect();
                let times = Calibration::measure(study, &arms, workers, stop, progress)?;
                let Some(times) = times else {
                    return Ok(None);
                };
                for (arm, base) in missing {
                    let matched = timed(sweep, (arm, base), &times);
                    let arm = name(arm).clone();
                    let matched = matched.ok_or(MatchingError::NoTime { arm: arm.clone() })?;
                    self.arms.insert(arm, matched);
                }
            }
        }
        Ok(Some(self))
    }

    /// Writes the steps beside the runs of a sweep.
    ///
    /// # Errors
    /// Errors of writing.
    pub fn write(&self, sweep: &Path) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(self).expect("plain data becomes JSON");
        write_atomically(&sweep.join(FILE), format!("{text}\n").as_bytes())
    }

    /// Removes the record of a sweep directory whose runs are to have other steps.
    ///
    /// # Errors
    /// [`RunError::Unwritable`].
    pub fn forget(sweep: &Path) -> Result<(), RunError> {
        let path = sweep.join(FILE);
        // A read-only directory says so also of a file that is not there.
        if fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|error| RunError::writing(&path, error))
    }
}

fn timed(sweep: &Sweep, (arm, base): (usize, usize), times: &Calibration) -> Option<MatchedArm> {
    let [name, of_base] = [arm, base].map(|index| &*sweep.arms[index].name);
    let spread = times.spread(name)?.max(times.spread(of_base)?);
    Some(MatchedArm {
        timed: Some(Timed {
            cpu: times.cpu.clone(),
            threads: times.threads,
            spread,
        }),
        ..MatchedArm::new(sweep, (arm, base), times.ratio(name, of_base)?)
    })
}

fn cannot(sweep: &Sweep, arm: usize, error: ConfigError) -> Unfinished {
    Unfinished::Train {
        run: sweep.arms[arm].label.clone(),
        source: Box::new(TrainError::Config(error)),
    }
}

/// The runs of the arms of a sweep that have begun, but for those that are to be done again.
fn staying(sweep: &Sweep, again: &[Job]) -> Result<Vec<RunId>, RunError> {
    let path = sweep.path();
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let again: BTreeSet<&PathBuf> = again.iter().map(|job| &job.id.path).collect();
    let mut runs = RunId::find_all(&path)?;
    runs.retain(|run| {
        sweep.arms.iter().any(|arm| arm.name == run.arm)
            && run.path.join(CONFIG_FILE).exists()
            && !again.contains(&run.path)
    });
    Ok(runs)
}
