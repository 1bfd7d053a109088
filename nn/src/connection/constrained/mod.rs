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
//! JPmHC has a layer norm, softmaxes for the sigmoids, fixed factors and no biases.
//!
//! `H_res` multiplies from the left, so its rows are destinations. What is stored and shown
//! is `[A_m | A_r]` with the source in the row, as everywhere: `A_m = H_preᵀ`, `A_r =
//! H_resᵀ`, `B = H_post`.

mod init;
pub mod kernels;
pub mod ops;

pub use init::ConstrainedInit;

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
use kernels::{Gates, Rule};
use ops::{FlatNorm, coefficients, flat_projection};

/// An eps below any mean square: a norm with it removes every factor.
const NEGLIGIBLE_EPS: f32 = 1e-8;

/// The most iterations that make a mix: the backward keeps every one of them.
pub(super) const MOST_ITERATIONS: usize = 10_000;

/// What the members of the family have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub rate: usize,
    pub rule: Rule,
    pub form: Form,
    pub reduction: Reduction,
}

/// How logits are made of the state, and read and write of their logits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// mHC's: `scale * projection + bias` with a scale that starts at `scale_init`, sigmoids.
    Mhc {
        init: ConstrainedInit,
        scale_init: f32,
    },
    /// JPmHC's: the projection itself, times `mix_scale` for the mix, softmax.
    JpmHc { mix_scale: f32 },
}

impl Form {
    fn gates(self) -> Gates {
        match self {
            Self::Mhc { .. } => Gates::Sigmoid,
            Self::JpmHc { .. } => Gates::Softmax,
        }
    }

    fn norm(self) -> FlatNorm {
        match self {
            Self::Mhc { .. } => FlatNorm::Rms,
            Self::JpmHc { .. } => FlatNorm::Layer,
        }
    }

    fn is_mild(self) -> bool {
        matches!(self, Self::Mhc { init, .. } if init == ConstrainedInit::Mild)
    }

    /// Without biases only the projection can tell the streams apart.
    fn phi(self) -> Init {
        match self {
            Self::Mhc { init, .. } => init.phi(),
            Self::JpmHc { .. } => ConstrainedInit::FactoryCode.phi(),
        }
    }
}

impl Settings {
    /// What is wrong whatever the rule.
    pub(super) fn validate(&self) -> Result<(), String> {
        check_streams("rate", self.rate)?;
        match self.form {
            Form::Mhc { scale_init, .. } if !scale_init.is_finite() => {
                Err(format!("scale_init is {scale_init}, expected a number"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the read of this sublayer cannot reach the loss, so that its parameters are declared
    /// frozen instead of following rounding errors: where the streams are alike, as in front of the
    /// first sublayer, or where there is one, a read is a factor, and the norm of the sublayer
    /// removes it as far as its eps is nothing. (Reads whose weights sum to 1 are the factor 1.)
    fn reads_in_vain(&self, site: Site) -> bool {
        let removed = site.eps <= NEGLIGIBLE_EPS || self.form.gates() == Gates::Softmax;
        (site.index == 0 || self.rate == 1) && removed
    }

    /// The same of the write: before a sum or a mean of the streams, it is the sum of its weights
    /// that counts, which is n for softmaxes.
    fn writes_in_vain(&self, site: Site) -> bool {
        self.form.gates() == Gates::Softmax && self.ends_uniformly(site)
    }

    /// The same of the mix: rows of `H_res` that sum to 1 leave streams alike that are so, as those
    /// of the first sublayer, and columns that sum to 1 change nothing before a sum or a mean. Those
    /// of Sinkhorn do so to the accuracy that it has reached: that of rounding after 20 iterations
    /// from a mild start.
    fn mixes_in_vain(&self, site: Site) -> bool {
        let (rows, columns) = match self.rule {
            Rule::Identity | Rule::Cayley | Rule::CayleySteps { .. } => (false, false),
            Rule::Sinkhorn { iterations } => (true, iterations >= 20 && self.form.is_mild()),
            Rule::Permutations | Rule::Kronecker => (true, true),
        };
        (rows && site.index == 0) || (columns && self.ends_uniformly(site))
    }

    /// Whether a sum or a mean of the streams comes next.
    fn ends_uniformly(&self, site: Site) -> bool {
        site.index + 1 == site.count && self.reduction.is_uniform()
    }

    pub(super) fn build(self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(Constrained::new(self, site, b))
    }
}

/// Projection, scale and bias of one family of logits.
#[derive(Debug)]
struct Family {
    phi: ParamId,
    affine: FamilyAffine,
}

/// What a projection is scaled with and what is added to it.
#[derive(Debug)]
enum FamilyAffine {
    Learned { scale: ParamId, bias: ParamId },
    Fixed { scale: f32, zeros: Vec<f32> },
}

impl Family {
    /// Registers `phi_NAME` and, where they are learned, `alpha_NAME` and `bias_NAME`.
    fn new(b: &mut Builder, name: &str, settings: &Settings, inputs: usize, bias: Bias) -> Self {
        let columns = bias.start.len();
        let phi = format!("phi_{name}");
        Self {
            phi: b.param(&phi, [inputs, columns], Decay::Yes, settings.form.phi()),
            affine: match settings.form {
                Form::Mhc { scale_init, .. } => {
                    let scale = Init::Constant(scale_init);
                    let bias_init = Init::Values(bias.start);
                    let bias_name = format!("bias_{name}");
                    FamilyAffine::Learned {
                        scale: b.param(&format!("alpha_{name}"), [1], Decay::No, scale),
                        bias: match bias.square {
                            Some(n) => b.param(&bias_name, [n, n], Decay::No, bias_init),
                            None => b.param(&bias_name, [columns], Decay::No, bias_init),
                        },
                    }
                }
                Form::JpmHc { mix_scale } => FamilyAffine::Fixed {
                    scale: if name == "res" { mix_scale } else { 1.0 },
                    zeros: vec![0.0; columns],
                },
            },
        }
    }

    fn scale_and_bias<'t>(&self, tape: &'t Tape) -> (Var<'t>, Var<'t>) {
        match &self.affine {
            FamilyAffine::Learned { scale, bias } => (tape.param(*scale), tape.param(*bias)),
            FamilyAffine::Fixed { scale, zeros } => (
                tape.constant([1], &[*scale]),
                tape.constant([zeros.len()], zeros),
            ),
        }
    }
}

/// How a bias starts, and whether it is stored as a square matrix.
struct Bias {
    start: Vec<f32>,
    square: Option<usize>,
}

impl Bias {
    /// Of this many logits, each 0.
    fn none(logits: usize) -> Self {
        Self {
            start: vec![0.0; logits],
            square: None,
        }
    }

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
        let init = match settings.form {
            Form::Mhc { init, .. } => init,
            Form::JpmHc { .. } => ConstrainedInit::FactoryCode,
        };
        let gate = |biases: [f32; 2]| match settings.form {
            Form::Mhc { .. } => Bias::at_stream(n, stream, biases),
            Form::JpmHc { .. } => Bias::none(settings.form.gates().logits(n)),
        };
        let (read, write) = (gate(init.read_bias()), gate(init.write_bias()));
        let [on, off] = init.mix_bias();
        let mix = Bias {
            start: rule.logits_near_identity(n, on, off),
            square: matches!(rule, Rule::Sinkhorn { .. }).then_some(n),
        };
        // A softmax of one stream is 1 whatever its logit.
        let decided = n == 1 && settings.form.gates() == Gates::Softmax;
        let norm_weight = b.frozen_if(decided, |b| {
            b.param("norm.weight", [inputs], Decay::No, Init::Ones)
        });
        let read = b.frozen_if(decided || settings.reads_in_vain(site), |b| {
            Family::new(b, "pre", &settings, inputs, read)
        });
        let write = b.frozen_if(decided || settings.writes_in_vain(site), |b| {
            Family::new(b, "post", &settings, inputs, write)
        });
        Self {
            settings,
            dim: site.dim,
            eps: site.eps,
            norm_weight,
            read,
            write,
            mix: (rule.logits(n) > 0).then(|| {
                let idle = settings.mixes_in_vain(site);
                b.frozen_if(idle, |b| Family::new(b, "res", &settings, inputs, mix))
            }),
            may_saturate: rule.is_stochastic()
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
        let form = self.settings.form;
        let projected = flat_projection(form.norm(), state, &phis[..count], weight, self.eps);
        coefficients(
            slots,
            (form.gates(), self.settings.rule),
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
            Rule::CayleySteps { iterations } => 2 * iterations * n * n * n,
        };
        let columns = 2 * self.settings.form.gates().logits(n) + logits;
        Account {
            flops: 4 * d * n + mixing + 2 * d * n * (columns + 1) + 4 * columns + rule,
            saved: n * d + d + columns + 1 + n * (n + 2),
        }
    }
}
