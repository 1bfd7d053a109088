//! The settings of hyper-connections.

use super::Hyper;
use crate::connection::{
    Connection, Expansion, PredictorNorm, Reduction, Site, Spec, check_streams, expect_number,
};
use engine::params::Builder;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Initialisation of the read weights A_m (Eq. 14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadInit {
    /// `e_{k mod n}` for sublayer k: the paper's. It is what lets streams separate.
    #[default]
    OneHot,
    /// `1 / n` everywhere: streams then stay identical for ever.
    Uniform,
}

/// The factor of the initial output projections. The paper scales "by a factor
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

words!(ReadInit, OutputInitScale, FrozenPart);

settings! {
    /// Hyper-connections (Zhu et al., ICLR 2025): n streams, and per sublayer a read A_m,
    /// a mix A_r and a write B, static (SHC) or predicted from the streams (DHC).
    pub struct HyperConfig {
        /// Number of streams n, the expansion rate.
        pub rate: usize = 4,
        /// A part of the coefficients is predicted from the streams.
        pub dynamic: bool = true,
        /// The prediction goes through tanh.
        pub tanh: bool = true,
        /// The norm before the prediction.
        pub norm: PredictorNorm = PredictorNorm::default(),
        /// Which parts keep their initial value.
        pub frozen: Vec<FrozenPart> = Vec::new(),
        /// Initial s_alpha and s_beta.
        pub scale_init: f32 = 0.01,
        /// Initialisation of A_m.
        pub read_init: ReadInit = ReadInit::default(),
        /// The factor of the initial output projections.
        pub output_init_scale: OutputInitScale = OutputInitScale::default(),
        /// The reduction of the streams at the end.
        pub reduction: Reduction = Reduction::default(),
        /// The first streams.
        #[serde(skip_serializing_if = "Expansion::is_copies")]
        pub expansion: Expansion = Expansion::default(),
        /// Every read is that of the sublayer before, the first of stream 0 alone, as in Single-Pass
        /// mHC: writing and reading could then be one pass over the streams. The read of the last
        /// sublayer has no use.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub delayed_reads: bool = false,
    }
}

impl HyperConfig {
    /// Returns whether this part keeps its initial value.
    pub fn freezes(&self, part: FrozenPart) -> bool {
        self.frozen.contains(&part)
    }

    /// The columns of `[A_m | A_r]`, static and dynamic, that are not trained although others are.
    pub fn frozen_columns(&self) -> Range<usize> {
        match [FrozenPart::Read, FrozenPart::Mix].map(|part| self.freezes(part)) {
            [true, false] => 0..1,
            [false, true] => 1..self.rate + 1,
            _ => 0..0,
        }
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
        if self.delayed_reads {
            label.push_str(", delayed reads");
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
        expect_number("scale_init", self.scale_init)
    }
}
