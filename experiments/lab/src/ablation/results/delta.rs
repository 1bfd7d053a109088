//! The difference of an arm to its baseline.

use super::Compared;
use figures::stats::{Aim, Estimate, mean, seeds_needed, seeds_needed_range};
use serde::Serialize;

/// A mean difference to the baseline over paired seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Delta {
    /// Seeds that both arms have finished.
    pub seeds: Vec<u64>,
    /// Mean of `arm - baseline`: below zero, the arm has the lower loss.
    pub mean: f64,
    /// Ends of the 95 % interval, from two seeds on: over seeds and, if it is known, with the error
    /// over the validation text.
    pub interval: Option<[f64; 2]>,
    /// Ends of the 95 % interval over seeds alone.
    pub seed_interval: Option<[f64; 2]>,
    /// Standard error over the validation text, if all runs have the losses of its windows.
    pub text_se: Option<f64>,
    /// Files or blocks of the text, or images, that the standard error is over.
    pub text_clusters: Option<usize>,
    /// Standard deviation of the differences.
    pub sd: Option<f64>,
    /// p value of no difference, of the same errors as the interval.
    pub p_value: Option<f64>,
    /// p value with Holm's correction over the arms of the table, from three seeds on.
    pub p_holm: Option<f64>,
    /// Mean over standard deviation, `d_z`.
    pub effect_size: Option<f64>,
    /// Effect size without the bias of a small sample (Hedges), from three seeds on.
    pub corrected_effect_size: Option<f64>,
    /// Seeds that would show a difference of this size four times in five.
    pub seeds_needed: Option<usize>,
    /// Seeds needed at both ends of the 95 % interval of the standard deviation.
    pub seeds_needed_range: Option<[usize; 2]>,
}

impl Delta {
    /// `None` without a difference.
    pub(in crate::ablation) fn of(compared: &Compared, p_holm: Option<f64>) -> Option<Self> {
        let (differences, text) = (&compared.differences, compared.text.as_ref());
        let estimate = compared.estimate();
        let ends = |e: Estimate| [e.low, e.high];
        (!differences.values.is_empty()).then(|| Self {
            seeds: differences.seeds.clone(),
            mean: mean(&differences.values),
            interval: estimate.map(ends),
            seed_interval: compared.of_seeds.map(ends),
            text_se: text.map(|text| text.se),
            text_clusters: text.map(|text| text.clusters),
            sd: estimate.map(|e| e.sd),
            p_value: estimate.map(|e| e.p_value),
            p_holm,
            effect_size: estimate.and_then(|e| e.effect_size()),
            corrected_effect_size: estimate.and_then(|e| e.corrected_effect_size()),
            seeds_needed: estimate.and_then(|e| seeds_needed(Aim::Difference, e.mean, e.sd, text)),
            seeds_needed_range: estimate
                .and_then(|e| seeds_needed_range(Aim::Difference, e.mean, e.sd, e.n, text)),
        })
    }
}
