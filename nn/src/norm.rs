//! Normalisation layers.

use crate::settings::{Section, Setting, SettingError, TYPE, Value};
use engine::{
    ops::{layer_norm, rms_norm},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// `(x - mean) / sqrt(variance + eps) * weight + bias`.
    LayerNorm,
    /// `x / sqrt(mean of squares + eps) * weight`.
    RmsNorm,
}

words!(NormKind);

/// A norm of a network: its kind and the constant under the root.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NormConfig {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: NormKind,
    /// The constant under the root.
    pub eps: f32,
}

/// BERT's: far below the mean square of anything that is normalised. With 1e-5, states smaller
/// than 0.003, such as the mean of many outputs of attention residuals, are shrunk by the norms,
/// and a comparison of connections becomes one of their scales.
const EPS: f32 = 1e-12;

impl Setting for NormConfig {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let norm = Section::of(value, &[TYPE, "eps"])?;
        Ok(Self {
            kind: norm.required(TYPE)?,
            eps: norm.get("eps", EPS)?,
        })
    }
}

impl Default for NormConfig {
    fn default() -> Self {
        Self {
            kind: NormKind::LayerNorm,
            eps: EPS,
        }
    }
}

/// A normalisation over the last dimension with a learned weight (and, for layer
/// norm, a bias), which are never decayed, or without parameters.
#[derive(Clone, Debug)]
pub struct Norm {
    kind: NormKind,
    eps: f32,
    weight: Option<ParamId>,
    bias: Option<ParamId>,
}

impl Norm {
    /// Registers `NAME.weight` and, for layer norm, `NAME.bias`.
    pub fn new(b: &mut Builder, name: &str, config: NormConfig, dim: usize) -> Self {
        b.scope(name, |b| Self {
            kind: config.kind,
            eps: config.eps,
            weight: Some(b.param("weight", [dim], Decay::No, Init::Ones)),
            bias: (config.kind == NormKind::LayerNorm)
                .then(|| b.param("bias", [dim], Decay::No, Init::Zeros)),
        })
    }

    /// Without weight and bias.
    pub fn without_parameters(config: NormConfig) -> Self {
        Self {
            kind: config.kind,
            eps: config.eps,
            weight: None,
            bias: None,
        }
    }

    /// `[.., dim]` to the same shape.
    #[track_caller]
    pub fn forward<'t>(&self, x: Var<'t>) -> Var<'t> {
        let tape = x.tape();
        let weight = self.weight.map(|weight| tape.param(weight));
        match self.kind {
            NormKind::LayerNorm => {
                let bias = self.bias.map(|bias| tape.param(bias));
                layer_norm(x, weight, bias, self.eps)
            }
            NormKind::RmsNorm => rms_norm(x, weight, self.eps),
        }
    }
}
