//! Looking into trained networks: what their connections have learned.
//!
//! A [`Subject`] is a trained network with some tokens, a [`Trace`] one forward and backward of
//! it with everything that its sublayers show, an [`Inspection`] what was found in it. Every
//! measure is defined where it is computed, and in `docs/inspection.md`.

mod align;
mod depth;
mod export;
mod gain;
mod inspection;
mod interventions;
mod layers;
mod matrix;
mod page;
mod patterns;
mod pictures;
mod reference;
mod similarity;
mod spectrum;
mod subject;
mod summary;
mod terminal;
mod trace;

pub use align::{Alignment, MOST_STREAMS, align};
pub use depth::{DepthView, by_depth};
pub use export::{to_csv, to_npy};
pub use gain::{Gain, LayerGain, gains};
pub use inspection::{Compared, Inspection, ORIENTATION, TrainingView, UnfoldedView};
pub use interventions::{Change, Intervention, interventions};
pub use layers::{LayerView, layer_views};
pub use matrix::{Matrix, PARTS, short};
pub use page::page;
pub use patterns::{LAMBDA, NOTHING, OPPOSITE, Patterns, relative};
pub use reference::Reference;
pub use similarity::{Band, adjacent_similarity};
pub use spectrum::{effective_rank, singular_values};
pub use subject::{Subject, SubjectError};
pub use summary::summary;
pub use terminal::{heat_map, side_by_side};
pub use trace::{LayerTrace, Trace};
