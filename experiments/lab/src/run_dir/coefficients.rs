//! What the connections did while a run learnt: `coefficients.jsonl`.

use super::{
    RunError,
    log::{Log, Record, read_log},
};
use figures::unfold::LayerCoefficients;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
