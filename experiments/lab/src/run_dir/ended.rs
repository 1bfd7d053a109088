//! A run that has ended, as its files say.

use super::{
    METRICS_FILE, MetricsRecord, RunError, SUMMARY_FILE, Summary, log::read_log,
    summary::read_with_metrics_sum,
};
use models::weights::hex;
use std::path::Path;

/// Summary and metrics of a run that has ended, held to each other. Reading takes no lock and
/// writes nothing, so it works beside other readers and on a read-only disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub summary: Summary,
    /// What it has recorded.
    pub metrics: Vec<MetricsRecord>,
}

impl Ended {
    /// The run in a directory; `None` if it has not ended, or does not exist.
    ///
    /// # Errors
    /// Files that cannot be read or are damaged, and [`RunError::Disagree`] if the results in the
    /// summary are not those that the metrics have.
    pub fn read(directory: &Path) -> Result<Option<Self>, RunError> {
        match Self::read_once(directory) {
            // The run may have been begun afresh between the two files.
            Err(RunError::Disagree { .. }) => Self::read_once(directory),
            read => read,
        }
    }

    fn read_once(directory: &Path) -> Result<Option<Self>, RunError> {
        let read = read_with_metrics_sum(directory)?;
        let Some((summary, sum)) = read.filter(|(summary, _)| summary.status.is_final()) else {
            return Ok(None);
        };
        let (metrics, digest) = read_log(&directory.join(METRICS_FILE))?;
        let ended = Self { summary, metrics };
        let changed = || {
            let changed = sum.is_some_and(|sum| sum != hex(&digest));
            changed.then(|| "the metrics were changed after the run had ended".to_owned())
        };
        match ended.disagreement().or_else(changed) {
            None => Ok(Some(ended)),
            Some(reason) => Err(RunError::Disagree {
                path: directory.join(SUMMARY_FILE),
                other: METRICS_FILE,
                reason,
                advice: "put back a copy of the one that was changed, or do the run again with \
                         --force",
            }),
        }
    }

    /// The first result in the summary that the metrics do not have.
    fn disagreement(&self) -> Option<String> {
        let Self { summary, metrics } = self;
        let Some(last) = metrics.last() else {
            return Some(format!("{} steps there, none recorded", summary.steps));
        };
        if (summary.steps, summary.tokens) != (last.step, last.tokens) {
            return Some(format!(
                "{} steps and {} tokens there, {} and {} here",
                summary.steps, summary.tokens, last.step, last.tokens
            ));
        }
        let finite = |loss: f64| Some(loss).filter(|loss| loss.is_finite());
        let validated = metrics
            .iter()
            .rev()
            .find(|record| record.val_loss.is_some());
        let losses = metrics.iter().filter_map(|record| finite(record.val_loss?));
        let results = [
            (
                "final_val_loss",
                summary.final_val_loss,
                validated.and_then(|record| finite(record.val_loss?)),
            ),
            (
                "best_val_loss",
                summary.best_val_loss,
                losses.reduce(f64::min),
            ),
            (
                "final_val_accuracy",
                summary.final_val_accuracy,
                validated.and_then(|record| record.val_accuracy),
            ),
        ];
        for (name, there, here) in results {
            if there != here {
                let value = |value: Option<f64>| value.map_or("none".into(), |x| x.to_string());
                return Some(format!(
                    "{name} is {} there, {} here",
                    value(there),
                    value(here)
                ));
            }
        }
        let levels = validated.and_then(|record| record.val_loss_by_noise_level);
        (summary.final_val_loss_by_noise_level != levels)
            .then(|| "final_val_loss_by_noise_level".to_owned())
    }
}
