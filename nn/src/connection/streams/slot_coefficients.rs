//! The coefficients of states of slots, static or predicted.

use super::{
    ops::{Coefficients, Slots},
    predictor::{Predictor, PredictorForm},
    slot_predictor::predict,
};
use engine::{
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::Var,
};

/// The sizes of the coefficients of slots.
pub(in crate::connection) struct SlotSizes {
    /// Numbers of a slot.
    pub width: usize,
    /// The shape of `static_alpha`, its columns last.
    pub alpha: Shape,
    /// The shape of `static_beta`.
    pub beta: Shape,
    /// True where every coefficient has a scale of its own.
    pub scale_each: bool,
}

/// The coefficients of a sublayer, static or with a part predicted from each slot.
#[derive(Debug)]
pub(in crate::connection) struct SlotCoefficients {
    statics: [ParamId; 2],
    predictor: Option<Predictor<ParamId>>,
}

impl SlotCoefficients {
    /// Registers the static parameters and, where there is a form, the dynamic ones, whose
    /// projections start at 0 and whose scales at the number beside the form.
    pub fn register(
        b: &mut Builder,
        sizes: &SlotSizes,
        [alpha_start, beta_start]: [Init; 2],
        dynamic: Option<(PredictorForm, f32)>,
    ) -> Self {
        let &SlotSizes {
            width, alpha, beta, ..
        } = sizes;
        let static_alpha = b.param("static_alpha", alpha, Decay::No, alpha_start);
        let static_beta = b.param("static_beta", beta, Decay::No, beta_start);
        let predictor = dynamic.map(|(form, scale_init)| {
            let of_beta: Shape = match beta.rank() {
                1 => [width].into(),
                _ => [width, beta.width()].into(),
            };
            let of_alpha: Shape = [width, alpha.width()].into();
            let mut projection = |name, shape| b.param(name, shape, Decay::Yes, Init::Zeros);
            let alpha_fn = projection("dynamic_alpha_fn", of_alpha);
            let beta_fn = projection("dynamic_beta_fn", of_beta);
            let mut scale = |name, each| {
                let shape = if sizes.scale_each { each } else { [1].into() };
                b.param(name, shape, Decay::No, Init::Constant(scale_init))
            };
            let alpha_scale = scale("dynamic_alpha_scale", alpha);
            let beta_scale = scale("dynamic_beta_scale", beta);
            let [norm_weight, norm_bias] = form.norm.register(b, width);
            Predictor {
                form,
                static_alpha,
                static_beta,
                alpha_fn,
                beta_fn,
                alpha_scale,
                beta_scale,
                norm_weight,
                norm_bias,
            }
        });
        Self {
            statics: [static_alpha, static_beta],
            predictor,
        }
    }

    /// The coefficients for a state, per token or for all; projections are divided by `tau`.
    pub fn of<'t>(&self, slots: Slots, state: Var<'t>, tau: f32) -> Coefficients<'t> {
        let tape = state.tape();
        match &self.predictor {
            Some(predictor) => predict(slots, state, &predictor.on_tape(tape), tau),
            None => {
                let [alpha, beta] = self.statics.map(|id| tape.param(id));
                Coefficients { alpha, beta }
            }
        }
    }

    /// Operations and saved numbers of the predictors of `slots` slots of `width` numbers, with
    /// `columns` coefficients for each: the products, the norm, and three operations and two
    /// numbers for each coefficient.
    pub fn cost(&self, slots: usize, width: usize, columns: usize) -> (usize, usize) {
        self.predictor.as_ref().map_or((0, 0), |predictor| {
            let count = slots * columns;
            let norm = predictor.form.norm.cost(slots * width);
            (2 * width * count + norm + 3 * count, 2 * count)
        })
    }
}
