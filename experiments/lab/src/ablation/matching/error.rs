//! What stands in the way of arms of equal cost.

use super::cost::Cost;
use std::path::PathBuf;
use thiserror::Error;

/// Runs whose steps would not be those of the others of their arm, or steps that cannot be chosen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MatchingError {
    /// The runs that are there have steps of an equal cost that was not asked for.
    #[error(
        "the runs of {} have steps of equal {by}: give --match {by}, choose another --name, or \
         --force to do all seeds again",
        path.display()
    )]
    Matched {
        /// The sweep directory.
        path: PathBuf,
        /// The cost.
        by: Cost,
    },
    /// A run that is there was begun without.
    #[error(
        "{} was begun without --match {by}, and its steps are not those of equal {by}: choose \
         another --name, or --force to do all seeds again",
        path.display()
    )]
    NotMatched {
        /// The run directory.
        path: PathBuf,
        /// The cost.
        by: Cost,
    },
    /// The runs that are there have steps that were chosen for other settings.
    #[error(
        "the steps of arm {arm} in {} were chosen for other settings of it or of its baseline: use \
         the same settings, choose another --name, or --force to do all seeds again",
        path.display()
    )]
    OtherSettings {
        /// The sweep directory.
        path: PathBuf,
        /// The arm.
        arm: String,
    },
    /// The clock shows no time for a step.
    #[error("the steps of arm {arm} take no time by the clock of this machine: use --match flops")]
    NoTime {
        /// The arm.
        arm: String,
    },
}
