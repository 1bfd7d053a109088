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
//! | connections | [`Connection::account`] of every sublayer |
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

use crate::{config::FfnConfig, dit::Dit, transformer::Transformer, vit::Vit};
use engine::params::{Param, Params};
use nn::connection::{Connection, ConnectionConfig};

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
            dim: config.dim,
            layers: config.layers,
            heads: config.heads,
            tokens: config.seq,
            causal: true,
            qk_norm: config.qk_norm,
            ffn: &config.ffn,
            connection: &config.connection,
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
            dim,
            layers: config.layers,
            heads: config.heads,
            tokens,
            causal: false,
            qk_norm: config.qk_norm,
            ffn: &config.ffn,
            connection: &config.connection,
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
            dim,
            layers: config.layers,
            heads: config.heads,
            tokens,
            causal: false,
            qk_norm: config.qk_norm,
            ffn: &config.ffn,
            connection: &config.connection,
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
        let slabs = 3 + shards as u64;
        slabs * self.parameters.total * FLOAT as u64
            + shards as u64 * tokens as u64 * self.activation_bytes
    }
}

/// What is between the embedding and the head.
struct Body<'a> {
    dim: usize,
    layers: usize,
    heads: usize,
    tokens: usize,
    causal: bool,
    qk_norm: bool,
    ffn: &'a FfnConfig,
    connection: &'a ConnectionConfig,
}

impl Body<'_> {
    /// With the operations of the ends, and the elements per token that they save.
    fn account<'c>(
        &self,
        ends: Flops,
        around: usize,
        connections: impl Iterator<Item = &'c dyn Connection>,
        params: &Params,
    ) -> Account {
        let mut flops = Flops {
            attention: self.layers as u64 * self.attention(),
            feed_forward: self.layers as u64 * self.feed_forward(),
            ..ends
        };
        let mut saved = around + self.saved();
        for connection in connections {
            let account = connection.account();
            flops.connections += account.flops as u64;
            saved += account.saved;
        }
        Account {
            parameters: count(params, self.idle_parameters()),
            flops,
            activation_bytes: (saved * FLOAT) as u64,
        }
    }

    fn attention(&self) -> u64 {
        let (d, tokens) = (self.dim as u64, self.tokens as u64);
        let pairs = match self.causal {
            true => 2 * d * (tokens + 1),
            false => 4 * d * tokens,
        };
        8 * d * d + pairs
    }

    fn feed_forward(&self) -> u64 {
        let (d, hidden) = (self.dim as u64, self.ffn.hidden() as u64);
        match self.ffn {
            FfnConfig::SwiGlu { .. } => 6 * d * hidden,
            FfnConfig::Gelu { .. } => 4 * d * hidden,
            FfnConfig::Moe(moe) => 2 * moe.experts as u64 * d + moe.top_k as u64 * 6 * d * hidden,
        }
    }

    /// Parameters of the experts that a token does not choose.
    fn idle_parameters(&self) -> u64 {
        match self.ffn {
            FfnConfig::Moe(moe) => {
                let idle = moe.experts - moe.top_k;
                (self.layers * idle * 3 * self.dim * moe.hidden) as u64
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
    fn saved(&self) -> usize {
        let (d, hidden) = (self.dim, self.ffn.hidden());
        let norm = d + 2;
        let qk_norm = if self.qk_norm { 3 * d + 2 } else { 0 };
        let attention = norm + 3 * d + qk_norm + d + self.heads + d;
        let inner = match self.ffn {
            FfnConfig::SwiGlu { .. } => 3 * hidden,
            FfnConfig::Gelu { .. } => 2 * hidden,
            FfnConfig::Moe(moe) => 2 * moe.experts + moe.top_k * (3 * hidden + 3),
        };
        let feed_forward = norm + inner + d;
        let last_norm = if self.connection.spec().final_norm() {
            norm
        } else {
            0
        };
        self.layers * (attention + feed_forward) + last_norm
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::TransformerConfig,
        dit::{DitConfig, Noisy},
        vit::VitConfig,
    };
    use engine::{rng::Key, tape::Tape};
    use nn::connection::HyperConfig;

    fn account(config: &TransformerConfig) -> Account {
        let (model, params) = Transformer::new(config, Key::new(0)).unwrap();
        Account::of(&model, &params)
    }

    fn small() -> TransformerConfig {
        TransformerConfig {
            vocab_size: 10,
            dim: 8,
            layers: 3,
            heads: 2,
            seq: 4,
            ffn: FfnConfig::SwiGlu { hidden: 6 },
            ..TransformerConfig::default()
        }
    }

    #[test]
    fn the_account_of_pre_norm_is_that_by_hand() {
        let account = account(&small());
        // Embedding and head, then per block q, k, v, o, three matrices, two norms.
        let expected = 2 * 80 + 3 * (4 * 64 + 3 * 48 + 2 * 16) + 16;
        assert_eq!(account.parameters.total, expected);
        assert_eq!(account.parameters.trained, expected);
        assert_eq!(account.parameters.active, expected);
        assert_eq!(account.parameters.connections, 0);
        let flops = Flops {
            attention: 3 * (8 * 64 + 2 * 8 * 5),
            feed_forward: 3 * 6 * 8 * 6,
            connections: 6 * 8,
            head: 2 * 80,
            ..Flops::default()
        };
        assert_eq!(account.flops, flops);
        assert_eq!(account.flops.total(), 1776 + 864 + 48 + 160);
    }

    #[test]
    fn the_account_of_hyper_connections_is_that_by_hand() {
        let (n, d) = (2, 8);
        let config = TransformerConfig {
            connection: ConnectionConfig::Hyper(HyperConfig {
                rate: n,
                ..HyperConfig::default()
            }),
            ..small()
        };
        let (plain, hyper) = (account(&small()), account(&config));
        // Static n (n + 2), predictors d (n + 2), two scales, norm 2 d.
        let extra = 6 * (n * (n + 2) + d * (n + 2) + 2 + 2 * d) as u64;
        assert_eq!(hyper.parameters.connections, extra);
        assert_eq!(hyper.parameters.total, plain.parameters.total + extra);
        // The paper's count: 2 d n (n + 1) + 2 d n for read, mix and write, as much
        // for the predictors, and their norm.
        let products = 2 * d * n * (n + 1) + 2 * d * n;
        let predictors = 2 * d * n * (n + 2) + 8 * n * d + 3 * n * (n + 2);
        assert_eq!(hyper.flops.connections, 6 * (products + predictors) as u64);
        assert_eq!(hyper.flops.attention, plain.flops.attention);
    }

    #[test]
    fn a_token_pays_for_the_experts_it_chooses_only() {
        let moe = nn::moe::MoeConfig {
            experts: 5,
            hidden: 6,
            top_k: 2,
            ..nn::moe::MoeConfig::default()
        };
        let config = TransformerConfig {
            ffn: FfnConfig::Moe(moe),
            ..small()
        };
        let (dense, experts) = (account(&small()), account(&config));
        assert_eq!(experts.flops.feed_forward, 3 * (2 * 5 * 8 + 2 * 6 * 8 * 6));
        let extra = 3 * (4 * 3 * 8 * 6 + 5 * 8);
        assert_eq!(experts.parameters.total, dense.parameters.total + extra);
        let idle = 3 * 3 * 3 * 8 * 6;
        assert_eq!(experts.parameters.active, experts.parameters.total - idle);
    }

    #[test]
    fn the_account_of_a_vision_transformer_is_that_by_hand() {
        let config = VitConfig {
            image: 8,
            channels: 3,
            patch: 4,
            classes: 10,
            dim: 8,
            layers: 3,
            heads: 2,
            ffn: FfnConfig::Gelu { hidden: 6 },
            ..VitConfig::default()
        };
        let (model, params) = Vit::new(&config, Key::new(0)).unwrap();
        let account = Account::of_vit(&model, &params);
        // Patches, class token, five positions; blocks; last norm; head.
        let blocks = 3 * (4 * 64 + 2 * 48 + 2 * 16);
        let expected = (48 * 8 + 8) + 8 + 5 * 8 + blocks + 16 + (80 + 10);
        assert_eq!(account.parameters.total, expected);
        let flops = Flops {
            attention: 3 * (8 * 64 + 4 * 8 * 5),
            feed_forward: 3 * 4 * 8 * 6,
            connections: 6 * 8,
            // Once for five tokens, and for four of five.
            head: 2 * 80 / 5,
            embedding: 4 * 2 * 48 * 8 / 5,
            conditioning: 0,
        };
        assert_eq!(account.flops, flops);
    }

    #[test]
    fn the_account_of_a_diffusion_transformer_is_that_by_hand() {
        let config = DitConfig {
            image: 8,
            channels: 3,
            patch: 4,
            classes: 10,
            dim: 8,
            layers: 3,
            heads: 2,
            timestep_features: 6,
            ffn: FfnConfig::Gelu { hidden: 6 },
            ..DitConfig::default()
        };
        let (model, params) = Dit::new(&config, Key::new(0)).unwrap();
        let account = Account::of_dit(&model, &params);
        // Patches; timestep and classes; blocks with qk-norm and adaLN-Zero; the end.
        let timestep = (6 * 8 + 8) + (64 + 8);
        let blocks = 3 * (4 * 64 + 16 + 2 * 48 + 2 * (3 * 64 + 24));
        let end = (2 * 64 + 16) + (48 * 8 + 48);
        let expected = (48 * 8 + 8) + timestep + 11 * 8 + blocks + end;
        assert_eq!(account.parameters.total, expected);
        let flops = Flops {
            attention: 3 * (8 * 64 + 4 * 8 * 4),
            feed_forward: 3 * 4 * 8 * 6,
            connections: 6 * 8,
            head: 2 * 48 * 8,
            embedding: 2 * 48 * 8,
            // Once for four tokens.
            conditioning: 2 * (6 * 8 + 64 + 6 * 3 * 64 + 2 * 64) / 4,
        };
        assert_eq!(account.flops, flops);
    }

    #[test]
    fn a_denoiser_leaves_behind_about_what_is_counted() {
        for rate in [1, 4] {
            let config = DitConfig {
                connection: ConnectionConfig::Hyper(HyperConfig {
                    rate,
                    ..HyperConfig::default()
                }),
                ..DitConfig::default()
            };
            let (model, params) = Dit::new(&config, Key::new(0)).unwrap();
            let tape = Tape::new();
            tape.bind(&params);
            let images = vec![0.5; 4 * config.patches().elements()];
            let noisy = Noisy {
                images: &images,
                timesteps: &[1, 10, 100, 1000],
                classes: &[0, 1, 2, 10],
            };
            model.losses(&tape, noisy, &images);
            let counted = Account::of_dit(&model, &params).activation_bytes as f64;
            let tokens = 4 * config.patches().count();
            let held = (tape.allocated() * FLOAT) as f64 / tokens as f64;
            let ratio = held / counted;
            assert!((0.8..1.5).contains(&ratio), "x{rate}: {held} for {counted}");
        }
    }

    #[test]
    fn a_forward_leaves_behind_about_what_is_counted() {
        for connection in ConnectionConfig::all() {
            let config = TransformerConfig {
                dim: 32,
                layers: 4,
                seq: 64,
                connection,
                ..TransformerConfig::default()
            };
            let (model, params) = Transformer::new(&config, Key::new(0)).unwrap();
            let tape = Tape::new();
            tape.bind(&params);
            let tokens = vec![7; 2 * config.seq];
            model.loss(&tape, &tokens, &tokens, config.seq);
            let counted = Account::of(&model, &params).activation_bytes as f64;
            let held = (tape.allocated() * FLOAT) as f64 / tokens.len() as f64;
            // Buffers are up to a quarter larger than what they hold; there is scratch.
            let ratio = held / counted;
            let label = config.connection.spec().label();
            assert!((0.8..1.5).contains(&ratio), "{label}: {held} for {counted}");
        }
    }

    #[test]
    fn frozen_parameters_are_counted_but_not_as_trained() {
        let config = TransformerConfig {
            connection: ConnectionConfig::Hyper(HyperConfig {
                dynamic: false,
                frozen: vec![nn::connection::hyper::FrozenPart::Write],
                ..HyperConfig::default()
            }),
            ..small()
        };
        let counted = account(&config).parameters;
        assert_eq!(counted.total - counted.trained, 6 * 4);
    }
}
