//! The two sides of a sublayer: the coefficients before it, and the write after it.

use super::ops::{Coefficients, Slots, depth_connection, read, width_connection};
use crate::hooks;
use engine::tape::Var;

/// A write that has not been carried out: the next connection may do it together with
/// its own read, in one pass over the streams.
#[derive(Clone, Copy, Debug)]
pub struct PendingWrite<'t> {
    /// The coefficients of the sublayer that has run.
    pub coefficients: Coefficients<'t>,
    /// The output of the sublayer, `[.., d]`.
    pub output: Var<'t>,
}

impl<'t> PendingWrite<'t> {
    /// The next state by itself, from the state that the sublayer has read:
    /// `Ĥ = Bᵀ oᵀ + A_rᵀ H` (Eq. 5 of hyper-connections).
    #[track_caller]
    pub fn carry_out(&self, state: Var<'t>) -> Var<'t> {
        let (_, mixed) = width_connection(state, self.coefficients.alpha);
        depth_connection(mixed, self.coefficients.beta, self.output)
    }
}

/// Shows a state and the coefficients that are about to act on it to an inspector: an
/// [editor](engine::tape::Tape::edited) may change `alpha` and `beta` first. Returns the
/// coefficients, what the sublayer reads by them, and whether they have been changed.
pub(in crate::connection) fn seen<'t>(
    slots: Slots,
    hidden: Var<'t>,
    mut coefficients: Coefficients<'t>,
    mut input: Var<'t>,
) -> (Coefficients<'t>, Var<'t>, bool) {
    let tape = hidden.tape();
    let changed = [
        tape.edited(hooks::ALPHA, coefficients.alpha),
        tape.edited(hooks::BETA, coefficients.beta),
    ];
    let is_changed = changed.iter().any(Option::is_some);
    if is_changed {
        let [alpha, beta] = changed;
        coefficients.alpha = alpha.unwrap_or(coefficients.alpha);
        coefficients.beta = beta.unwrap_or(coefficients.beta);
        input = read(slots, hidden, coefficients.alpha);
    }
    coefficients.show(hidden);
    (coefficients, input, is_changed)
}
