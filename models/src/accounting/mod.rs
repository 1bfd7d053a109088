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
//! | connections | [`Connection::account`](nn::connection::Connection::account) of every sublayer |
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

mod body;
#[cfg(test)]
mod tests;

use crate::{dit::Dit, transformer::Transformer, vit::Vit};
use body::Body;
use engine::params::{Param, Params};

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
    /// What turns timestep and class into shifts, scales and gates.
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
    /// Those that one token uses: without the experts that it does not choose.
    pub active: u64,
    /// Those that are trained.
    pub trained: u64,
    /// Those of the connections.
    pub connections: u64,
}

/// What a network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its parameters.
    pub parameters: ParameterCount,
    /// Its operations per token.
    pub flops: Flops,
    /// Bytes per token that the forward leaves behind for the backward.
    pub activation_bytes: u64,
}

impl Account {
    /// Counts what a decoder with its `params` costs.
    pub fn of(model: &Transformer, params: &Params) -> Self {
        let config = model.config();
        let body = Body {
            trunk: config.trunk(),
            tokens: config.seq,
        };
        let head = Flops {
            head: 2 * (config.dim * config.vocab_size) as u64,
            ..Flops::default()
        };
        // Embedding, logits and the statistics of the loss.
        let around = config.dim + config.vocab_size + 3;
        body.account(head, around, model.connections(), params)
    }

    /// Counts what a classifier with its `params` costs.
    pub fn of_vit(model: &Vit, params: &Params) -> Self {
        let config = model.config();
        let (dim, tokens, patches) = (config.dim, config.tokens(), config.patches());
        let body = Body {
            trunk: config.trunk(),
            tokens,
        };
        let embedding = 2 * patches.width() * dim * patches.count();
        let ends = Flops {
            head: (2 * dim * config.classes / tokens) as u64,
            embedding: (embedding / tokens) as u64,
            ..Flops::default()
        };
        // Pixels twice, the projection, with the class token, with positions, and with
        // its mask where there is dropout.
        let masks = if config.dropout > 0.0 { 2 * dim } else { 0 };
        let around = 2 * patches.width() + 3 * dim + masks;
        let mut account = body.account(ends, around, model.connections(), params);
        account.activation_bytes += (2 * config.layers * masks * FLOAT) as u64;
        account
    }

    /// Counts what a denoiser with its `params` costs.
    pub fn of_dit(model: &Dit, params: &Params) -> Self {
        let config = model.config();
        let (dim, patches) = (config.dim, config.patches());
        let (tokens, width, features) =
            (patches.count(), patches.width(), config.timestep_features);
        let body = Body {
            trunk: config.trunk(),
            tokens,
        };
        let sublayers = config.sublayers();
        let condition = 2 * dim * (features + dim + 3 * dim * sublayers + 2 * dim);
        let ends = Flops {
            head: (2 * dim * width) as u64,
            embedding: (2 * width * dim) as u64,
            conditioning: (condition / tokens) as u64,
            ..Flops::default()
        };
        // Image and noise, each whole and in patches; the projection, with positions; shift and
        // scale of the last norm; the prediction, its error and the square of that.
        let around = 4 * width + 3 * dim + 3 * width;
        // Of a sublayer: its input shifted and scaled, its output gated. Of an image: the
        // sinusoids, six vectors on the way to the condition, and what it is turned into.
        let of_image = features + 6 * dim + 3 * dim * sublayers + 2 * dim;
        let conditioned = 2 * dim * sublayers + of_image / tokens;
        body.account(ends, around + conditioned, model.connections(), params)
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

/// Whether a parameter belongs to a connection: a part of its path ends in
/// `connection`.
fn is_of_connection(name: &str) -> bool {
    name.split('.').any(|part| part.ends_with("connection"))
}
