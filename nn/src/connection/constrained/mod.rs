//! Hyper-connections whose coefficients are constrained: mHC and its relatives.
//!
//! All of them predict from the whole state of a token, flattened, and differ in the rule
//! that makes a mixing matrix of its logits (mHC, Eq. 7 and 8):
//!
//! ```text
//! x⃗      = RMSNorm(vec(H))                         over all n d numbers
//! H_pre  = sigmoid(alpha_pre x⃗ phi_pre + b_pre)
//! H_post = 2 sigmoid(alpha_post x⃗ phi_post + b_post)
//! H_res  = rule(alpha_res x⃗ phi_res + b_res)
//! H      = H_res H + H_postᵀ T(H_pre H)
//! ```
//! `H_res` multiplies from the left, so its rows are destinations. What is stored and shown
//! is `[A_m | A_r]` with the source in the row, as everywhere: `A_m = H_preᵀ`, `A_r =
//! H_resᵀ`, `B = H_post`.

pub mod kernels;
pub mod ops;

use super::{
    Account, Connection, Site, State, Sublayer, check_streams,
    hyper::{kernels::slots::WriteForm, ops::depth_connection},
    reduction::{Reducer, Reduction},
    slots::{Slots, edited, read, write},
};
use engine::{
    ops::replicate,
    params::{Builder, Decay, Init, ParamId},
    tape::{Tape, Var},
};
use kernels::Rule;
use ops::{coefficients, flat_projection};
use serde::{Deserialize, Serialize};

/// How a constrained connection starts. The mHC paper publishes `alpha = 0.01` only; its
/// biases and projections are what others have chosen since. k is the number of the
/// sublayer, n the rate; "off" is every logit of the mix that takes from the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstrainedInit {
    /// The released code of mHC-lite and KromHC: phi 0; `b_pre` and `b_post` 1 at stream k
    /// mod n and -1 elsewhere; `b_res` 0 for the identity and -8 off. The mix then starts
    /// saturated and hardly learns in short runs.
    #[default]
    MhcLiteCode,
    /// hyper-connection-factory: phi normal with standard deviation 0.02, all biases 0:
    /// uniform reads and, where the rule allows, uniform mixing.
    FactoryCode,
    /// A home stream: phi 0, `b_pre` 3 at stream k mod n and -3 elsewhere, `b_post` 0 (the
    /// write is 1), `b_res` 3 for the identity and -3 off (6 I - 3).
    HomeStream,
    /// As `mhc_lite_code` with -2 instead of -8: a mix that is free to learn.
    Mild,
}

impl ConstrainedInit {
    fn phi(self) -> Init {
        match self {
            Self::FactoryCode => Init::Normal { std: 0.02 },
            _ => Init::Zeros,
        }
    }

    /// At the stream of the sublayer, and elsewhere.
    fn read_bias(self) -> [f32; 2] {
        match self {
            Self::MhcLiteCode | Self::Mild => [1.0, -1.0],
            Self::FactoryCode => [0.0, 0.0],
            Self::HomeStream => [3.0, -3.0],
        }
    }

    fn write_bias(self) -> [f32; 2] {
        match self {
            Self::MhcLiteCode | Self::Mild => [1.0, -1.0],
            Self::FactoryCode | Self::HomeStream => [0.0, 0.0],
        }
    }

    /// For the identity, and off.
    fn mix_bias(self) -> [f32; 2] {
        match self {
            Self::MhcLiteCode => [0.0, -8.0],
            Self::FactoryCode => [0.0, 0.0],
            Self::HomeStream => [3.0, -3.0],
            Self::Mild => [0.0, -2.0],
        }
    }
}

/// What the members of the family have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub rate: usize,
    pub rule: Rule,
    pub init: ConstrainedInit,
    pub scale_init: f32,
    pub reduction: Reduction,
}

impl Settings {
    /// What is wrong whatever the rule.
    pub(super) fn validate(&self) -> Result<(), String> {
        check_streams("rate", self.rate)?;
        if !self.scale_init.is_finite() {
            return Err(format!(
                "scale_init is {}, expected a number",
                self.scale_init
            ));
        }
        Ok(())
    }

    /// Whether nothing that the mix of this sublayer does can reach the loss, so that its
    /// parameters are declared frozen instead of following rounding errors.
    ///
    /// The streams of the first sublayer are alike, and rows of `H_res` that sum to 1 leave
    /// them so. Before a sum or a mean of the streams, columns that sum to 1 change
    /// nothing; those of Sinkhorn do so to the accuracy that it has reached only.
    fn mixes_in_vain(&self, site: Site) -> bool {
        let (rows, columns) = match self.rule {
            Rule::Identity | Rule::Cayley => (false, false),
            Rule::Sinkhorn { .. } => (true, false),
            Rule::Permutations | Rule::Kronecker => (true, true),
        };
        let is_last = site.index + 1 == site.count;
        (rows && site.index == 0) || (columns && is_last && self.reduction.is_uniform())
    }

    pub(super) fn build(self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(Constrained::new(self, site, b))
    }
}

/// Projection, scale and bias of one family of logits.
#[derive(Debug)]
struct Family {
    phi: ParamId,
    scale: ParamId,
    bias: ParamId,
}

impl Family {
    /// Registers `phi_NAME`, `alpha_NAME` and `bias_NAME`.
    fn new(b: &mut Builder, name: &str, settings: &Settings, inputs: usize, bias: Bias) -> Self {
        let columns = bias.start.len();
        let scale = Init::Constant(settings.scale_init);
        let phi = format!("phi_{name}");
        let bias_init = Init::Values(bias.start);
        let bias_name = format!("bias_{name}");
        Self {
            phi: b.param(&phi, [inputs, columns], Decay::Yes, settings.init.phi()),
            scale: b.param(&format!("alpha_{name}"), [1], Decay::No, scale),
            bias: match bias.square {
                Some(n) => b.param(&bias_name, [n, n], Decay::No, bias_init),
                None => b.param(&bias_name, [columns], Decay::No, bias_init),
            },
        }
    }

    fn scale_and_bias<'t>(&self, tape: &'t Tape) -> (Var<'t>, Var<'t>) {
        (tape.param(self.scale), tape.param(self.bias))
    }
}

/// How a bias starts, and whether it is stored as a square matrix.
struct Bias {
    start: Vec<f32>,
    square: Option<usize>,
}

impl Bias {
    fn at_stream(n: usize, stream: usize, [there, elsewhere]: [f32; 2]) -> Self {
        let start = (0..n).map(|i| if i == stream { there } else { elsewhere });
        Self {
            start: start.collect(),
            square: None,
        }
    }
}

/// The connection of one sublayer.
#[derive(Debug)]
struct Constrained {
    settings: Settings,
    dim: usize,
    eps: f32,
    norm_weight: ParamId,
    read: Family,
    write: Family,
    mix: Option<Family>,
    /// Whether the mix is made of probabilities, which saturate, and is to learn.
    may_saturate: bool,
    reducer: Reducer,
}

impl Constrained {
    fn new(settings: Settings, site: Site, b: &mut Builder) -> Self {
        let Settings { rate: n, rule, .. } = settings;
        let (inputs, stream) = (n * site.dim, site.index % n);
        let init = settings.init;
        let read = Bias::at_stream(n, stream, init.read_bias());
        let write = Bias::at_stream(n, stream, init.write_bias());
        let [on, off] = init.mix_bias();
        let mix = Bias {
            start: rule.logits_near_identity(n, on, off),
            square: matches!(rule, Rule::Sinkhorn { .. }).then_some(n),
        };
        Self {
            settings,
            dim: site.dim,
            eps: site.eps,
            norm_weight: b.param("norm.weight", [inputs], Decay::No, Init::Ones),
            read: Family::new(b, "pre", &settings, inputs, read),
            write: Family::new(b, "post", &settings, inputs, write),
            mix: (rule.logits(n) > 0).then(|| {
                let idle = settings.mixes_in_vain(site);
                b.frozen_if(idle, |b| Family::new(b, "res", &settings, inputs, mix))
            }),
            may_saturate: !matches!(rule, Rule::Identity | Rule::Cayley)
                && rule.logits(n) > 0
                && !settings.mixes_in_vain(site),
            reducer: Reducer::new(settings.reduction, n, site, b),
        }
    }

    /// `[A_m | A_r]` and B of every token.
    fn coefficients<'t>(&self, slots: Slots, state: Var<'t>) -> (Var<'t>, Var<'t>) {
        let tape = state.tape();
        let mut phis = [tape.param(self.read.phi), tape.param(self.write.phi), state];
        let mut count = 2;
        if let Some(mix) = &self.mix {
            phis[2] = tape.param(mix.phi);
            count = 3;
        }
        let weight = Some(tape.param(self.norm_weight));
        let projected = flat_projection(state, &phis[..count], weight, self.eps);
        coefficients(
            slots,
            self.settings.rule,
            projected,
            self.read.scale_and_bias(tape),
            self.write.scale_and_bias(tape),
            self.mix.as_ref().map(|mix| mix.scale_and_bias(tape)),
        )
    }
}

impl Connection for Constrained {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(replicate(embedding, self.settings.rate))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let tape = hidden.tape();
        let slots = Slots::of_streams("constrained", hidden, 1);
        let (mut alpha, mut beta) = self.coefficients(slots, hidden);
        let mut input = read(slots, hidden, alpha);
        let edited = edited(slots, hidden, alpha, beta);
        // Without a mix of its own it is I, unless an editor says otherwise.
        let mixes = self.mix.is_some() || edited.is_some();
        if let Some(edited) = edited {
            (alpha, beta, input) = (edited.alpha, edited.beta, edited.input);
        }
        tape.probe("hidden", hidden);
        tape.probe("alpha", alpha);
        if self.may_saturate {
            tape.probe("stochastic_alpha", alpha);
        }
        tape.probe("beta", beta);
        let output = sublayer.pre_normed(input);
        State::new(match mixes {
            true => write(slots, WriteForm::Full, hidden, alpha, beta, output),
            false => depth_connection(hidden, beta, output),
        })
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        self.reducer.reduce(state.hidden)
    }

    /// Read and write, `2 d n` each, the mix `2 d n²`, the norm `2 d n` and the projection
    /// `2 d n` per column; the rule about 4 per element and normalisation of Sinkhorn, and
    /// little otherwise.
    fn account(&self) -> Account {
        let (n, d) = (self.settings.rate, self.dim);
        let logits = self.settings.rule.logits(n);
        let mixing = if logits > 0 { 2 * d * n * n } else { 0 };
        let rule = match self.settings.rule {
            Rule::Identity => 0,
            Rule::Sinkhorn { iterations } => 8 * iterations * n * n,
            Rule::Permutations => (3 + n) * logits,
            Rule::Kronecker => 3 * logits + n * logits / 2,
            Rule::Cayley => 2 * n * n * n,
        };
        let columns = 2 * n + logits;
        Account {
            flops: 4 * d * n + mixing + 2 * d * n * (columns + 1) + 4 * columns + rule,
            saved: n * d + d + columns + 1 + n * (n + 2),
        }
    }
}
