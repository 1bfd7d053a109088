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

use super::{
    Account, Connection, Site, Spec, State, Sublayer,
    hyper::{PredictorNorm, kernels::slots::WriteForm, ops::PredictorNormParams},
    slot_predictor::{SlotPredictor, predict},
    slots::{Slots, read, write},
};
use crate::linear::Linear;
use engine::{
    kernels::norm,
    op::{Backward, Forward, Op},
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::{Tape, Var},
};
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
    /// The paper's: every slot normalised, then a learned map, which starts as
    /// `mean_of_copies`. (Weight and bias of the group norm are left to that map and the
    /// final norm.)
    #[default]
    GroupNormLinear,
    /// Piece i is the mean of the slots j with `j mod m = i`. With it, the network starts
    /// as pre-norm's.
    MeanOfCopies,
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
    /// The norm before the prediction.
    pub norm: PredictorNorm,
    /// What the projection is divided by; the root of a slot's width if it is left out.
    pub tau: Option<f32>,
    /// How the scales of the predicted parts start.
    pub scale_init: f32,
    /// How the state begins.
    pub widening: Widening,
    /// How it ends.
    pub narrowing: Narrowing,
}

impl Default for VirtualWidthConfig {
    fn default() -> Self {
        Self {
            fractions: 2,
            slots: 4,
            dynamic: true,
            tanh: true,
            norm: PredictorNorm::default(),
            tau: None,
            scale_init: 1.0,
            widening: Widening::default(),
            narrowing: Narrowing::default(),
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
        if slots < fractions {
            return Err(format!(
                "slots is {slots}, expected at least fractions {fractions}: the state is no \
                 narrower than the network"
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

#[derive(Debug)]
struct Dynamic {
    alpha_fn: ParamId,
    beta_fn: ParamId,
    alpha_scale: ParamId,
    beta_scale: ParamId,
    norm: Option<(ParamId, Option<ParamId>)>,
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
        let Some(dynamic) = &self.dynamic else {
            return (alpha, beta);
        };
        let root = (self.width as f32).sqrt();
        let params = SlotPredictor {
            alpha_fn: tape.param(dynamic.alpha_fn),
            beta_fn: tape.param(dynamic.beta_fn),
            static_alpha: alpha,
            static_beta: beta,
            alpha_scale: tape.param(dynamic.alpha_scale),
            beta_scale: tape.param(dynamic.beta_scale),
            norm: PredictorNormParams::of(tape, dynamic.norm),
            eps: self.eps,
            tanh: self.config.tanh,
            tau: self.config.tau.unwrap_or(root),
        };
        predict(slots, state, &params)
    }
}

/// `[n, m]`: 1 where slot j has a copy of piece i, `j mod m = i`.
fn copies(m: usize, n: usize) -> Vec<f32> {
    let element = |at: usize| f32::from(at / m % m == at % m);
    (0..n * m).map(element).collect()
}

/// `[n, m]`: what takes the mean of all copies of a piece.
fn means(m: usize, n: usize) -> Vec<f32> {
    let mut means = copies(m, n);
    for (at, mean) in means.iter_mut().enumerate() {
        let piece = at % m;
        *mean /= (piece..n).step_by(m).count() as f32;
    }
    means
}

/// The transpose of a matrix of `columns` columns.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let element = |at: usize| matrix[at % rows * columns + at / rows];
    (0..matrix.len()).map(element).collect()
}

/// What a matrix of `columns` columns does to numbers, done to pieces of `width` numbers:
/// every element times the identity.
fn of_pieces(matrix: &[f32], columns: usize, width: usize) -> Vec<f32> {
    let wide = columns * width;
    let mut out = vec![0.0; matrix.len() * width * width];
    for (at, &value) in matrix.iter().enumerate() {
        for c in 0..width {
            out[(at / columns * width + c) * wide + at % columns * width + c] = value;
        }
    }
    out
}

struct SlotNorm {
    width: usize,
    eps: f32,
}

impl Op for SlotNorm {
    fn name(&self) -> &'static str {
        "slot_norm"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y, stats] = cx.outputs();
        norm::layer_norm(y, stats, x, self.width, None, None, self.eps);
    }

    /// That of a layer norm of every slot.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x] = cx.inputs();
        let [_, stats] = cx.outputs();
        let dx = cx.input_grad(0);
        norm::layer_norm_backward(dx, None, None, cx.grad(), x, self.width, None, stats);
    }
}

/// A group norm without parameters: every slot of `width` numbers of the state `[.., n *
/// width]` less its mean, over its standard deviation.
///
/// # Panics
/// If the slots do not divide the state.
#[track_caller]
fn slot_norm(x: Var<'_>, width: usize, eps: f32) -> Var<'_> {
    let shape = x.shape();
    let stats = Shape::from([2 * shape.len() / width]);
    let op = SlotNorm { width, eps };
    let [y, _] = x.tape().apply(op, &[x], [shape, stats]);
    y
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
            Some(narrow) => narrow.forward(slot_norm(state.hidden, self.width, self.eps)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn the_norm_of_slots_has_the_gradient_of_its_formula() {
        let width = 5;
        Check::new(
            "slot_norm",
            vec![CheckInput::normal([2, 15], 1.0, 1)],
            |_, v: &[Var<'_>]| vec![slot_norm(v[0], width, 1e-2)],
            |x| {
                let slots = x[0].chunks(width).flat_map(|slot| {
                    let mean = slot.iter().sum::<f64>() / width as f64;
                    let square = slot.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
                    let root = (square / width as f64 + f64::from(1e-2_f32)).sqrt();
                    slot.iter().map(move |x| (x - mean) / root)
                });
                vec![slots.collect()]
            },
        )
        .run();
    }

    #[test]
    fn pieces_and_their_copies() {
        assert_eq!(copies(2, 3), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(means(2, 3), [0.5, 0.0, 0.0, 1.0, 0.5, 0.0]);
        assert_eq!(transposed(&copies(2, 3), 2), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(
            of_pieces(&[1.0, 2.0], 2, 2),
            [
                1.0, 0.0, 2.0, 0.0, //
                0.0, 1.0, 0.0, 2.0
            ]
        );
    }
}
