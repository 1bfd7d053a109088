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
    Connection, Cost, PredictorNorm, Site, Spec, State, Sublayer, check_streams, expect_number,
    ops::group_norm,
    streams::{
        ops::{Slots, read, write},
        predictor::PredictorForm,
        slot_coefficients::{SlotCoefficients, SlotSizes},
        slots::WriteForm,
    },
};
use crate::linear::Linear;
use engine::{
    params::{Builder, Init},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// The map from an embedding of the network's width to the wide state. The paper embeds tokens
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

/// The map from the wide state to a vector of the network's width before the final norm.
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

words!(Widening, Narrowing, NormGroup);

settings! {
    /// Generalised hyper-connections, static or dynamic, of n `slots` of width `d / m`, m the
    /// `fractions` of the width: `x = concat(Aᵀ H)`, `H' = Âᵀ H + Bᵀ split(T(x))` with A `[n, m]`,
    /// Â `[n, n]` and B `[m, n]`, to which the dynamic form adds `S ∘ tanh(norm(H) W / tau)`.
    ///
    /// Source: Virtual Width Networks, ByteDance Seed, 2025, arXiv 2511.11238.
    pub struct VirtualWidthConfig {
        /// Into how many pieces m the network's width is cut.
        pub fractions: usize = 2,
        /// Number of slots n of the state, at least m; the virtual width is n / m times the
        /// width.
        pub slots: usize = 4,
        /// A part of the coefficients is predicted from the slots.
        pub dynamic: bool = true,
        /// The prediction goes through tanh.
        pub tanh: bool = true,
        /// The norm before the prediction: RMS norm in the paper.
        pub norm: PredictorNorm = PredictorNorm::RmsNorm,
        /// Divisor of the projection; the root of a slot's width if it is left out.
        pub tau: Option<f32> = None,
        /// Initial scales of the predicted parts.
        pub scale_init: f32 = 1.0,
        /// The map to the first state.
        pub widening: Widening = Widening::default(),
        /// The map from the last state.
        pub narrowing: Narrowing = Narrowing::default(),
        /// The groups of the norm of `group_norm_linear`.
        pub norm_group: NormGroup [absent: NormGroup::Slot] = NormGroup::Width,
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
        expect_number("scale_init", self.scale_init)?;
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
    coefficients: SlotCoefficients,
    /// The matrix that reads the slots out of the pieces of an embedding, `[m, n]`.
    replicate: Vec<f32>,
    /// The matrix that reads the pieces of a vector out of the slots, `[n, m]`.
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
        let mut start = vec![0.0; n * (m + n)];
        for (i, row) in start.chunks_exact_mut(m + n).enumerate() {
            if i < m {
                row[i] = 1.0;
            }
            row[m + i] = 1.0;
        }
        let copies = copies(m, n);
        let sizes = SlotSizes {
            width,
            alpha: [n, m + n].into(),
            beta: [n, m].into(),
            scale_each: true,
        };
        let form = PredictorForm {
            norm: config.norm,
            eps: site.eps,
            tanh: config.tanh,
        };
        let dynamic = config.dynamic.then_some((form, config.scale_init));
        let start = [Init::Values(start), Init::Values(copies.clone())];
        let coefficients = SlotCoefficients::register(b, &sizes, start, dynamic);
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
            coefficients,
            replicate: transposed(&copies, m),
            means: means(m, n),
            widen,
            narrow,
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
        let (m, n) = (self.config.fractions, self.config.slots);
        let slots = Slots::of_fractions("virtual_width", hidden, n, m);
        let tau = self.config.tau.unwrap_or((self.width as f32).sqrt());
        let coefficients = self.coefficients.of(slots, hidden, tau);
        let input = read(slots, hidden, coefficients.alpha);
        coefficients.show(hidden);
        let output = sublayer.pre_normed(input);
        State::new(write(slots, WriteForm::Full, hidden, coefficients, output))
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
    fn cost(&self) -> Cost {
        let (m, n, w) = (self.config.fractions, self.config.slots, self.width);
        let products = 4 * n * m * w + 2 * n * n * w;
        let (predictor, coefficients) = self.coefficients.cost(n, w, 2 * m + n);
        Cost::new(products + predictor, n * w + m * w + coefficients)
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

/// The map of a matrix of `columns` columns, for pieces of `width` numbers:
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

#[cfg(test)]
mod tests {
    use super::*;

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
