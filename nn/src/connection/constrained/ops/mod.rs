//! The operations of constrained hyper-connections on the tape.

mod coefficients;
mod flat_projection;

pub use coefficients::{ScaleAndBias, coefficients};
pub use flat_projection::{FlatNorm, flat_projection};
