//! Ablations as data: which arms are compared, under which settings, with which of the paper's
//! numbers beside ours.
//!
//! Adding one is a file with a constant [`Ablation`] and one line in [`ABLATIONS`]; the command
//! of its name, its presets, its table and its files follow from that.

mod arm;
mod best_rate;
mod calibration;
mod file;
mod job;
mod matching;
mod plan;
mod progress;
mod results;
mod routers;
mod scheduler;
mod show;
mod sweep;

pub use arm::{Arm, Tanh};
pub use best_rate::{BestRate, BestRates, Edge};
pub use calibration::{Calibration, CostRatio};
pub use file::{SweepFile, SweepFileError, distinct_seeds};
pub use job::{Study, Unfinished};
pub use plan::Plan;
pub use progress::{Progress, RunProgress, Tick, clock, seconds};
pub use results::{ArmResult, ArmTiming, CurvePoint, Delta, Results, RunResult, RunTiming};
pub use routers::RouterMeans;
pub use scheduler::{Workers, run};
pub use show::{Learnt, Report};
pub use sweep::{Job, Subject, Sweep, SweepError};

use crate::{paper::PaperTable, preset::Body};

/// A comparison of arms with a baseline.
#[derive(Debug, Clone, Copy)]
pub struct Ablation {
    /// The name of its command.
    pub name: &'static str,
    /// What it compares.
    pub title: &'static str,
    /// The paper's table of the same comparison.
    pub paper: Option<&'static PaperTable>,
    /// The network of its presets.
    pub body: Body,
    /// Its arms, baselines before what is compared with them.
    pub arms: fn(Tanh) -> Vec<Arm>,
}

macro_rules! ablations {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+

        /// Every ablation.
        pub const ABLATIONS: &[Ablation] = &[$($module::ABLATION),+];
    };
}

ablations! {
    rate,
    static_parts,
    components,
    norm,
    related,
    experts,
    vision,
    diffusion,
    init,
    decay,
    depth,
    family,
}
