//! Ablations and other sweeps as a user sees them, run through the program itself.

mod ablation;
mod equal_cost;
mod grid;
mod horizons;
mod place;
mod rates;
#[cfg(unix)]
#[path = "../common/signals.rs"]
mod signals;
