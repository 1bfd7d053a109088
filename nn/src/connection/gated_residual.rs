//! Gated Residual (Qwen, 2026): streams that are never mixed, read with a gate per channel.
//!
//! ```text
//! U_s = H_s / rms(H_s) ∘ (1 + w_s)                              every stream by itself
//! G   = sigmoid(W_up silu(W_down vec(U) / n))                   a gate per stream and channel
//! u   = mean over s of G_s ∘ U_s                                read by T without a norm of its own
//! B   = 2 sigmoid(W_inject vec(U) / n)
//! H_s = H_s + B_s T(u)
//! end = one more u, without a norm behind it
//! ```

use super::{
    Connection, Cost, Site, Spec, State, Sublayer, check_streams, expect_positive,
    ops::{gated_mean, stream_norm},
    streams::ops::depth_connection,
};
use crate::{hooks, linear::Linear};
use engine::{
    ops::{replicate, scale, sigmoid, silu},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};

settings! {
    /// Gated Residual: n streams, `A_r = I`, writes `2 sigmoid`, and a read that is gated channel by
    /// channel through a bottleneck of `rank` numbers; equations in `docs/connections.md`. The read holds the norm
    /// of the sublayer, and the last read that of the network. Weights start normal with standard
    /// deviation 0.02, gains w at 0: gates start near one half, writes near 1, and the streams are told
    /// apart by the random weights alone.
    ///
    /// Source: Qwen Team, Gated Residual, 2026, arXiv 2608.30320, and `qwen4_exp` of transformers.
    pub struct GatedResidualConfig {
        /// Number of streams n.
        pub rate: usize = 4,
        /// Numbers of the bottleneck; an eighth of the width, as in Qwen3.8-Flash-Next, if not set.
        pub rank: Option<usize> = None,
    }
}

/// More than any width of a network here.
const MOST_RANK: usize = 1 << 20;

impl Spec for GatedResidualConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (n, d) = (self.rate, site.dim);
        let rank = self.rank.unwrap_or((d / 8).max(1));
        let read = GatedRead::new(b, (n, d, rank), site.eps);
        let inject = Linear::new(b, "inject", n * d, n, START);
        let is_last = site.index + 1 == site.count;
        let mixer = is_last
            .then(|| b.at_root(|b| b.scope(MIXER, |b| GatedRead::new(b, (n, d, rank), site.eps))));
        Box::new(GatedResidual {
            read,
            inject,
            mixer,
        })
    }

    fn label(&self) -> String {
        format!("gated residual x{}", self.rate)
    }

    fn citation(&self) -> &'static str {
        "Qwen Team, Gated Residual, 2026, arXiv 2608.30320, as in qwen4_exp of transformers"
    }

    fn final_norm(&self) -> bool {
        false
    }

    fn sublayer_norms(&self) -> bool {
        false
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        check_streams("rate", self.rate)?;
        let rank = self.rank.unwrap_or(1);
        expect_positive("rank", rank)?;
        match rank {
            ..=MOST_RANK => Ok(()),
            _ => Err(format!("rank is {rank}, expected at most {MOST_RANK}")),
        }
    }
}

/// The scope of the read at the end of the network.
pub(super) const MIXER: &str = "mixer";

const START: Init = Init::Normal { std: 0.02 };

/// A read that is gated channel by channel.
#[derive(Debug)]
struct GatedRead {
    rate: usize,
    dim: usize,
    rank: usize,
    eps: f32,
    weight: ParamId,
    down: Linear,
    up: Linear,
}

impl GatedRead {
    fn new(b: &mut Builder, (rate, dim, rank): (usize, usize, usize), eps: f32) -> Self {
        let all = rate * dim;
        Self {
            rate,
            dim,
            rank,
            eps,
            weight: b.param("norm.weight", [all], Decay::No, Init::Zeros),
            down: Linear::new(b, "down", all, rank, START),
            up: Linear::new(b, "up", rank, all, START),
        }
    }

    /// U and u of a state.
    fn read<'t>(&self, state: Var<'t>) -> (Var<'t>, Var<'t>) {
        let tape = state.tape();
        let normed = stream_norm(state, tape.param(self.weight), self.eps);
        let narrow = silu(scale(self.down.forward(normed), 1.0 / self.rate as f32));
        let logits = self.up.forward(narrow);
        if tape.is_probing() {
            tape.probe(hooks::GATE, sigmoid(logits));
        }
        (normed, gated_mean(logits, normed, self.rate))
    }

    /// The norm, 4 per number, both projections, and the gated mean, 4 per number.
    fn cost(&self) -> Cost {
        let (all, r) = (self.rate * self.dim, self.rank);
        Cost::new(
            8 * all + 4 * all * r + 5 * r,
            2 * all + self.rate + 3 * r + self.dim,
        )
    }
}

#[derive(Debug)]
struct GatedResidual {
    read: GatedRead,
    inject: Linear,
    /// The read at the end of the network.
    mixer: Option<GatedRead>,
}

impl Connection for GatedResidual {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(replicate(embedding, self.read.rate))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let tape = hidden.tape();
        let (normed, input) = self.read.read(hidden);
        let logits = scale(self.inject.forward(normed), 1.0 / self.read.rate as f32);
        let beta = scale(sigmoid(logits), 2.0);
        let beta = tape.edited(hooks::BETA, beta).unwrap_or(beta);
        tape.probe(hooks::HIDDEN, hidden);
        tape.probe(hooks::BETA, beta);
        let output = sublayer.pre_normed(input);
        State::new(depth_connection(hidden, beta, output))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let mixer = self.mixer.as_ref().expect("the mixer of the last sublayer");
        mixer.read(state.hidden).1
    }

    /// The read, the writes' projection, and the write, `2 d n`; the last sublayer also counts the
    /// read at the end.
    fn cost(&self) -> Cost {
        let (n, all) = (self.read.rate, self.read.rate * self.read.dim);
        let mut cost = self.read.cost();
        cost.flops += 2 * all * n + 6 * n + 2 * all;
        cost.saved += 4 * n + all;
        match &self.mixer {
            Some(mixer) => cost + mixer.cost(),
            None => cost,
        }
    }
}
