//! What a configuration costs: parameters, operations, memory.
//!
//! Operations are those of the forward for one token of a full sequence, in
//! floating-point operations, a multiply-add counting two. The backward takes about
//! twice as many.
//!
//! | part | formula, with width `d`, sequence `T`, hidden `h`, vocabulary `V` |
//! |------|-------------------------------------------------------------------|
//! | attention | projections `8 d²`, causal scores and mixing `2 d (T + 1)` |
//! | feed-forward | SwiGLU `6 d h`, gelu `4 d h`, experts `2 E d + k 6 d h` for `k` of `E` |
//! | connections | [`Connection::cost`](nn::connection::Connection::cost) of every sublayer |
//! | head | `2 d V`; of a classifier, once for an image: divided by its tokens |
//! | embedding | nothing for tokens; of a patch with `p` elements `2 p d` |
//! | conditioning | adaLN-Zero `6 d²` a sublayer and `4 d²` at the end, `f` sinusoids of a timestep `2 f d + 2 d²`; once for an image: divided by its tokens |
//!
//! Norms, activations and rotary positions, linear in `d` and below a hundredth of
//! the products, are left out; the connections' own work is counted to the last
//! element, because it is what is compared.
//!
//! A causal query at position `t` looks at `t + 1` keys, on average `(T + 1) / 2`:
//! products `q kᵀ` and `p v` take `4 d` per pair.

use crate::{
    block::{Trunk, TrunkConfig},
    config::FfnConfig,
};
use engine::params::{Param, Params};
use nn::connection::END_SCOPES;

/// Bytes of a number.
const FLOAT: usize = 4;

/// Floating-point operations of the forward per token, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// All attention layers.
    pub attention: u64,
    /// All feed-forward layers.
    pub feed_forward: u64,
    /// All connections.
    pub connections: u64,
    /// The product with the vocabulary or the classes.
    pub head: u64,
    /// The projection of patches.
    pub embedding: u64,
    /// Layers that turn timestep and class into shifts, scales and gates.
    pub conditioning: u64,
}

impl Flops {
    /// Everything.
    pub fn total(&self) -> u64 {
        self.attention
            + self.feed_forward
            + self.connections
            + self.head
            + self.embedding
            + self.conditioning
    }
}

/// Numbers of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterCount {
    /// All of them.
    pub total: u64,
    /// Parameters that one token uses: without the experts that it does not choose.
    pub active: u64,
    /// Trained parameters.
    pub trained: u64,
    /// Parameters of the connections.
    pub connections: u64,
}

/// Cost of what is around the blocks of a network, per token.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Operations of embedding, conditioning and head.
    pub flops: Flops,
    /// Elements that they and the loss leave behind for the backward.
    pub saved: usize,
}

/// Cost of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Parameters.
    pub parameters: ParameterCount,
    /// Operations per token.
    pub flops: Flops,
    /// Bytes per token that the forward leaves behind for the backward.
    pub activation_bytes: u64,
}

impl Account {
    /// Counts the cost of built `blocks` and of the `ends` around them, with all `params`.
    pub(crate) fn of(
        trunk: &TrunkConfig<'_>,
        tokens: usize,
        ends: Ends,
        blocks: &Trunk,
        params: &Params,
    ) -> Self {
        let layers = trunk.layers as u64;
        let mut flops = Flops {
            attention: layers * attention(trunk, tokens),
            feed_forward: layers * feed_forward(trunk),
            ..ends.flops
        };
        let mut saved = ends.saved + saved(trunk);
        for connection in blocks.connections() {
            let cost = connection.cost();
            flops.connections += cost.flops as u64;
            saved += cost.saved;
        }
        Self {
            parameters: count(params, idle_parameters(trunk)),
            flops,
            activation_bytes: (saved * FLOAT) as u64,
        }
    }

    /// Bytes that training takes: parameters, gradients of each shard and two moments,
    /// and the activations of `tokens` per shard.
    ///
    /// Buffers come in sizes up to a quarter larger, and the backward needs a few more
    /// of them: expect up to half as much again of activations.
    pub fn training_bytes(&self, shards: usize, tokens: usize) -> u64 {
        let slabs = (self.parameters.total * FLOAT as u64).saturating_mul(3 + shards as u64);
        let activations = self.activation_bytes.saturating_mul(tokens as u64);
        slabs.saturating_add(activations.saturating_mul(shards as u64))
    }
}

fn count(params: &Params, idle: u64) -> ParameterCount {
    let sum = |keep: &dyn Fn(&Param) -> bool| {
        let kept = params.iter().filter(|(_, param)| keep(param));
        kept.map(|(_, param)| param.shape.len() as u64).sum::<u64>()
    };
    let total = sum(&|_| true);
    ParameterCount {
        total,
        active: total - idle,
        trained: sum(&|param| param.trainable),
        connections: sum(&|param| is_of_connection(&param.name)),
    }
}

/// Returns whether a parameter belongs to a connection: a part of its path ends in
/// `connection`, or it is below the name of an end of the streams.
fn is_of_connection(name: &str) -> bool {
    let mut parts = name.split('.');
    parts.clone().any(|part| part.ends_with("connection"))
        || parts
            .next()
            .is_some_and(|first| END_SCOPES.contains(&first))
}

fn attention(trunk: &TrunkConfig<'_>, tokens: usize) -> u64 {
    let (d, tokens) = (trunk.dim as u64, tokens as u64);
    let pairs = match trunk.causal {
        true => 2 * d * (tokens + 1),
        false => 4 * d * tokens,
    };
    8 * d * d + pairs
}

fn feed_forward(trunk: &TrunkConfig<'_>) -> u64 {
    let (d, hidden) = (trunk.dim as u64, trunk.ffn.hidden() as u64);
    match trunk.ffn {
        FfnConfig::SwiGlu { .. } => 6 * d * hidden,
        FfnConfig::Gelu { .. } => 4 * d * hidden,
        FfnConfig::Moe(moe) => 2 * moe.experts as u64 * d + moe.top_k as u64 * 6 * d * hidden,
    }
}

/// Parameters of the experts that a token does not choose.
fn idle_parameters(trunk: &TrunkConfig<'_>) -> u64 {
    match trunk.ffn {
        FfnConfig::Moe(moe) => {
            let idle = moe.experts - moe.top_k;
            (trunk.layers * idle * 3 * trunk.dim * moe.hidden) as u64
        }
        _ => 0,
    }
}

/// Elements per token that the layers leave on the tape: every output of every
/// operation, and the statistics of norms and attention.
///
/// Attention: norm `d + 2`, qkv `3 d`, mixed `d` and a number per head, output `d`;
/// with qk-norm another `3 d + 2`. Feed-forward: norm `d + 2`, inner `3 h` (SwiGLU),
/// `2 h` (gelu) or `2 E + k (3 h + 3)` (experts), output `d`. The last norm `d + 2`.
fn saved(trunk: &TrunkConfig<'_>) -> usize {
    let (d, hidden) = (trunk.dim, trunk.ffn.hidden());
    let norm = d + 2;
    let own_norm = match trunk.connection.sublayer_norms() {
        true => norm,
        false => 0,
    };
    let qk_norm = if trunk.qk_norm { 3 * d + 2 } else { 0 };
    let attention = own_norm + 3 * d + qk_norm + d + trunk.heads + d;
    let inner = match trunk.ffn {
        FfnConfig::SwiGlu { .. } => 3 * hidden,
        FfnConfig::Gelu { .. } => 2 * hidden,
        FfnConfig::Moe(moe) => 2 * moe.experts + moe.top_k * (3 * hidden + 3),
    };
    let feed_forward = own_norm + inner + d;
    let last_norm = if trunk.connection.final_norm() {
        norm
    } else {
        0
    };
    trunk.layers * (attention + feed_forward) + last_norm
}

#[cfg(test)]
mod tests;
