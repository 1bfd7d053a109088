//! Frac-connections (Zhu et al., 2025, arXiv 2503.14125): a hidden vector of the usual
//! width, cut into m fractions that are connected as the streams of hyper-connections.
//!
//! The state is `H = reshape(h, [m, d / m])`. The sublayer reads m mixtures of the
//! fractions, concatenated, and each fraction takes its own piece of the output:
//!
//! ```text
//! x  = concat(Yᵀ H)
//! Ĥ  = Aᵀ H + diag(B) split(T(x))
//! ```
//! with `[Y | A]` `[m, 2m]`, the row the source, and B `[m]`, all static (SFC) or with a
//! part predicted from each fraction (DFC), `s tanh(norm(H) W) + static` with the norm over
//! d / m. At the start W = 0, Y = A = I and B = 1: the network is pre-norm's.

use super::{
    Account, Connection, Site, Spec, State, Sublayer, check_streams,
    dynamic::Dynamic,
    hyper::{PredictorNorm, kernels::slots::WriteForm},
    slots::{Slots, read, write},
};
use engine::{
    params::{Builder, Decay, Init, ParamId},
    tape::{Tape, Var},
};
use serde::{Deserialize, Serialize};

/// Frac-connections, static or dynamic: the state `[.., d]` as m fractions `H [.., m, d / m]`,
/// `x = concat(Yᵀ H)`, `Ĥ = Aᵀ H + diag(B) split(T(x))` with `[Y | A]` `[m, 2m]` and B `[m]`,
/// to which the dynamic form adds `s tanh(norm(H) W)`.
///
/// Source: Zhu et al., Frac-Connections: Fractional Extension of Hyper-Connections, 2025,
/// arXiv 2503.14125.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FracConfig {
    /// How many fractions m; they divide the width.
    pub fractions: usize,
    /// Whether the coefficients have a part predicted from the fractions.
    pub dynamic: bool,
    /// Whether the prediction goes through tanh.
    pub tanh: bool,
    /// The norm before the prediction.
    pub norm: PredictorNorm,
    /// How the scales of the predicted parts start.
    pub scale_init: f32,
}

impl Default for FracConfig {
    fn default() -> Self {
        Self {
            fractions: 4,
            dynamic: true,
            tanh: true,
            norm: PredictorNorm::default(),
            scale_init: 0.01,
        }
    }
}

impl Spec for FracConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(Frac::new(self, site, b))
    }

    fn label(&self) -> String {
        let kind = if self.dynamic { "DFC" } else { "SFC" };
        let mut label = format!("{kind} x{}", self.fractions);
        if self.dynamic && !self.tanh {
            label.push_str(" w/o tanh");
        }
        label
    }

    fn citation(&self) -> &'static str {
        "Zhu et al., Frac-Connections: Fractional Extension of Hyper-Connections, 2025, arXiv \
         2503.14125"
    }

    fn validate(&self, dim: usize) -> Result<(), String> {
        if self.fractions == 0 || !dim.is_multiple_of(self.fractions) {
            return Err(format!(
                "fractions is {}, expected a divisor of dim {dim}",
                self.fractions
            ));
        }
        check_streams("fractions", self.fractions)?;
        if !self.scale_init.is_finite() {
            return Err(format!(
                "scale_init is {}, expected a number",
                self.scale_init
            ));
        }
        Ok(())
    }
}

/// The frac-connection of one sublayer.
#[derive(Debug)]
struct Frac {
    config: FracConfig,
    dim: usize,
    eps: f32,
    static_alpha: ParamId,
    static_beta: ParamId,
    dynamic: Option<Dynamic>,
}

impl Frac {
    fn new(config: &FracConfig, site: Site, b: &mut Builder) -> Self {
        let m = config.fractions;
        let width = site.dim / m;
        let static_alpha = b.param(
            "static_alpha",
            [m, 2 * m],
            Decay::No,
            Init::Values(two_identities(m)),
        );
        let static_beta = b.param("static_beta", [m], Decay::No, Init::Ones);
        let dynamic = config.dynamic.then(|| {
            let scale = Init::Constant(config.scale_init);
            Dynamic {
                alpha_fn: b.param("dynamic_alpha_fn", [width, 2 * m], Decay::Yes, Init::Zeros),
                beta_fn: b.param("dynamic_beta_fn", [width], Decay::Yes, Init::Zeros),
                alpha_scale: b.param("dynamic_alpha_scale", [1], Decay::No, scale.clone()),
                beta_scale: b.param("dynamic_beta_scale", [1], Decay::No, scale),
                norm: config.norm.register(b, width),
            }
        });
        Self {
            config: config.clone(),
            dim: site.dim,
            eps: site.eps,
            static_alpha,
            static_beta,
            dynamic,
        }
    }

    /// `[Y | A]` and B, per token or for all.
    fn coefficients<'t>(&self, tape: &'t Tape, slots: Slots, state: Var<'t>) -> (Var<'t>, Var<'t>) {
        let (alpha, beta) = (tape.param(self.static_alpha), tape.param(self.static_beta));
        match &self.dynamic {
            Some(dynamic) => {
                dynamic.of_slots(slots, state, (alpha, beta), self.eps, self.config.tanh, 1.0)
            }
            None => (alpha, beta),
        }
    }
}

/// `[I | I]`, `[m, 2m]`.
fn two_identities(m: usize) -> Vec<f32> {
    let mut alpha = vec![0.0; 2 * m * m];
    for (i, row) in alpha.chunks_exact_mut(2 * m).enumerate() {
        row[i] = 1.0;
        row[m + i] = 1.0;
    }
    alpha
}

impl Connection for Frac {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(embedding)
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let tape = hidden.tape();
        let m = self.config.fractions;
        let slots = Slots::of_fractions("frac", hidden, m, m);
        let (alpha, beta) = self.coefficients(tape, slots, hidden);
        let input = read(slots, hidden, alpha);
        tape.probe("hidden", hidden);
        tape.probe("alpha", alpha);
        tape.probe("beta", beta);
        let output = sublayer.pre_normed(input);
        State::new(write(
            slots,
            WriteForm::Diagonal,
            hidden,
            alpha,
            beta,
            output,
        ))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        state.hidden
    }

    /// Read and mix, `2 d m` each, and write, `2 d`; the predictors `2 d (2 m + 1)` and
    /// their norm about 8 per element.
    fn account(&self) -> Account {
        let (m, d) = (self.config.fractions, self.dim);
        let products = 4 * d * m + 2 * d;
        let (predictor, coefficients) = match &self.dynamic {
            Some(dynamic) => {
                let norm = if dynamic.norm.is_some() { 8 * d } else { 0 };
                let count = m * (2 * m + 1);
                (2 * d * (2 * m + 1) + norm + 3 * count, 2 * count)
            }
            None => (0, 0),
        };
        Account {
            flops: products + predictor,
            saved: 2 * d + coefficients,
        }
    }
}
