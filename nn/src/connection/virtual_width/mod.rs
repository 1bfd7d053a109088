//! Virtual width networks: generalised hyper-connections (2025, arXiv 2511.11238).
//!
//! The state is wider than the network: n slots of width D / m, so that the virtual width
//! is n / m times D. A sublayer of width D reads m mixtures of the slots, concatenated, and
//! every slot takes any of the m pieces of its output:
//!
//! ```text
//! x  = concat(Aᵀ H)
//! H' = Âᵀ H + Bᵀ split(T(x))
//! ```
//! with A `[n, m]`, Â `[n, n]` and B `[m, n]`. What is stored is `static_alpha` `[n, m + n]`
//! = `[A | Â]` and `static_beta` `[n, m]` = Bᵀ, the slot in the row of both. They start as
//! `A = [I; 0]`, `Â = I` and `B[i, j] = 1` where `i = j mod m`. The dynamic form (DGHC) adds
//! `S ∘ tanh(norm(H) W / tau)`, of each slot for its own row, with an S for each coefficient
//! that starts at 1 and W at 0.
//!
//! m = 1 is a hyper-connection that always reads stream 0 first.

mod group_norm;
mod pieces;

use super::{
    Account, Connection, Site, Spec, State, Sublayer, check_streams,
    dynamic::Dynamic,
    hyper::{PredictorNorm, kernels::slots::WriteForm},
    slots::{Slots, read, write},
};
use crate::linear::Linear;
use engine::{
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::{Tape, Var},
};
use group_norm::group_norm;
use pieces::{copies, means, of_pieces, transposed};
use serde::{Deserialize, Serialize};

/// How an embedding of the network's width becomes the wide state. The paper embeds tokens
/// at the virtual width itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Widening {
    /// Slot j gets piece j mod m of the embedding.
    #[default]
    Replicate,
    /// A learned map that starts as the replication: a factorised wide embedding.
    Linear,
}

/// How the wide state becomes a vector of the network's width before the final norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Narrowing {
    /// The paper's: a group norm, then a learned map, which starts as `mean_of_copies`.
    /// (Weight and bias of the group norm are left to that map and the final norm.) The norm
    /// subtracts a mean, so that a network of RMS norms does not start as pre-norm.
    #[default]
    GroupNormLinear,
    /// Piece i is the mean of the slots j with `j mod m = i`.
    MeanOfCopies,
}

/// Which numbers of the wide state the group norm before the map normalises together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormGroup {
    /// As many numbers as the network is wide, the paper's: m slots keep their relative size.
    Width,
    /// The numbers of a slot, d / m of them.
    Slot,
}

/// Generalised hyper-connections, static or dynamic, of n `slots` of width `d / m`, m the
/// `fractions` of the width: `x = concat(Aᵀ H)`, `H' = Âᵀ H + Bᵀ split(T(x))` with A `[n, m]`,
/// Â `[n, n]` and B `[m, n]`, to which the dynamic form adds `S ∘ tanh(norm(H) W / tau)`.
///
/// Source: Virtual Width Networks, ByteDance Seed, 2025, arXiv 2511.11238.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VirtualWidthConfig {
    /// Into how many pieces m the network's width is cut.
    pub fractions: usize,
    /// How many slots n the state has, at least m; the virtual width is n / m times the
    /// width.
    pub slots: usize,
    /// Whether the coefficients have a part predicted from the slots.
    pub dynamic: bool,
    /// Whether the prediction goes through tanh.
    pub tanh: bool,
    /// The norm before the prediction: RMS norm in the paper.
    pub norm: PredictorNorm,
    /// What the projection is divided by; the root of a slot's width if it is left out.
    pub tau: Option<f32>,
    /// How the scales of the predicted parts start.
    pub scale_init: f32,
    /// How the state begins.
    pub widening: Widening,
    /// How it ends.
    pub narrowing: Narrowing,
    /// The groups of the norm of `group_norm_linear`.
    #[serde(default = "by_slot")]
    pub norm_group: NormGroup,
}

/// What runs had that began before the setting existed.
fn by_slot() -> NormGroup {
    NormGroup::Slot
}

impl Default for VirtualWidthConfig {
    fn default() -> Self {
        Self {
            fractions: 2,
            slots: 4,
            dynamic: true,
            tanh: true,
            norm: PredictorNorm::RmsNorm,
            tau: None,
            scale_init: 1.0,
            widening: Widening::default(),
            narrowing: Narrowing::default(),
            norm_group: NormGroup::Width,
        }
    }
}

impl Spec for VirtualWidthConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(VirtualWidth::new(self, site, b))
    }

    fn label(&self) -> String {
        let kind = if self.dynamic { "DGHC" } else { "GHC" };
        format!("{kind} {}/{}", self.slots, self.fractions)
    }

    fn citation(&self) -> &'static str {
        "Virtual Width Networks, ByteDance Seed, 2025, arXiv 2511.11238"
    }

    fn validate(&self, dim: usize) -> Result<(), String> {
        let Self {
            fractions, slots, ..
        } = *self;
        if fractions == 0 || !dim.is_multiple_of(fractions) {
            return Err(format!(
                "fractions is {fractions}, expected a divisor of dim {dim}"
            ));
        }
        check_streams("slots", slots)?;
        if slots < fractions {
            return Err(format!(
                "slots is {slots}, expected at least fractions {fractions}: the state is no \
                 narrower than the network"
            ));
        }
        let grouped = self.narrowing == Narrowing::GroupNormLinear;
        if grouped && self.norm_group == NormGroup::Width && !slots.is_multiple_of(fractions) {
            return Err(format!(
                "slots is {slots}, no multiple of fractions {fractions}: groups as wide as the \
                 network do not divide the state; set norm_group = \"slot\" or narrowing = \
                 \"mean_of_copies\""
            ));
        }
        if !self.scale_init.is_finite() {
            return Err(format!(
                "scale_init is {}, expected a number",
                self.scale_init
            ));
        }
        match self.tau {
            Some(tau) if !(tau.is_finite() && tau > 0.0) => {
                Err(format!("tau is {tau}, expected a positive number"))
            }
            _ => Ok(()),
        }
    }
}

/// The connection of one sublayer.
#[derive(Debug)]
struct VirtualWidth {
    config: VirtualWidthConfig,
    width: usize,
    eps: f32,
    static_alpha: ParamId,
    static_beta: ParamId,
    dynamic: Option<Dynamic>,
    /// What reads the slots out of the pieces of an embedding, `[m, n]`.
    replicate: Vec<f32>,
    /// What reads the pieces of a vector out of the slots, `[n, m]`.
    means: Vec<f32>,
    /// Of the first sublayer.
    widen: Option<Linear>,
    /// Of the last sublayer.
    narrow: Option<Linear>,
}

impl VirtualWidth {
    fn new(config: &VirtualWidthConfig, site: Site, b: &mut Builder) -> Self {
        let (m, n) = (config.fractions, config.slots);
        let width = site.dim / m;
        let (alpha, beta) = (Shape::from([n, m + n]), Shape::from([n, m]));
        let mut start = vec![0.0; n * (m + n)];
        for (i, row) in start.chunks_exact_mut(m + n).enumerate() {
            if i < m {
                row[i] = 1.0;
            }
            row[m + i] = 1.0;
        }
        let static_alpha = b.param("static_alpha", alpha, Decay::No, Init::Values(start));
        let copies = copies(m, n);
        let start = Init::Values(copies.clone());
        let static_beta = b.param("static_beta", beta, Decay::No, start);
        let dynamic = config.dynamic.then(|| {
            let scale = Init::Constant(config.scale_init);
            Dynamic {
                alpha_fn: b.param("dynamic_alpha_fn", [width, m + n], Decay::Yes, Init::Zeros),
                beta_fn: b.param("dynamic_beta_fn", [width, m], Decay::Yes, Init::Zeros),
                alpha_scale: b.param("dynamic_alpha_scale", alpha, Decay::No, scale.clone()),
                beta_scale: b.param("dynamic_beta_scale", beta, Decay::No, scale),
                norm: config.norm.register(b, width),
            }
        });
        let (dim, wide) = (site.dim, n * width);
        let widen = (site.index == 0 && config.widening == Widening::Linear).then(|| {
            let map = of_pieces(&copies, m, width);
            Linear::new(b, "widen", dim, wide, Init::Values(map))
        });
        let last = site.index + 1 == site.count;
        let narrow = (last && config.narrowing == Narrowing::GroupNormLinear).then(|| {
            let map = of_pieces(&transposed(&means(m, n), m), n, width);
            Linear::new(b, "narrow", wide, dim, Init::Values(map))
        });
        Self {
            config: config.clone(),
            width,
            eps: site.eps,
            static_alpha,
            static_beta,
            dynamic,
            replicate: transposed(&copies, m),
            means: means(m, n),
            widen,
            narrow,
        }
    }

    fn coefficients<'t>(&self, tape: &'t Tape, slots: Slots, state: Var<'t>) -> (Var<'t>, Var<'t>) {
        let (alpha, beta) = (tape.param(self.static_alpha), tape.param(self.static_beta));
        match &self.dynamic {
            Some(dynamic) => dynamic.of_slots(
                slots,
                state,
                (alpha, beta),
                self.eps,
                self.config.tanh,
                self.config.tau.unwrap_or((self.width as f32).sqrt()),
            ),
            None => (alpha, beta),
        }
    }
}

impl Connection for VirtualWidth {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        let (m, n) = (self.config.fractions, self.config.slots);
        State::new(match &self.widen {
            Some(widen) => widen.forward(embedding),
            None => {
                let pieces = Slots::of_fractions("virtual_width", embedding, m, n);
                let replicate = embedding.tape().constant([m, n], &self.replicate);
                read(pieces, embedding, replicate)
            }
        })
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let tape = hidden.tape();
        let (m, n) = (self.config.fractions, self.config.slots);
        let slots = Slots::of_fractions("virtual_width", hidden, n, m);
        let (alpha, beta) = self.coefficients(tape, slots, hidden);
        let input = read(slots, hidden, alpha);
        tape.probe("hidden", hidden);
        tape.probe("alpha", alpha);
        tape.probe("beta", beta);
        let output = sublayer.pre_normed(input);
        State::new(write(slots, WriteForm::Full, hidden, alpha, beta, output))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let (m, n) = (self.config.fractions, self.config.slots);
        match &self.narrow {
            Some(narrow) => {
                let group = match self.config.norm_group {
                    NormGroup::Width => m * self.width,
                    NormGroup::Slot => self.width,
                };
                narrow.forward(group_norm(state.hidden, group, self.eps))
            }
            None => {
                let slots = Slots::of_fractions("virtual_width", state.hidden, n, m);
                let means = state.hidden.tape().constant([n, m], &self.means);
                read(slots, state.hidden, means)
            }
        }
    }

    /// With slots of w numbers: read and write `2 n m w` each, the mix `2 n² w`; the
    /// predictors `2 n w (2 m + n)` and their norm about 8 per element.
    fn account(&self) -> Account {
        let (m, n, w) = (self.config.fractions, self.config.slots, self.width);
        let products = 4 * n * m * w + 2 * n * n * w;
        let (predictor, coefficients) = match &self.dynamic {
            Some(dynamic) => {
                let norm = if dynamic.norm.is_some() { 8 * n * w } else { 0 };
                let count = n * (2 * m + n);
                (2 * w * count + norm + 3 * count, 2 * count)
            }
            None => (0, 0),
        };
        Account {
            flops: products + predictor,
            saved: n * w + m * w + coefficients,
        }
    }
}
