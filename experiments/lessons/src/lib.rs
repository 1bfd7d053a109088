//! Lessons on hyper-connections that compute, and drawings of what a tape has recorded.

pub mod graph;
pub mod teach;
