//! Networks: configuration plus assembly, no numerics of their own.

pub mod accounting;
pub mod block;
mod checks;
pub mod config;
pub mod dit;
pub mod loss;
pub mod model;
pub mod transformer;
pub mod vit;
pub mod weights;

/// The page is compiled and run like any other example.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding_a_connection.md")]
struct AddingAConnection;
