//! Statistics of an ablation with few seeds and small effects.
//!
//! Arms are compared seed by seed: two runs of one seed share data order and backbone
//! initialisation, so their difference has less spread than either loss. The differences are
//! taken as independent and normal; everything follows from Student's t distribution.

mod convergence;
mod estimate;
mod paired;
mod power;
mod spikes;
mod student_t;
mod verdict;

pub use convergence::{Convergence, Reading, convergence_factor, tokens_to_reach};
pub use estimate::{CONFIDENCE, Estimate, mean, median, pooled_sd, quantile, sd};
pub use paired::{Differences, pair_by_seed};
pub use power::{
    MAX_SEEDS, POWER, minimum_detectable_effect, power, seeds_needed, seeds_needed_range,
};
pub use spikes::{SPIKE_HEIGHT, SPIKE_WINDOW, spikes};
pub use verdict::{MIN_SEEDS, Verdict, holm, verdicts};
