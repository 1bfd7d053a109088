//! What can be wrong with the plan of a sweep.

use crate::{config::ConfigError, run_dir::RunError};
use std::path::PathBuf;
use thiserror::Error;

/// Why a sweep cannot be planned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A configuration that makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting for all arms that the arms themselves differ in.
    #[error(
        "--set {key}: the arms of this ablation differ in it (arm {arm} sets it): leave it out, or train one configuration with the command train"
    )]
    SetByArms {
        /// The setting.
        key: String,
        /// An arm that has it.
        arm: String,
    },
    /// An arm that would learn from other data than the first one.
    #[error(
        "arm {arm} would learn from other data than the arms before it: differences mean something on the same data only; make one sweep for each"
    )]
    OtherData {
        /// The arm.
        arm: String,
    },
    /// An arm that sets its steps where they follow from those of its baseline.
    #[error(
        "arm {arm} has other train.steps than its baseline, and --match chooses them: leave one out"
    )]
    OwnSteps {
        /// The arm.
        arm: String,
    },
    /// More steps than a setting holds.
    #[error(
        "--horizons {times}: train.steps times {times} is no number of steps: take a smaller one"
    )]
    TooLong {
        /// Multiple of the length of the settings.
        times: u64,
    },
    /// More runs than anyone waits for.
    #[error("{arms} arms with {seeds} seeds are more than {MOST_RUNS} runs: take fewer of either")]
    TooMany {
        /// Arms.
        arms: usize,
        /// Seeds.
        seeds: usize,
    },
    /// A statement on the accuracy of networks that have none.
    #[error(
        "contrast \"{statement}\": it is of the accuracy, which only networks that classify images \
         have: leave out of = \"accuracy\" for the loss"
    )]
    NoAccuracy {
        /// The statement.
        statement: String,
    },
    /// A comparison on a seed that had a part in the choice of its arms.
    #[error(
        "{path}: seed {seed} had a part in the choice of settings of these arms, so a comparison on it \
         flatters them: take other seeds, and where it has been run there another --name"
    )]
    ChosenOn {
        /// The seed.
        seed: u64,
        /// The sweep directory.
        path: PathBuf,
    },
    /// A sweep name or a directory that cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs of a sweep at most.
pub(super) const MOST_RUNS: usize = 100_000;
