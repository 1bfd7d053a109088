//! mHC as DeepSeek-V4 releases it (modelling files of DeepSeek-V4 and of transformers, 2026).
//!
//! ```text
//! m    = fn vec(H) / rms(vec(H))                  the network's eps under the root, no weight
//! pre  = sigmoid(scale_0 m_pre + base_pre) + eps
//! post = 2 sigmoid(scale_1 m_post + base_post)
//! comb = softmax of each row of mat(scale_2 m_comb + base_comb), + eps; then columns, and
//!        iterations - 1 times rows and columns, divided by their sums + eps
//! u    = sum_i pre_i H_i
//! H'_k = post_k T(u) + sum_j comb_jk H_j
//! end  = sum_i w_i H_i,  w = sigmoid(scale fn vec(H) / rms(vec(H)) + base) + eps
//! ```
//! comb has the source in the row: `A_m = pre`, `A_r = comb`, `B = post`.

use super::{
    Connection, Cost, Site, Spec, State, Sublayer, check_streams,
    constrained::{
        kernels::{Gates, Rule},
        ops::joint_coefficients,
    },
    reduction::{head_cost, head_weights},
    streams::{
        expansion::{Expander, Expansion},
        flat_projection::flat_linear,
        ops::{Coefficients, Slots, read, write},
        pending::seen,
        slots::WriteForm,
    },
};
use crate::hooks;
use engine::{
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};

settings! {
    /// mHC as DeepSeek-V4 releases it: reads `sigmoid + eps`, a mix by Sinkhorn's iteration from a
    /// softmax, rows first and columns last, with eps in every divisor, and a learned head at the end;
    /// equations in `docs/connections.md`. Projections start normal with standard deviation 0.02, which tells the
    /// streams apart, biases at 0 and scales at 1.
    ///
    /// Source: DeepSeek-AI, DeepSeek-V4, 2026, and `deepseek_v4` of transformers; Xie et al., mHC,
    /// 2025, arXiv 2512.24880.
    pub struct MhcV4Config {
        /// Number of streams n, the expansion rate.
        pub rate: usize = 4,
        /// Divisions of the columns of the mix.
        pub sinkhorn_iters: usize = 20,
        /// Added to reads, to the weights of the mix and to its divisors.
        pub hc_eps: f32 = 1e-6,
        /// Weight decay of `scale` and `base`, as in trainers that exempt norms and biases by name.
        pub decay: bool = true,
        /// Beginning of the streams.
        #[serde(skip_serializing_if = "Expansion::is_copies")]
        pub expansion: Expansion = Expansion::default(),
    }
}

impl Spec for MhcV4Config {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let is_last = site.index + 1 == site.count;
        Box::new(MhcV4 {
            predictor: V4Predictor::new(self, site, b),
            head: is_last.then(|| b.at_root(|b| Head::new(self, site, b))),
        })
    }

    fn label(&self) -> String {
        format!("mHC (V4) x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "DeepSeek-AI, DeepSeek-V4, 2026, as in deepseek_v4 of transformers; Xie et al., mHC, 2025, \
         arXiv 2512.24880"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        check_streams("rate", self.rate)?;
        self.rule().validate(self.rate)?;
        match (0.0..=1.0).contains(&self.hc_eps) {
            true => Ok(()),
            false => Err(format!(
                "hc_eps is {}, expected a small number from 0 to 1 (DeepSeek-V4 has 1e-6)",
                self.hc_eps
            )),
        }
    }
}

impl MhcV4Config {
    fn rule(&self) -> Rule {
        Rule::SoftmaxSinkhorn {
            iterations: self.sinkhorn_iters,
            eps: self.hc_eps,
        }
    }

    /// The gates and the rule of the mix.
    pub(super) fn made(&self) -> (Gates, Rule) {
        let floor = self.hc_eps;
        (Gates::FlooredSigmoid { floor }, self.rule())
    }

    /// Registers `fn`, `base` and `scale` of so many logits and scales.
    fn affine(&self, site: Site, logits: usize, scales: usize, b: &mut Builder) -> [ParamId; 3] {
        let decay = if self.decay { Decay::Yes } else { Decay::No };
        // One number is a gain, which no trainer decays.
        let of_scale = if scales > 1 { decay } else { Decay::No };
        let start = Init::Normal { std: 0.02 };
        [
            b.param("fn", [logits, self.rate * site.dim], Decay::Yes, start),
            b.param("base", [logits], decay, Init::Zeros),
            b.param("scale", [scales], of_scale, Init::Ones),
        ]
    }
}

/// The coefficients of one sublayer.
#[derive(Debug)]
pub(super) struct V4Predictor {
    config: MhcV4Config,
    dim: usize,
    eps: f32,
    /// `fn`, `base` and `scale`.
    params: [ParamId; 3],
    expander: Expander,
}

impl V4Predictor {
    pub(super) fn new(config: &MhcV4Config, site: Site, b: &mut Builder) -> Self {
        let n = config.rate;
        Self {
            config: config.clone(),
            dim: site.dim,
            eps: site.eps,
            params: config.affine(site, (2 + n) * n, 3, b),
            expander: Expander::new(config.expansion, n, site, b),
        }
    }

    /// The embedding as the first streams.
    pub(super) fn expand<'t>(&self, embedding: Var<'t>) -> Var<'t> {
        self.expander.expand(embedding)
    }

    /// `[A_m | A_r]` and B of every token.
    pub(super) fn coefficients<'t>(&self, slots: Slots, state: Var<'t>) -> Coefficients<'t> {
        let [weight, base, scale] = self.params.map(|id| state.tape().param(id));
        let projected = flat_linear(state, weight, self.eps);
        joint_coefficients(slots, self.config.made(), projected, scale, base)
    }

    /// As for mHC: read and write `2 d n` each, the mix `2 d n²`, norm and projection `2 d n` and
    /// as much per logit, 4 per logit, and the iteration.
    pub(super) fn cost(&self) -> Cost {
        let (n, d) = (self.config.rate, self.dim);
        let logits = (2 + n) * n;
        let products = 4 * d * n + 2 * d * n * n + 2 * d * n * (logits + 1);
        Cost::new(
            products + 4 * logits + self.config.rule().flops(n) + self.expander.flops(),
            n * d + d + logits + 1 + n * (n + 2),
        )
    }
}

/// The scope of the learned end of the streams.
pub(super) const HC_HEAD: &str = "hc_head";

/// The learned end of the streams.
#[derive(Debug)]
struct Head {
    params: [ParamId; 3],
}

impl Head {
    fn new(config: &MhcV4Config, site: Site, b: &mut Builder) -> Self {
        b.scope(HC_HEAD, |b| Self {
            params: config.affine(site, config.rate, 1, b),
        })
    }
}

#[derive(Debug)]
struct MhcV4 {
    predictor: V4Predictor,
    head: Option<Head>,
}

impl Connection for MhcV4 {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(self.predictor.expand(embedding))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let slots = Slots::of_streams("mhc_v4", hidden, 1);
        let coefficients = self.predictor.coefficients(slots, hidden);
        let input = read(slots, hidden, coefficients.alpha);
        let (coefficients, input, _) = seen(slots, hidden, coefficients, input);
        let tape = hidden.tape();
        tape.probe(hooks::STOCHASTIC_ALPHA, coefficients.alpha);
        let output = sublayer.pre_normed(input);
        State::new(write(slots, WriteForm::Full, hidden, coefficients, output))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let head = self.head.as_ref().expect("the head of the last sublayer");
        let (hidden, tape) = (state.hidden, state.hidden.tape());
        let slots = Slots::of_streams(HC_HEAD, hidden, 1);
        let [weight, base, scale] = head.params.map(|id| tape.param(id));
        let projected = flat_linear(hidden, weight, self.predictor.eps);
        let floor = self.predictor.config.hc_eps;
        let weights = head_weights(slots, projected, scale, base, floor);
        tape.probe(hooks::HEAD, weights);
        read(slots, hidden, weights)
    }

    /// The last sublayer also counts the head.
    fn cost(&self) -> Cost {
        let cost = self.predictor.cost();
        match self.head {
            Some(_) => cost + head_cost(self.predictor.config.rate, self.predictor.dim),
            None => cost,
        }
    }
}
