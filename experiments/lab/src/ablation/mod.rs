//! Ablations as data: which arms are compared, under which settings, with which of the paper's
//! numbers beside ours.
//!
//! Adding one is a TOML file and its name in [`ABLATIONS`]; the command of its name, its presets,
//! its table and its files follow from that.

mod arm;
mod best_rate;
mod calibration;
mod contrast;
mod file;
mod job;
mod length;
mod matched_parameters;
mod matching;
mod plan;
mod progress;
mod results;
mod routers;
mod scheduler;
mod show;
mod sweep;

pub use arm::{Arm, Tanh};
pub use best_rate::{BestRate, BestRates};
pub use calibration::{Calibration, CostRatio};
pub use contrast::{
    CONTRASTS_FILE, Contrast, Expect, Quantity, Recorded, contrasts_of, recorded_contrasts,
};
pub use file::{SweepFile, SweepFileError, distinct_horizons, distinct_seeds};
pub use job::{Study, Unfinished};
pub use matching::{Cost, MatchedArm, Matching, MatchingError, Timed};
pub use plan::Plan;
pub use progress::{Progress, RunProgress, Tick, clock, seconds};
use results::Compared;
pub use results::{
    ArmResult, ArmTiming, CurvePoint, Delta, EqualCost, Horizons, Incidence, Interval, Outcome,
    OverHorizons, ProbeResult, Results, RunResult, RunTiming, Stability, Statement,
};
pub use routers::RouterMeans;
pub use scheduler::{Workers, run};
pub(crate) use show::signed;
pub use show::{Learnt, Report};
pub use sweep::{Job, Subject, Sweep, SweepError};

use crate::{paper::PaperTable, preset::body_and_size};
use std::sync::LazyLock;
use toml::Table;

/// A comparison of arms with a baseline, one of the files of `experiments/ablations`.
#[derive(Debug)]
pub struct Ablation {
    /// Name of the command.
    pub name: String,
    /// The first line of the table.
    pub title: String,
    /// The published table of the same comparison.
    pub paper: Option<PaperTable>,
    /// Kind of network, as [`Preset::body`](crate::preset::Preset::body).
    pub body: String,
    /// Settings in common, over those of a preset.
    pub common: Table,
    text: &'static str,
}

/// Every ablation that is built in.
pub static ABLATIONS: LazyLock<Vec<Ablation>> = LazyLock::new(|| {
    let files = built_in!(
        "ablations": "rate", "static", "components", "norm", "related", "moe", "vit", "dit",
        "init", "decay", "depth", "stability", "family", "2026"
    );
    files.map(|(name, text)| Ablation::read(name, text)).into()
});

impl Ablation {
    fn read(name: &str, text: &'static str) -> Self {
        let file = SweepFile::without_arms(text);
        let file = file.unwrap_or_else(|error| panic!("ablations/{name}.toml: {error}"));
        let preset = file.preset.expect("a preset");
        Self {
            name: format!("ablation-{name}"),
            title: file.title.expect("a title"),
            paper: file.paper,
            body: body_and_size(&preset).0.to_owned(),
            common: file.common,
            text,
        }
    }

    /// The arms, baselines before what is compared with them.
    ///
    /// # Panics
    /// If the file is wrong, which a test excludes.
    pub fn arms(&self, tanh: Tanh) -> Vec<Arm> {
        let file = SweepFile::parse(self.text, Some(tanh));
        file.unwrap_or_else(|error| panic!("{}: {error}", self.name))
            .arms
    }

    /// The contrasts that are declared for these arms.
    ///
    /// # Panics
    /// As [`Ablation::arms`].
    pub fn contrasts(&self, tanh: Tanh) -> Vec<Contrast> {
        let file = SweepFile::parse(self.text, Some(tanh));
        file.unwrap_or_else(|error| panic!("{}: {error}", self.name))
            .contrasts
    }
}
