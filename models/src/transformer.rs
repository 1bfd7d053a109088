//! The OLMo-style decoder, dense or (OLMoE) with a mixture of experts.

use crate::{
    accounting::{Ends, Flops},
    block::{Trunk, TrunkConfig},
    config::{self, ConfigError, FfnConfig},
    loss::Loss,
    network::{Network, Objective},
};
use engine::{
    ops::{Rotary, cross_entropy, embedding, linear},
    params::{Builder, Decay, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use nn::{
    connection::{Connection, ConnectionConfig, Spec},
    linear::Linear,
    moe::RouterLosses,
    norm::NormConfig,
    settings,
};

settings! {
    /// An OLMo-style decoder: rotary positions, no biases, pre-norm sublayers.
    pub struct TransformerConfig {
        /// Number of different tokens; 256 for bytes.
        pub vocab_size: usize = 256,
        /// The width of the network.
        pub dim: usize = 64,
        /// Blocks of attention and feed-forward, two sublayers each.
        pub layers: usize = 6,
        /// Attention heads; they share the width.
        pub heads: usize = 4,
        /// The longest sequence.
        pub seq: usize = 64,
        /// RMS norm of whole q and k vectors before the split into heads.
        pub qk_norm: bool = false,
        /// The base of the rotary frequencies.
        pub rope_theta: f64 = 10_000.0,
        /// True if the head shares the weights of the embedding.
        pub tied_embeddings: bool = false,
        /// The standard deviation of the initial weights.
        pub init_std: f32 = 0.02,
        /// Norms of sublayers, and the last one.
        pub norm: NormConfig = NormConfig::default(),
        /// The feed-forward layers.
        pub ffn: FfnConfig = FfnConfig::SwiGlu { hidden: 176 },
        /// Configuration of the connections, which carry the hidden state past each sublayer.
        pub connection: ConnectionConfig = ConnectionConfig::default(),
    }
}

impl Network for TransformerConfig {
    fn kind(&self) -> &'static str {
        "transformer"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.validate_with(self.connection.spec())
    }

    fn objective(&self) -> Objective {
        Objective::NextToken {
            vocabulary: self.vocab_size,
        }
    }

    fn tokens(&self) -> usize {
        self.seq
    }

    fn trunk(&self) -> TrunkConfig<'_> {
        TrunkConfig {
            dim: self.dim,
            layers: self.layers,
            heads: self.heads,
            causal: true,
            // Known once the widths of heads have been checked.
            rotary: None,
            qk_norm: self.qk_norm,
            conditioned: false,
            dropout: 0.0,
            init_std: self.init_std,
            norm: self.norm,
            ffn: &self.ffn,
            connection: self.connection.spec(),
        }
    }

    fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    fn ffn_mut(&mut self) -> &mut FfnConfig {
        &mut self.ffn
    }

    fn rough_parameters(&self) -> f64 {
        let ends = if self.tied_embeddings { 1.0 } else { 2.0 };
        let rotary = self.seq as f64 * (self.dim as f64 / self.heads.max(1) as f64);
        self.trunk().rough_parameters() + ends * self.vocab_size as f64 * self.dim as f64 + rotary
    }

    fn ends(&self) -> Ends {
        Ends {
            flops: Flops {
                head: 2 * (self.dim * self.vocab_size) as u64,
                ..Flops::default()
            },
            // Embedding, logits and the statistics of the loss.
            saved: self.dim + self.vocab_size + 3,
        }
    }

    fn register(&self, b: &mut Builder) -> Trunk {
        Transformer::build(self, self.connection.spec(), b).trunk
    }
}

impl TransformerConfig {
    /// Checks the configuration with another connection.
    fn validate_with(&self, connection: &dyn Spec) -> Result<(), ConfigError> {
        config::countable(self.rough_parameters())?;
        config::sizes(&[("vocab_size", self.vocab_size), ("seq", self.seq)])?;
        let trunk = TrunkConfig {
            connection,
            ..self.trunk()
        };
        trunk.validate()?;
        let head_dim = self.dim / self.heads;
        if !head_dim.is_multiple_of(2) {
            return config::fail(format!(
                "dim {} over heads {} gives heads of width {head_dim}: rotary positions \
                 need an even width",
                self.dim, self.heads
            ));
        }
        config::positive(&[("rope_theta", self.rope_theta)])
    }
}

/// A decoder of bytes or other tokens: embedding, blocks, final norm, head.
#[derive(Debug)]
pub struct Transformer {
    config: TransformerConfig,
    embed: ParamId,
    trunk: Trunk,
    head: Option<Linear>,
}

impl Transformer {
    /// Builds the network and its initial parameters from a key. Weights that two
    /// configurations share by name start the same.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn new(config: &TransformerConfig, key: Key) -> Result<(Self, Params), ConfigError> {
        Self::with_connection(config, config.connection.spec(), key)
    }

    /// As [`Transformer::new`], with a connection that need not be one of
    /// [`ConnectionConfig`], in place of the
    /// configuration's.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn with_connection(
        config: &TransformerConfig,
        connection: &dyn Spec,
        key: Key,
    ) -> Result<(Self, Params), ConfigError> {
        config.validate_with(connection)?;
        let mut b = Builder::new(key);
        let model = Self::build(config, connection, &mut b);
        Ok((model, b.finish()))
    }

    fn build(config: &TransformerConfig, connection: &dyn Spec, b: &mut Builder) -> Self {
        let dim = config.dim;
        let init = Init::Normal {
            std: config.init_std,
        };
        let embed = b.param(
            "embed.weight",
            [config.vocab_size, dim],
            Decay::Yes,
            init.clone(),
        );
        let trunk = TrunkConfig {
            rotary: b
                .holds_values()
                .then(|| Rotary::new(config.rope_theta, dim / config.heads, config.seq).into()),
            connection,
            ..config.trunk()
        };
        let trunk = Trunk::new(&trunk, b);
        let head = (!config.tied_embeddings)
            .then(|| Linear::new(b, "head", dim, config.vocab_size, init.clone()));
        Self {
            config: config.clone(),
            embed,
            trunk,
            head,
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Logits `[batch, seq, vocab]` of tokens `[batch, seq]`, row by row.
    ///
    /// # Panics
    /// If the sequence is longer than the configuration's, or a token is not in the
    /// vocabulary.
    #[track_caller]
    pub fn logits<'t>(&self, tape: &'t Tape, tokens: &[u32], seq: usize) -> Var<'t> {
        self.forward(tape, tokens, seq).0
    }

    /// The mean loss in nats per token of predicting `targets`, and what the routers
    /// of a mixture of experts add to it.
    #[track_caller]
    pub fn losses<'t>(
        &self,
        tape: &'t Tape,
        tokens: &[u32],
        targets: &[u32],
        seq: usize,
    ) -> Loss<'t> {
        let (logits, router) = self.forward(tape, tokens, seq);
        Loss::new(logits, cross_entropy(logits, targets), router)
    }

    /// Loss that training minimises: [`Transformer::losses`], added up.
    #[track_caller]
    pub fn loss<'t>(&self, tape: &'t Tape, tokens: &[u32], targets: &[u32], seq: usize) -> Var<'t> {
        self.losses(tape, tokens, targets, seq).total
    }

    /// The connections in the order of their sublayers.
    pub fn connections(&self) -> impl Iterator<Item = &dyn Connection> {
        self.trunk.connections()
    }

    #[track_caller]
    fn forward<'t>(
        &self,
        tape: &'t Tape,
        tokens: &[u32],
        seq: usize,
    ) -> (Var<'t>, Option<RouterLosses<'t>>) {
        let batch = tokens.len() / seq;
        let embedded = embedding(tape.param(self.embed), tokens, [batch, seq]);
        let (x, router) = self.trunk.forward(embedded, None);
        let logits = match &self.head {
            Some(head) => head.forward(x),
            None => linear(x, tape.param(self.embed), None),
        };
        (logits, router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut TransformerConfig)) -> String {
        let mut config = TransformerConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn impossible_shapes_are_named() {
        assert!(TransformerConfig::default().validate().is_ok());
        assert!(message(|c| c.heads = 3).contains("dim 64 is not divisible by heads 3"));
        assert!(message(|c| (c.dim, c.heads) = (6, 2)).contains("need an even width"));
        assert!(message(|c| c.layers = 0).contains("layers is 0"));
        assert!(message(|c| c.init_std = f32::NAN).contains("init_std"));
    }
}
