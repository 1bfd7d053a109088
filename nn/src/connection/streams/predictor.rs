//! The parameters of coefficients that are predicted from the state: one record, whatever its
//! elements are.

use engine::{
    params::{Builder, Decay, Init, ParamId},
    tape::{Tape, Var},
};
use serde::{Deserialize, Serialize};

/// The norm before the projections of a predictor (Eq. 10 of hyper-connections).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictorNorm {
    /// Layer norm, with weight and bias.
    #[default]
    LayerNorm,
    /// RMS norm, with weight.
    RmsNorm,
    /// No norm.
    None,
}

words!(PredictorNorm);

/// The form of a prediction.
#[derive(Clone, Copy, Debug)]
pub struct PredictorForm {
    /// The norm before the projections.
    pub norm: PredictorNorm,
    /// The constant under its root.
    pub eps: f32,
    /// True where the predictions go through tanh.
    pub tanh: bool,
}

/// The parameters of a predictor: their identities, their values on a tape or in memory, or
/// their gradients. The shapes are those of hyper-connections with n streams of width d.
#[derive(Clone, Copy, Debug)]
pub struct Predictor<T> {
    /// The form of the prediction.
    pub form: PredictorForm,
    /// `[A_m | A_r]`, `[n, n + 1]`.
    pub static_alpha: T,
    /// `B`, `[n]`.
    pub static_beta: T,
    /// `[W_m | W_r]`, `[d, n + 1]`.
    pub alpha_fn: T,
    /// `W_beta`, `[d]`.
    pub beta_fn: T,
    /// `s_alpha`, `[1]`.
    pub alpha_scale: T,
    /// `s_beta`, `[1]`.
    pub beta_scale: T,
    /// The weight of the norm, `[d]`; ones if absent.
    pub norm_weight: Option<T>,
    /// The bias of the norm, `[d]`; zeros if absent.
    pub norm_bias: Option<T>,
}

/// The most parameters of a predictor.
pub(in crate::connection) const PARTS: usize = 8;

/// The most inputs of an operation that predicts: four others come first.
pub(in crate::connection) const INPUTS: usize = 4 + PARTS;

impl PredictorNorm {
    /// Registers the weight and, for layer norm, the bias below `norm`.
    pub(in crate::connection) fn register(
        self,
        b: &mut Builder,
        width: usize,
    ) -> [Option<ParamId>; 2] {
        b.scope("norm", |b| {
            let mut part = |name, init| b.param(name, [width], Decay::No, init);
            let weight = (self != Self::None).then(|| part("weight", Init::Ones));
            let bias = (self == Self::LayerNorm).then(|| part("bias", Init::Zeros));
            [weight, bias]
        })
    }

    /// Floating-point operations for so many numbers, about 8 each.
    pub(in crate::connection) fn cost(self, numbers: usize) -> usize {
        match self {
            Self::LayerNorm | Self::RmsNorm => 8 * numbers,
            Self::None => 0,
        }
    }
}

impl<T> Predictor<T> {
    /// The record of `part(0)`, `part(1)` and so on, in the order of the fields.
    pub(in crate::connection) fn from_fn(
        form: PredictorForm,
        mut part: impl FnMut(usize) -> T,
    ) -> Self {
        Self {
            form,
            static_alpha: part(0),
            static_beta: part(1),
            alpha_fn: part(2),
            beta_fn: part(3),
            alpha_scale: part(4),
            beta_scale: part(5),
            norm_weight: (form.norm != PredictorNorm::None).then(|| part(6)),
            norm_bias: (form.norm == PredictorNorm::LayerNorm).then(|| part(7)),
        }
    }

    /// The fields in their order.
    pub(in crate::connection) fn parts(&self) -> impl Iterator<Item = &T> {
        let statics = [&self.static_alpha, &self.static_beta];
        let dynamics = [
            &self.alpha_fn,
            &self.beta_fn,
            &self.alpha_scale,
            &self.beta_scale,
        ];
        let norm = self.norm_weight.iter().chain(&self.norm_bias);
        statics.into_iter().chain(dynamics).chain(norm)
    }
}

impl Predictor<ParamId> {
    /// The values on a tape.
    pub(in crate::connection) fn on_tape<'t>(&self, tape: &'t Tape) -> Predictor<Var<'t>> {
        let mut parts = self.parts();
        Predictor::from_fn(self.form, |_| tape.param(*parts.next().expect("a part")))
    }
}

impl<'t> Predictor<Var<'t>> {
    /// The inputs of an operation that predicts, after others, and their number.
    pub(in crate::connection) fn inputs(&self, before: &[Var<'t>]) -> ([Var<'t>; INPUTS], usize) {
        let mut inputs = [self.static_alpha; INPUTS];
        let mut count = 0;
        for (input, part) in inputs.iter_mut().zip(before.iter().chain(self.parts())) {
            *input = *part;
            count += 1;
        }
        (inputs, count)
    }
}
