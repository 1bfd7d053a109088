//! Looking into trained networks: what their connections have learned.

mod subject;
mod trace;

pub use subject::{Subject, SubjectError};
pub use trace::{LayerTrace, Trace};
