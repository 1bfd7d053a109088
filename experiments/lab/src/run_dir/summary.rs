//! How a run ended: `summary.json`.

use super::{
    LossByNoiseLevel, METRICS_FILE, MetricsRecord, ProbeScores, RunError, SUMMARY_FILE,
    VALIDATION_FILE, ValidationUnits,
    contents::read_if_there,
    environment::cpu,
    log::read_log,
    probes,
    seal::{append, sealed, unsealed},
    validation,
};
use crate::data_account::DataAccount;
use models::weights::hex;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Way in which a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All steps done.
    Ok,
    /// The loss became infinite or not a number.
    Diverged,
    /// Stopped before its last step; it can be resumed.
    Interrupted,
}

impl Status {
    /// Returns whether nothing is left to do.
    pub fn is_final(self) -> bool {
        self != Self::Interrupted
    }
}

/// Load of one router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterSummary {
    /// The scope of its layer: `blocks.0.ffn`.
    pub site: String,
    /// The share of the assignments that each expert gets; they sum to 1.
    pub load: Vec<f64>,
    /// Mean entropy of its probabilities in nats, at most the logarithm of the number of experts.
    pub entropy: f64,
    /// Assignments that no expert carried out.
    pub dropped: u64,
}

/// The results of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Way in which the run ended.
    pub status: Status,
    /// The step at which the loss stopped being finite.
    pub diverged_at_step: Option<u64>,
    /// Optimiser steps done.
    pub steps: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Last training loss in nats per token, if finite.
    pub final_train_loss: Option<f64>,
    /// Last mean validation loss in nats per token, if finite.
    pub final_val_loss: Option<f64>,
    /// Lowest mean validation loss, if any was finite.
    pub best_val_loss: Option<f64>,
    /// Last share of test images that were classified correctly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_val_accuracy: Option<f64>,
    /// Last mean validation loss of a denoiser by noise level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_val_loss_by_noise_level: Option<LossByNoiseLevel>,
    /// Loads of the routers on the validation data after the last step, block by block; empty
    /// without mixtures of experts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<RouterSummary>,
    /// Account of how much was trained on, what was left out and what validates, without the lists
    /// of files; `None` of runs from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataAccount>,
    /// Remarks that a reader of these results has to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Number of trained parameters.
    pub parameters: u64,
    /// Floating-point operations of one forward pass per token.
    pub flops_per_token: u64,
    /// Wall time in seconds, interruptions not counted.
    pub wall_seconds: f64,
    /// Median wall time of a step in milliseconds.
    pub median_step_ms: f64,
    /// Who multiplied matrices, in the last process of the run.
    #[serde(default = "cpu")]
    pub backend: String,
    /// Name of the corpus.
    pub corpus: String,
    /// SHA-256 of the corpus.
    pub corpus_fingerprint: String,
}

/// The summary as text, with checksums behind it: of the metrics that it sums up, of the results on
/// the validation units and of itself.
pub(super) fn to_json(summary: &Summary, metrics: &[u8; 32], units: Option<String>) -> String {
    let mut text = serde_json::to_string_pretty(summary).expect("plain data becomes JSON");
    append(&mut text, METRICS_SHA256, &hex(metrics));
    if let Some(units) = units {
        append(&mut text, VALIDATION_SHA256, &units);
    }
    sealed(text)
}

const METRICS_SHA256: &str = "metrics_sha256";
const VALIDATION_SHA256: &str = "validation_sha256";

/// The summary of the run in `directory`; `None` if it has not ended.
///
/// # Errors
/// [`RunError::Unreadable`], [`RunError::Damaged`] if the file is not a summary, and
/// [`RunError::Disagree`] if it was changed.
pub fn read_summary(directory: &Path) -> Result<Option<Summary>, RunError> {
    Ok(read_with_sums(directory)?.map(|(summary, _)| summary))
}

/// The checksums of the metrics and of the validation units, unless an earlier version wrote the
/// summary.
type Sums = [Option<String>; 2];

fn read_with_sums(directory: &Path) -> Result<Option<(Summary, Sums)>, RunError> {
    let path = directory.join(SUMMARY_FILE);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    let advice = "put back a copy of it, or remove it and start the same command again, which \
                  makes it anew from the other files";
    let (summary, mut values) = unsealed(&path, &text, advice)?;
    let mut sum = |name| Some(values.remove(name)?.as_str()?.to_owned());
    let sums = [sum(METRICS_SHA256), sum(VALIDATION_SHA256)];
    Ok(Some((summary, sums)))
}

/// Summary and metrics of a run that has ended, held to each other. Reading takes no lock and
/// writes nothing, so it works beside other readers and on a read-only disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Way in which the run ended.
    pub summary: Summary,
    /// Records of the run.
    pub metrics: Vec<MetricsRecord>,
    /// Results on every validation unit; `None` of runs of earlier versions, and where the file is
    /// gone.
    pub units: Option<ValidationUnits>,
    /// Results of the probes, if they were computed.
    pub probes: Option<Vec<ProbeScores>>,
}

impl Ended {
    /// The run in a directory; `None` if it has not ended, or does not exist.
    ///
    /// # Errors
    /// Files that cannot be read or are damaged, and [`RunError::Disagree`] if the results in the
    /// summary are not those that the metrics have, or those on the validation units were changed.
    pub fn read(directory: &Path) -> Result<Option<Self>, RunError> {
        match Self::read_once(directory) {
            // The run may have been begun afresh between the two files.
            Err(RunError::Disagree { .. }) => Self::read_once(directory),
            read => read,
        }
    }

    fn read_once(directory: &Path) -> Result<Option<Self>, RunError> {
        let read = read_with_sums(directory)?;
        let Some((summary, [sum, units_sum])) =
            read.filter(|(summary, _)| summary.status.is_final())
        else {
            return Ok(None);
        };
        let (metrics, digest) = read_log(&directory.join(METRICS_FILE))?;
        let advice =
            "put back a copy of the one that was changed, or do the run again with --force";
        // Without a checksum they are not the results of this run.
        let units = match &units_sum {
            Some(_) => validation::read(directory)?,
            None => None,
        };
        let units = match units {
            Some((_, found)) if units_sum.as_ref() != Some(&found) => {
                return Err(RunError::Disagree {
                    path: directory.join(SUMMARY_FILE),
                    other: VALIDATION_FILE,
                    reason:
                        "the losses of the validation units were changed after the run had ended"
                            .to_owned(),
                    advice,
                });
            }
            units => units.map(|(units, _)| units),
        };
        let ended = Self {
            summary,
            metrics,
            units,
            probes: probes::read(directory, &digest)?,
        };
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
                advice,
            }),
        }
    }

    /// The first result in the summary that the metrics do not have.
    fn disagreement(&self) -> Option<String> {
        let Self {
            summary, metrics, ..
        } = self;
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
        let last = metrics.iter().rfind(|record| record.val_loss.is_some());
        let losses = metrics.iter().filter_map(|record| finite(record.val_loss?));
        let (loss, best) = (summary.final_val_loss, summary.best_val_loss);
        let last_loss = last.and_then(|record| finite(record.val_loss?));
        let last_accuracy = last.and_then(|record| record.val_accuracy);
        let results = [
            ("final_val_loss", loss, last_loss),
            ("best_val_loss", best, losses.reduce(f64::min)),
            (
                "final_val_accuracy",
                summary.final_val_accuracy,
                last_accuracy,
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
        let levels = last.and_then(|record| record.val_loss_by_noise_level);
        (summary.final_val_loss_by_noise_level != levels)
            .then(|| "final_val_loss_by_noise_level".to_owned())
    }
}
