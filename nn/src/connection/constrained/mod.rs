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

mod family;
pub mod kernels;
pub mod ops;
mod settings;

pub use family::{
    CayleyConfig, IdentityHcConfig, KromHcConfig, MhcConfig, MhcLiteConfig, OhcConfig,
};
pub use settings::ConstrainedInit;
pub(super) use settings::{Form, Settings};

use super::{
    Connection, Cost, Site, State, Sublayer, WRITE_GAIN,
    ops::weighted_sum,
    reduction::Reducer,
    streams::{
        expansion::Expander,
        flat_projection::flat_projection,
        ops::{Coefficients, Slots, depth_connection, read, write},
        pending::seen,
        slots::WriteForm,
    },
};
use crate::hooks;
use engine::{
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::{Tape, Var},
};
use kernels::{Gates, Rule};
use ops::coefficients;

impl Settings {
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

/// Scale and bias of a projection.
#[derive(Debug)]
enum FamilyAffine {
    Learned { scale: ParamId, bias: ParamId },
    Fixed { scale: f32, zeros: Vec<f32> },
}

impl Family {
    /// Registers `phi_NAME` and, where they are learned, `alpha_NAME` and `bias_NAME`.
    fn new(
        b: &mut Builder,
        name: &str,
        form: Form,
        inputs: usize,
        (start, shape): (Vec<f32>, Shape),
    ) -> Self {
        let columns = start.len();
        let phi = format!("phi_{name}");
        let phi = b.param(&phi, [inputs, columns], Decay::Yes, form.phi());
        let affine = match form {
            Form::Mhc { scale_init, .. } => {
                let [scale, bias] = ["alpha", "bias"].map(|part| format!("{part}_{name}"));
                FamilyAffine::Learned {
                    scale: b.param(&scale, [1], Decay::No, Init::Constant(scale_init)),
                    bias: b.param(&bias, shape, Decay::No, Init::Values(start)),
                }
            }
            Form::JpmHc { mix_scale } => FamilyAffine::Fixed {
                scale: if name == "res" { mix_scale } else { 1.0 },
                zeros: vec![0.0; columns],
            },
        };
        Self { phi, affine }
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
    /// True where the mix is made of probabilities, which saturate, and is to learn.
    may_saturate: bool,
    /// The factor of the write where it follows a schedule.
    write_gain: Option<ParamId>,
    expander: Expander,
    reducer: Reducer,
}

impl Constrained {
    fn new(settings: Settings, site: Site, b: &mut Builder) -> Self {
        let Settings {
            rate: n,
            rule,
            form,
            ..
        } = settings;
        let (inputs, stream) = (n * site.dim, site.index % n);
        let init = match form {
            Form::Mhc { init, .. } => init,
            Form::JpmHc { .. } => ConstrainedInit::FactoryCode,
        };
        let gate = |[there, elsewhere]: [f32; 2]| -> (Vec<f32>, Shape) {
            let logits = form.gates().logits(n);
            match form {
                Form::Mhc { .. } => {
                    let bias = |i| if i == stream { there } else { elsewhere };
                    ((0..logits).map(bias).collect(), [logits].into())
                }
                Form::JpmHc { .. } => (vec![0.0; logits], [logits].into()),
            }
        };
        let (read, write) = (gate(init.read_bias()), gate(init.write_bias()));
        let [on, off] = init.mix_bias();
        let mix = rule.logits_near_identity(n, on, off);
        let mix_shape = match rule {
            Rule::Sinkhorn { .. } | Rule::SoftmaxSinkhorn { .. } => [n, n].into(),
            _ => [mix.len()].into(),
        };
        // A softmax of one stream is 1 whatever its logit.
        let decided = n == 1 && form.gates() == Gates::Softmax;
        let norm_weight = b.frozen_if(decided, |b| {
            b.param("norm.weight", [inputs], Decay::No, Init::Ones)
        });
        let read = b.frozen_if(decided || settings.reads_in_vain(site), |b| {
            Family::new(b, "pre", form, inputs, read)
        });
        let write = b.frozen_if(decided || settings.writes_in_vain(site), |b| {
            Family::new(b, "post", form, inputs, write)
        });
        let (mixes, idle) = (rule.logits(n) > 0, settings.mixes_in_vain(site));
        Self {
            settings,
            dim: site.dim,
            eps: site.eps,
            norm_weight,
            read,
            write,
            mix: mixes.then(|| {
                b.frozen_if(idle, |b| {
                    Family::new(b, "res", form, inputs, (mix, mix_shape))
                })
            }),
            may_saturate: rule.is_stochastic() && mixes && !idle,
            write_gain: (settings.write_gain_end != 1.0)
                .then(|| b.frozen_if(true, |b| b.param(WRITE_GAIN, [1], Decay::No, Init::Ones))),
            expander: Expander::new(settings.expansion, n, site, b),
            reducer: Reducer::new(settings.reduction, n, site, b),
        }
    }

    /// `[A_m | A_r]` and B of every token.
    fn coefficients<'t>(&self, slots: Slots, state: Var<'t>) -> Coefficients<'t> {
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
        let mut coefficients = coefficients(
            slots,
            (form.gates(), self.settings.rule),
            projected,
            self.read.scale_and_bias(tape),
            self.write.scale_and_bias(tape),
            self.mix.as_ref().map(|mix| mix.scale_and_bias(tape)),
        );
        if let Some(gain) = self.write_gain {
            coefficients.beta = weighted_sum(None, tape.param(gain), &[coefficients.beta]);
        }
        coefficients
    }
}

impl Connection for Constrained {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(self.expander.expand(embedding))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let slots = Slots::of_streams("constrained", hidden, 1);
        let coefficients = self.coefficients(slots, hidden);
        let input = read(slots, hidden, coefficients.alpha);
        let (coefficients, input, is_changed) = seen(slots, hidden, coefficients, input);
        if self.may_saturate {
            hidden
                .tape()
                .probe(hooks::STOCHASTIC_ALPHA, coefficients.alpha);
        }
        let output = sublayer.pre_normed(input);
        // Without a mix of its own it is I, unless an editor says otherwise.
        State::new(match self.mix.is_some() || is_changed {
            true => write(slots, WriteForm::Full, hidden, coefficients, output),
            false => depth_connection(hidden, coefficients.beta, output),
        })
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        self.reducer.reduce(state.hidden)
    }

    /// Read and write, `2 d n` each, the mix `2 d n²`, the norm `2 d n` and the projection
    /// `2 d n` per column; the rule about 4 per element and normalisation of Sinkhorn, and
    /// little otherwise.
    fn cost(&self) -> Cost {
        let (n, d) = (self.settings.rate, self.dim);
        let logits = self.settings.rule.logits(n);
        let mixing = if logits > 0 { 2 * d * n * n } else { 0 };
        let rule = self.settings.rule.flops(n);
        let columns = 2 * self.settings.form.gates().logits(n) + logits;
        let gains = if self.write_gain.is_some() { n } else { 0 };
        let cost = Cost::new(
            gains
                + 4 * d * n
                + mixing
                + 2 * d * n * (columns + 1)
                + 4 * columns
                + rule
                + self.expander.flops(),
            gains + n * d + d + columns + 1 + n * (n + 2),
        );
        cost + self.reducer.cost()
    }
}
