//! Names of the values that a forward shows to an inspector: a
//! [hook](engine::tape::Tape::probe) has the scope of its sublayer before its name.

/// The state that reaches a sublayer.
pub const HIDDEN: &str = "hidden";
/// `[A_m | A_r]` of a sublayer; an editor may change it.
pub const ALPHA: &str = "alpha";
/// B of a sublayer; an editor may change it.
pub const BETA: &str = "beta";
/// An `[A_m | A_r]` whose A_r is made of probabilities, and which is to learn.
pub const STOCHASTIC_ALPHA: &str = "stochastic_alpha";
/// The vector that a sublayer reads, before any norm of its own.
pub const INPUT: &str = "input";
/// The vector that a sublayer writes.
pub const OUTPUT: &str = "output";
/// The weights of the streams at the end, where they are not all 1.
pub const HEAD: &str = "head";
/// The gate of a highway network.
pub const GATE: &str = "gate";
/// The weights of an average over depth.
pub const DEPTH_WEIGHTS: &str = "depth_weights";
/// The weights of branch and state of LAuReL.
pub const RESIDUAL_WEIGHTS: &str = "residual_weights";
/// The weights of the first and the own values of an attention.
pub const VALUE_WEIGHTS: &str = "value_weights";
/// Each expert's share of the assignments.
pub const LOAD: &str = "load";
/// The mean entropy of a router's probabilities.
pub const ENTROPY: &str = "entropy";
/// The number of assignments that no expert carried out.
pub const DROPPED: &str = "dropped";
/// The embedding of a network.
pub const EMBEDDING: &str = "embedding";
/// The vector that the final norm of a network reads.
pub const REDUCED: &str = "reduced";

/// The scope of a value that a forward showed as `hook`, from the path of the value.
pub fn scope_of<'a>(path: &'a str, hook: &str) -> Option<&'a str> {
    path.strip_suffix(hook)?.strip_suffix('.')
}
