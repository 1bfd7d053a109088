//! How a run ended: `summary.json`.

use super::{LossByNoiseLevel, RunError, SUMMARY_FILE, environment::cpu, read_if_there};
use crate::data_account::DataAccount;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How a run ended.
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
    /// Whether nothing is left to do.
    pub fn is_final(self) -> bool {
        self != Self::Interrupted
    }
}

/// What one router does.
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
    /// How it ended.
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
    /// What the routers do with the validation data after the last step, block by block; empty
    /// without mixtures of experts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<RouterSummary>,
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
    /// How much was trained on, what was left out and what validates, without the lists of files;
    /// `None` of runs from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataAccount>,
    /// What a reader of these results has to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// The summary of the run in `directory`; `None` if it has not ended.
///
/// # Errors
/// [`RunError::Unreadable`], or [`RunError::Damaged`] if the file is not a summary.
pub fn read_summary(directory: &Path) -> Result<Option<Summary>, RunError> {
    let path = directory.join(SUMMARY_FILE);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    match serde_json::from_str(&text) {
        Ok(summary) => Ok(Some(summary)),
        Err(error) => Err(RunError::Damaged {
            line: error.line(),
            reason: error.to_string(),
            path,
        }),
    }
}
