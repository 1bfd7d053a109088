//! Data, settings, training, run directories, ablations, reports, inspection and parity checks.

/// The text of every built-in file of a folder, with its name.
macro_rules! built_in {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"), "/../", $folder, "/", $name, ".toml"
        )))),+]
    };
}

pub mod ablation;
pub mod bench;
pub mod coefficients;
pub mod config;
pub mod data;
mod data_account;
pub mod device;
pub mod files;
pub mod inspect;
pub mod invocation;
pub mod measure;
pub mod memory;
pub mod paper;
pub mod parity;
pub mod preset;
pub mod probes;
pub mod progress;
pub mod report;
pub mod run_dir;
pub mod sample;
pub mod state;
pub mod torch;
pub mod train;
pub mod trained;
pub mod watch;

/// Pages of the book are compiled and run like any other example.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../../docs/adding_a_model.md")]
    struct AddingAModel;
    #[doc = include_str!("../../../docs/reading_matrices.md")]
    struct ReadingMatrices;
}
