//! The settings of hyper-connections.

use super::Hyper;
use crate::connection::{Connection, Reduction, Site, Spec, check_streams};
use engine::params::{Builder, Decay, Init, ParamId};
use serde::{Deserialize, Serialize};

/// The norm before the predictors of dynamic coefficients (Eq. 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictorNorm {
    /// Layer norm of each stream over d, with weight and bias.
    #[default]
    LayerNorm,
    /// RMS norm of each stream over d, with weight.
    RmsNorm,
    /// The streams as they are.
    None,
}

impl PredictorNorm {
    /// Registers the weight and, for layer norm, the bias below `norm`.
    pub(in crate::connection) fn register(
        self,
        b: &mut Builder,
        width: usize,
    ) -> Option<(ParamId, Option<ParamId>)> {
        b.scope("norm", |b| {
            let mut part = |name, init| b.param(name, [width], Decay::No, init);
            match self {
                PredictorNorm::LayerNorm => {
                    let weight = part("weight", Init::Ones);
                    Some((weight, Some(part("bias", Init::Zeros))))
                }
                PredictorNorm::RmsNorm => Some((part("weight", Init::Ones), None)),
                PredictorNorm::None => None,
            }
        })
    }
}

/// How the read weights A_m start (Eq. 14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadInit {
    /// `e_{k mod n}` for sublayer k: the paper's. It is what lets streams separate.
    #[default]
    OneHot,
    /// `1 / n` everywhere: streams then stay identical for ever.
    Uniform,
}

/// What the initial output projections are scaled with. The paper scales "by a factor
/// of sqrt(n)" without saying in which direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputInitScale {
    /// Not at all.
    #[default]
    None,
    /// `1 / sqrt(n)`.
    InvSqrtRate,
    /// `sqrt(n)`.
    SqrtRate,
}

/// A part of a hyper-connection that can be frozen at its initialisation (the paper's
/// Table 3 freezes `read` and `mix`, or `write`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrozenPart {
    /// A_m, static and dynamic.
    Read,
    /// A_r, static and dynamic.
    Mix,
    /// B, static and dynamic.
    Write,
    /// The dynamic parts of all of them.
    Dynamic,
}

/// Hyper-connections (Zhu et al., ICLR 2025): n streams, and per sublayer a read A_m,
/// a mix A_r and a write B, static (SHC) or predicted from the streams (DHC).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HyperConfig {
    /// The expansion rate n: how many streams.
    pub rate: usize,
    /// Whether the coefficients have a part predicted from the streams.
    pub dynamic: bool,
    /// Whether the prediction goes through tanh.
    pub tanh: bool,
    /// The norm before the prediction.
    pub norm: PredictorNorm,
    /// Which parts keep their initial value.
    pub frozen: Vec<FrozenPart>,
    /// How s_alpha and s_beta start.
    pub scale_init: f32,
    /// How A_m starts.
    pub read_init: ReadInit,
    /// What the initial output projections are scaled with.
    pub output_init_scale: OutputInitScale,
    /// How the streams end.
    pub reduction: Reduction,
}

impl Default for HyperConfig {
    fn default() -> Self {
        Self {
            rate: 4,
            dynamic: true,
            tanh: true,
            norm: PredictorNorm::default(),
            frozen: Vec::new(),
            scale_init: 0.01,
            read_init: ReadInit::default(),
            output_init_scale: OutputInitScale::default(),
            reduction: Reduction::default(),
        }
    }
}

impl HyperConfig {
    /// Whether this part keeps its initial value.
    pub fn freezes(&self, part: FrozenPart) -> bool {
        self.frozen.contains(&part)
    }
}

impl Spec for HyperConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(Hyper::new(self, site, b))
    }

    fn label(&self) -> String {
        let kind = if self.dynamic { "DHC" } else { "SHC" };
        let mut label = format!("{kind} x{}", self.rate);
        if self.dynamic && !self.tanh {
            label.push_str(" w/o tanh");
        }
        label
    }

    fn citation(&self) -> &'static str {
        "Zhu et al., Hyper-Connections, ICLR 2025, arXiv 2409.19606"
    }

    fn output_init_scale(&self) -> f32 {
        let root = (self.rate as f32).sqrt();
        match self.output_init_scale {
            OutputInitScale::None => 1.0,
            OutputInitScale::InvSqrtRate => 1.0 / root,
            OutputInitScale::SqrtRate => root,
        }
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        check_streams("rate", self.rate)?;
        if !self.scale_init.is_finite() {
            return Err(format!(
                "scale_init is {}, expected a number",
                self.scale_init
            ));
        }
        Ok(())
    }
}
