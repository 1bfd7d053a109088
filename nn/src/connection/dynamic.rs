//! The parameters of coefficients that are predicted from the state.

use super::{
    hyper::ops::PredictorNormParams,
    slot_predictor::{SlotPredictor, predict},
    slots::Slots,
};
use engine::{params::ParamId, tape::Var};

/// What a dynamic connection has beside its static coefficients.
#[derive(Debug)]
pub(super) struct Dynamic {
    pub(super) alpha_fn: ParamId,
    pub(super) beta_fn: ParamId,
    pub(super) alpha_scale: ParamId,
    pub(super) beta_scale: ParamId,
    pub(super) norm: Option<(ParamId, Option<ParamId>)>,
}

impl Dynamic {
    /// Alpha and beta of every token, each slot's own row predicted from that slot; see
    /// [`SlotPredictor`] for `eps`, `tanh` and `tau`.
    pub(super) fn of_slots<'t>(
        &self,
        slots: Slots,
        state: Var<'t>,
        (static_alpha, static_beta): (Var<'t>, Var<'t>),
        eps: f32,
        tanh: bool,
        tau: f32,
    ) -> (Var<'t>, Var<'t>) {
        let tape = state.tape();
        let params = SlotPredictor {
            alpha_fn: tape.param(self.alpha_fn),
            beta_fn: tape.param(self.beta_fn),
            static_alpha,
            static_beta,
            alpha_scale: tape.param(self.alpha_scale),
            beta_scale: tape.param(self.beta_scale),
            norm: PredictorNormParams::of(tape, self.norm),
            eps,
            tanh,
            tau,
        };
        predict(slots, state, &params)
    }
}
