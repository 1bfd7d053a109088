//! Differentiable operations of a mixture of experts.

mod choose;
mod experts;
mod losses;
#[cfg(test)]
mod tests;

pub use choose::{Choice, choose};
pub use experts::{ExpertWeights, experts};
pub use losses::{load_balance, router_z};
