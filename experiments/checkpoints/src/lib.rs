//! The hyper-connections of other people's checkpoints.
//!
//! A [`Checkpoint`] finds, by the endings of names, the tensors of connections in a folder, a
//! safetensors file or a GGUF file; an [`Analysis`] reads them site by site and computes, in f64,
//! the matrices that they make: read `A_m`, write B, mix `A_r`, row = source stream and column =
//! destination stream. Each [`Dialect`] is one file with its names and formulas. Nothing here knows
//! of this program's own networks.

mod analysis;
mod checkpoint;
mod dialects;
mod error;
mod files;
mod form;
mod measures;
mod parts;
mod recognise;
mod settings;
mod sinkhorn;
mod site;
mod tensors;

pub use analysis::{Analysis, End, SiteAnalysis, layer};
pub use checkpoint::Checkpoint;
pub use dialects::{DIALECTS, Dialect, Last};
pub use error::CheckpointError;
pub use files::{StateFile, Store, Tensor, metadata_keys};
pub use form::{Coefficients, Eps, Form, Gate, Mix, Predictor};
pub use measures::MixMeasures;
pub use recognise::named;
pub use settings::{Chosen, Setting};
pub use sinkhorn::{Direction, Divisor, Sinkhorn};
pub use site::{Kind, Site};
pub use tensors::to_safetensors;
