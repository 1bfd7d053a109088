//! Deep Delta Learning: every sublayer erases and writes along the direction of its output.

use super::{
    Connection, Cost, Site, Spec, State, Sublayer, check_streams,
    ops::delta_update,
    shown,
    streams::ops::{Slots, read},
};
use crate::{hooks, linear::Linear};
use engine::{
    ops::{linear, replicate, scale, sigmoid},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use std::cell::Cell;

settings! {
    /// `H_j' = H_j + β k (v_j - <k, H_j>)` for every channel j of n: the direction k is the output of the
    /// sublayer over its length, `β = 2 sigmoid(W_β norm(u) + b_β)` its strength, between 0 and 2, and `v =
    /// 4 sigmoid(W_v u + b_v)`, `[n]`, what is written. The sublayer reads `u = sum_j r_j H_j`, r learned; so
    /// does the end. β = 0 is the identity, 1 replaces the part along k, 2 reflects it.
    ///
    /// Channels start as copies, r at `1 / n`, β near `beta_init` and v near 2; the random W_v tells
    /// channels apart. With one channel r is 1.
    ///
    /// Source: Zhang et al., Deep Delta Learning, 2026, arXiv 2601.00417, and its code, without the
    /// short convolution over tokens before the read.
    pub struct DeepDeltaConfig {
        /// Number of value channels n: 1 replaces the residual of an ordinary network.
        pub channels: usize = 4,
        /// Start of β.
        pub beta_init: f32 = 1.0,
    }
}

/// Length whose square is added to that of an output.
pub(super) const DIRECTION_EPS: f64 = 1e-5;

/// The largest value that is written.
pub(super) const LARGEST_VALUE: f64 = 4.0;

impl Spec for DeepDeltaConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (n, d) = (self.channels, site.dim);
        let start = Init::Normal {
            std: 0.5 / (d as f32).sqrt(),
        };
        let is_last = site.index + 1 == site.count;
        let mut weights = |name, wanted: bool| {
            let share = Init::Constant(1.0 / n as f32);
            (wanted && n > 1).then(|| b.param(name, [n, 1], Decay::No, share))
        };
        let reads = [weights("read", true), weights("output_read", is_last)];
        // The logit of beta / 2.
        let logit = Init::Constant((self.beta_init / (2.0 - self.beta_init)).ln());
        let beta = b.scope("beta", |b| {
            [
                b.param("weight", [1, d], Decay::Yes, start.clone()),
                b.param("bias", [1], Decay::No, logit),
            ]
        });
        Box::new(DeepDelta {
            channels: n,
            dim: d,
            is_last,
            reads,
            beta,
            value: Linear::with_bias(b, "value", d, n, start),
        })
    }

    fn label(&self) -> String {
        format!("deep delta x{}", self.channels)
    }

    fn citation(&self) -> &'static str {
        "Zhang et al., Deep Delta Learning, 2026, arXiv 2601.00417"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        check_streams("channels", self.channels)?;
        match self.beta_init > 0.0 && self.beta_init < 2.0 {
            true => Ok(()),
            false => Err(format!(
                "beta_init is {}, expected a number between 0 and 2",
                self.beta_init
            )),
        }
    }
}

#[derive(Debug)]
struct DeepDelta {
    channels: usize,
    dim: usize,
    is_last: bool,
    /// The weights of the channels for the sublayer, and at the end of the network.
    reads: [Option<ParamId>; 2],
    /// Weight and bias.
    beta: [ParamId; 2],
    value: Linear,
}

impl DeepDelta {
    fn read<'t>(&self, state: Var<'t>, weights: Option<ParamId>) -> Var<'t> {
        let tape = state.tape();
        let slots = Slots::of_streams("deep_delta", state, 1);
        let weights = match weights {
            Some(weights) => tape.param(weights),
            None => tape.constant([1, 1], &[1.0]),
        };
        read(slots, state, weights)
    }
}

impl Connection for DeepDelta {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(replicate(embedding, self.channels))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let tape = hidden.tape();
        let input = self.read(hidden, self.reads[0]);
        let normed = Cell::new(input);
        let output = shown(input, |input| {
            normed.set((sublayer.norm)(input));
            (sublayer.layer)(normed.get())
        });
        let [weight, bias] = self.beta.map(|id| tape.param(id));
        let beta = scale(sigmoid(linear(normed.get(), weight, Some(bias))), 2.0);
        let values = scale(sigmoid(self.value.forward(input)), LARGEST_VALUE as f32);
        tape.probe(hooks::HIDDEN, hidden);
        tape.probe(hooks::GATE, beta);
        let eps = DIRECTION_EPS as f32;
        State::new(delta_update(hidden, output, beta, values, eps))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        self.read(state.hidden, self.reads[1])
    }

    /// The read, `2 d n`, beta and v, `2 d` for each and 6 for what follows, the length of the output,
    /// `2 d`, and the update, `4 d n`; the last sublayer also counts the read at the end.
    fn cost(&self) -> Cost {
        let (n, d, last) = (self.channels, self.dim, usize::from(self.is_last));
        Cost::new(
            6 * d * n + (2 * d + 6) * (n + 1) + 2 * d + last * 2 * d * n,
            n * d + d + 3 * (n + 1) + last * d,
        )
    }
}
