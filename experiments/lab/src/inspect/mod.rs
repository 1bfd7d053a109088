//! Looking into trained networks: what their connections have learned.
//!
//! An [`InspectedNetwork`] is a trained network with some tokens, a [`Trace`] one forward and
//! backward of it with everything that its sublayers show, an [`Inspection`] what was found in it.
//! Every measure is defined where it is computed, and in `docs/inspection.md`.

mod align;
mod checkpoint;
mod checkpoint_files;
mod checkpoint_pictures;
mod checkpoint_text;
mod gain;
mod inspection;
mod interventions;
mod matrix;
mod measures;
mod network;
mod npz;
mod page;
mod patterns;
mod pictures;
mod summary;
mod terminal;
mod trace;

pub use checkpoint::{CheckpointView, opened};
pub use checkpoint_text::{dialects, recognised};
pub use gain::{Gain, LayerGain};
pub use inspection::Inspection;
pub use matrix::{Matrix, to_csv, to_npy};
pub use measures::{Band, DepthView};
pub use network::{InspectError, InspectedNetwork};
pub use npz::to_npz;
pub use page::page;
pub use summary::summary;
pub use trace::{LayerTrace, Trace};
