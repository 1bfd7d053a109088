//! What a run measures while it trains, `metrics.jsonl`, and what its connections do,
//! `coefficients.jsonl`.

use super::{
    RunError,
    log::{Log, Record, read_log},
};
use figures::unfold::LayerCoefficients;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::Path;

/// The metrics file of a run, open for appending.
pub type MetricsLog = Log<MetricsRecord>;

/// Parts of equal length that the timesteps of a diffusion are cut into.
pub const NOISE_LEVELS: usize = 10;

/// The mean loss of a denoiser at each noise level, from the least noisy one on; `None` where
/// there was no image or the loss was not finite.
pub type LossByNoiseLevel = [Option<f64>; NOISE_LEVELS];

/// One line of `metrics.jsonl`. A number that is not finite is written as `null`, which JSON
/// has, and read back as NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsRecord {
    /// Optimiser steps done.
    pub step: u64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Loss of this step's batch in nats per token, before its update.
    #[serde(deserialize_with = "null_as_nan")]
    pub train_loss: f64,
    /// Mean loss over the fixed validation batches after this step, where it was measured.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "null_as_some_nan"
    )]
    pub val_loss: Option<f64>,
    /// Share of the test images that were classified correctly, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Mean validation loss of a denoiser by noise level, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss_by_noise_level: Option<LossByNoiseLevel>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Norm of the gradient before clipping.
    #[serde(deserialize_with = "null_as_nan")]
    pub grad_norm: f64,
    /// Wall time of this step in milliseconds, validation not counted.
    pub ms: f64,
}

fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn null_as_some_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    null_as_nan(deserializer).map(Some)
}

impl Record for MetricsRecord {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The metrics of the run in `directory`, without changing anything: also of one that is being
/// written to. None if it has no metrics yet.
///
/// # Errors
/// [`RunError::Unreadable`], or [`RunError::Damaged`] if a line before the last is no record or
/// steps are out of order.
pub fn read_metrics(directory: &Path) -> Result<Vec<MetricsRecord>, RunError> {
    Ok(read_log(&directory.join(super::METRICS_FILE))?.0)
}

/// The coefficients of every sublayer at one step, over the same validation tokens every time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoefficientRecord {
    /// Optimiser steps done.
    pub step: u64,
    /// Their means over the tokens.
    pub mean: Vec<LayerCoefficients>,
    /// Their standard deviations over the tokens: 0 where they are static.
    pub deviation: Vec<LayerCoefficients>,
}

impl Record for CoefficientRecord {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The coefficients of a run, open for appending.
pub type CoefficientLog = Log<CoefficientRecord>;

/// The coefficients that the run in `directory` has recorded; none if it has not.
///
/// # Errors
/// [`RunError::Unreadable`], or [`RunError::Damaged`] if a line before the last is no record or
/// steps are out of order.
pub fn read_coefficients(directory: &Path) -> Result<Vec<CoefficientRecord>, RunError> {
    Ok(read_log(&directory.join(super::COEFFICIENTS_FILE))?.0)
}
