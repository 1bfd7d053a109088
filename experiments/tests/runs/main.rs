//! Runs, and whatever happens to their directories.

#![cfg(unix)]

mod afresh;
mod agreement;
mod interrupted;
mod kills;
mod locks;
mod place;
#[path = "../common/signals.rs"]
mod signals;
mod states;
mod temporaries;
