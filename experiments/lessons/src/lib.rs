//! Lessons on hyper-connections that compute, drawings of what a tape has recorded, and the bench
//! of known bugs.

pub mod graph;
pub mod known_bugs;
pub mod pages;
pub mod teach;
