//! Reports of runs, rebuilt from their files alone.
//!
//! [`Recorded`] is what a directory of runs says, whoever made them and however far they got;
//! [`page`] shows it as one page of HTML, [`plots`] are its pictures. The tables are those that
//! an ablation prints ([`crate::ablation::Report`]).

mod found;
mod horizon_plots;
mod page;
mod plot;
mod plots;
mod recorded;

pub use found::{RecordedError, runs_in};
pub use page::page;
pub use plot::Plot;
pub use plots::plots;
pub use recorded::{LearntFrom, Recorded};
