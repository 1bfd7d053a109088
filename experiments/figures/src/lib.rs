//! Plots, tables, statistics and the terminal: what shows numbers, whatever they are of.

pub mod plot;
pub mod stats;
pub mod table;
pub mod terminal;
pub mod unfold;
