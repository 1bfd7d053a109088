//! The operations of the connections beside hyper-connections, each against its formula
//! in f64.

mod constrained;
mod counted;
mod projection;
mod slots;
