//! The OLMo-style decoder, dense or (OLMoE) with a mixture of experts.

use crate::{
    block::{Trunk, TrunkConfig},
    config::{ConfigError, TransformerConfig},
    loss::Loss,
};
use engine::{
    ops::{Rotary, cross_entropy, embedding, linear},
    params::{Builder, Decay, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use nn::{
    connection::{Connection, Spec},
    linear::Linear,
    moe::RouterLosses,
};
use std::sync::Arc;

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
    /// [`ConnectionConfig`](nn::connection::ConnectionConfig), in place of the
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
        let rotary = Rotary::new(config.rope_theta, config.dim / config.heads, config.seq);
        Ok(Self::build(
            config,
            connection,
            Some(rotary),
            Builder::new(key),
        ))
    }

    /// What [`Transformer::new`] builds without the memory for it: to be counted, not used.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn of_shapes(config: &TransformerConfig) -> Result<(Self, Params), ConfigError> {
        config.validate()?;
        let builder = Builder::of_shapes(Key::new(0));
        Ok(Self::build(config, config.connection.spec(), None, builder))
    }

    fn build(
        config: &TransformerConfig,
        connection: &dyn Spec,
        rotary: Option<Rotary>,
        mut builder: Builder,
    ) -> (Self, Params) {
        let b = &mut builder;
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
            rotary: rotary.map(Arc::new),
            connection,
            ..config.trunk()
        };
        let trunk = Trunk::new(&trunk, b);
        let head = (!config.tied_embeddings)
            .then(|| Linear::new(b, "head", dim, config.vocab_size, init.clone()));
        let model = Self {
            config: config.clone(),
            embed,
            trunk,
            head,
        };
        (model, builder.finish())
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

    /// What training minimises: [`Transformer::losses`], added up.
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
