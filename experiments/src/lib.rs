//! Ablations, training, parity checks and benchmarks: what the command line is made of.

pub mod ablation;
pub mod bench;
pub mod cli;
pub mod coefficients;
pub mod config;
pub mod data;
mod data_account;
pub mod device;
pub mod files;
pub mod graph;
pub mod inspect;
pub mod invocation;
pub mod lockfile;
pub mod measure;
pub mod memory;
pub mod paper;
pub mod parity;
pub mod plot;
pub mod preset;
pub mod report;
pub mod run_dir;
pub mod sample;
pub mod state;
pub mod stats;
pub mod table;
pub mod teach;
pub mod terminal;
pub mod train;
pub mod trained;
pub mod unfold;
pub mod watch;

/// Pages of the book are compiled and run like any other example.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/reading_matrices.md")]
    struct ReadingMatrices;
}
