//! Statistics of an ablation with few seeds and small effects.
//!
//! Arms are compared seed by seed: two runs of one seed share data order and backbone
//! initialisation, so their difference has less spread than either loss. The differences are
//! taken as independent and normal; everything follows from Student's t distribution.

mod clusters;
mod comparison;
mod curves;
mod equivalence;
mod estimate;
#[cfg(test)]
mod normals;
mod optimum;
mod power;
mod proportions;
mod scaling;
mod student_t;

pub use clusters::ClusterError;
pub use comparison::{
    Differences, MIN_SEEDS, Verdict, combine_by_seed, holm, pair_by_seed, shaffer, verdicts,
};
pub use curves::{
    Convergence, Reading, SPIKE_HEIGHT, SPIKE_WINDOW, convergence_factor, spikes, tokens_to_reach,
};
pub use estimate::{CONFIDENCE, Estimate, mean, median, pooled_sd, quantile, sd};
pub use optimum::Minimum;
pub use power::{
    Aim, MAX_SEEDS, POWER, minimum_detectable_effect, power, seeds_needed, seeds_needed_range,
};
pub use proportions::Proportion;
pub use scaling::{
    Bound, GAP_EXPONENTS, Located, LossCurve, PowerLaw, gap_exponent, gap_weights, not_rejected,
};
