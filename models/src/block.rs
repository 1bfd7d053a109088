//! The body of every network: blocks of attention and feed-forward with their
//! connections, and the norm after the last one.

use crate::config::{self, ConfigError, FfnConfig};
use engine::{
    ops::{Rotary, dropout},
    params::{Builder, Init},
    tape::{Tape, Var},
};
use nn::{
    ada_ln::AdaLnZero,
    attention::{Attention, AttentionConfig},
    connection::{Connection, Site, Spec, State, Sublayer},
    feed_forward::FeedForward,
    hooks,
    moe::{MixtureOfExperts, OverLayers, RouterLosses},
    norm::{Norm, NormConfig},
};
use std::{cell::Cell, sync::Arc};

/// Configuration of the blocks of a network.
pub struct TrunkConfig<'a> {
    /// Width of the network.
    pub dim: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; they share the width.
    pub heads: usize,
    /// True if a position sees only itself and earlier ones.
    pub causal: bool,
    /// Rotary positions, if attention has them.
    pub rotary: Option<Arc<Rotary>>,
    /// RMS norm of whole q and k vectors before the split into heads.
    pub qk_norm: bool,
    /// True if a condition shifts, scales and gates every sublayer (adaLN-Zero); the norms
    /// have no parameters then, the last one neither.
    pub conditioned: bool,
    /// The probability of dropping an element of a sublayer's output in training.
    pub dropout: f32,
    /// The standard deviation of the initial weights.
    pub init_std: f32,
    /// Norms of sublayers, and the last one.
    pub norm: NormConfig,
    /// The feed-forward layers.
    pub ffn: &'a FfnConfig,
    /// Configuration of the connections, which carry the hidden state past each sublayer.
    pub connection: &'a dyn Spec,
}

/// Embedded vectors in, normed vectors for the head out.
#[derive(Debug)]
pub struct Trunk {
    blocks: Vec<Block>,
    final_norm: Option<Norm>,
    router_losses: OverLayers,
}

impl Trunk {
    /// Registers `blocks.N...` and, unless the connection does without,
    /// `final_norm`.
    pub fn new(config: &TrunkConfig<'_>, b: &mut Builder) -> Self {
        Self {
            blocks: (0..config.layers)
                .map(|i| b.scope(format!("blocks.{i}"), |b| Block::new(config, i, b)))
                .collect(),
            final_norm: config
                .connection
                .final_norm()
                .then(|| config.norm("final_norm", b)),
            router_losses: match config.ffn {
                FfnConfig::Moe(moe) => moe.router_losses,
                _ => OverLayers::Sum,
            },
        }
    }

    /// `[batch, seq, dim]` to the same shape, and the losses of all routers, summed or averaged,
    /// if there are any. The condition of a conditioned trunk is `[batch, dim]`.
    ///
    /// # Panics
    /// If there is a condition but no adaLN-Zero, or none where there should be one.
    #[track_caller]
    pub fn forward<'t>(
        &self,
        embedded: Var<'t>,
        condition: Option<Var<'t>>,
    ) -> (Var<'t>, Option<RouterLosses<'t>>) {
        let tape = embedded.tape();
        tape.probe(hooks::EMBEDDING, embedded);
        let mut state = self.first_connection().expand(embedded);
        let mut losses: Option<RouterLosses<'t>> = None;
        for block in &self.blocks {
            let (next, of_block) = block.forward(tape, state, condition);
            state = next;
            losses = match (losses, of_block) {
                (Some(sum), Some(more)) => Some(sum.plus(more)),
                (sum, more) => sum.or(more),
            };
        }
        if self.router_losses == OverLayers::Mean {
            losses = losses.map(|losses| losses.scaled(1.0 / self.blocks.len() as f32));
        }
        let x = self.last_connection().reduce(state);
        tape.probe(hooks::REDUCED, x);
        let x = match &self.final_norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        (x, losses)
    }

    /// The connections in the order of their sublayers.
    pub fn connections(&self) -> impl Iterator<Item = &dyn Connection> {
        self.blocks
            .iter()
            .flat_map(|block| [&*block.attn_connection, &*block.ffn_connection])
    }

    fn first_connection(&self) -> &dyn Connection {
        &*self.blocks.first().expect("a block").attn_connection
    }

    fn last_connection(&self) -> &dyn Connection {
        &*self.blocks.last().expect("a block").ffn_connection
    }
}

const MOST_LAYERS: usize = 10_000;

impl TrunkConfig<'_> {
    /// Checks the sizes, the feed-forward layers and the connection.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (dim, heads) = (self.dim, self.heads);
        config::sizes(&[("dim", dim), ("layers", self.layers), ("heads", heads)])?;
        config::at_most(&[("layers", self.layers, MOST_LAYERS)])?;
        if !dim.is_multiple_of(heads) {
            return config::fail(format!(
                "dim {dim} is not divisible by heads {heads}: each head takes dim / heads columns"
            ));
        }
        config::positive(&[
            ("init_std", self.init_std.into()),
            ("norm.eps", self.norm.eps.into()),
        ])?;
        self.ffn.validate()?;
        let of_connection = self.connection.validate(dim);
        of_connection
            .and_then(|()| self.connection.validate_depth(self.layers))
            .map_err(|message| ConfigError(format!("connection: {message}")))
    }

    /// Number of elements of all matrices, connections left out, for sizes that may be absurd.
    pub fn rough_parameters(&self) -> f64 {
        let dim = self.dim as f64;
        // Two shifts, scales and gates.
        let conditioning = if self.conditioned {
            6.0 * dim * dim
        } else {
            0.0
        };
        self.layers as f64 * (4.0 * dim * dim + conditioning + self.ffn.rough_parameters(dim))
    }

    /// A norm of these blocks.
    fn norm(&self, name: &str, b: &mut Builder) -> Norm {
        match self.conditioned {
            true => Norm::without_parameters(self.norm),
            false => Norm::new(b, name, self.norm, self.dim),
        }
    }
}

/// Attention, then feed-forward, each with its norm and its own connection.
#[derive(Debug)]
struct Block {
    attn_scope: Arc<str>,
    /// `None` where the connection has a norm of its own.
    attn_norm: Option<Norm>,
    attn: Attention,
    attn_modulation: Option<AdaLnZero>,
    attn_connection: Box<dyn Connection>,
    ffn_scope: Arc<str>,
    /// `None` there too, and where the connection has both sublayers read one norm.
    ffn_norm: Option<Norm>,
    ffn: Ffn,
    ffn_modulation: Option<AdaLnZero>,
    ffn_connection: Box<dyn Connection>,
    dropout: f32,
}

/// Effect of a condition on a sublayer; nothing where there is none. It belongs to the
/// sublayer `T` of the equations: a connection reads, mixes and writes around it.
#[derive(Clone, Copy)]
struct Modulation<'a, 't>(Option<(&'a AdaLnZero, Var<'t>)>);

impl<'a, 't> Modulation<'a, 't> {
    #[track_caller]
    fn new(ada_ln: &'a Option<AdaLnZero>, condition: Option<Var<'t>>) -> Self {
        assert_eq!(
            ada_ln.is_some(),
            condition.is_some(),
            "trunk: a condition and adaLN-Zero come together"
        );
        Self(ada_ln.as_ref().zip(condition))
    }

    fn modulate(self, normed: Var<'t>) -> Var<'t> {
        match self.0 {
            Some((ada_ln, condition)) => ada_ln.modulate(normed, condition),
            None => normed,
        }
    }

    fn gate(self, output: Var<'t>) -> Var<'t> {
        match self.0 {
            Some((ada_ln, condition)) => ada_ln.gate(output, condition),
            None => output,
        }
    }
}

/// `norm(x)`, x itself without a norm.
fn normed<'t>(norm: &Option<Norm>, x: Var<'t>) -> Var<'t> {
    norm.as_ref().map_or(x, |norm| norm.forward(x))
}

/// The second sublayer of a block.
#[derive(Debug)]
enum Ffn {
    Dense(FeedForward),
    Experts(MixtureOfExperts),
}

impl Block {
    fn new(config: &TrunkConfig<'_>, index: usize, b: &mut Builder) -> Self {
        let (dim, spec) = (config.dim, config.connection);
        let sublayers = 2 * config.layers;
        let site = |index| Site {
            index,
            count: sublayers,
            dim,
            norm: config.norm.kind,
            eps: config.norm.eps,
        };
        let init = Init::Normal {
            std: config.init_std,
        };
        // Residual branches add up over depth: GPT-2's rule keeps the variance.
        let depth = (sublayers as f32).sqrt();
        let output_init = Init::Normal {
            std: config.init_std / depth * spec.output_init_scale(),
        };
        let attention = AttentionConfig {
            dim,
            heads: config.heads,
            causal: config.causal,
            qk_norm: config.qk_norm.then_some(config.norm),
            init: init.clone(),
            output_init: output_init.clone(),
        };
        let modulation =
            |name: &str, b: &mut Builder| config.conditioned.then(|| AdaLnZero::new(b, name, dim));
        Self {
            attn_scope: b.path("attn").into(),
            attn_norm: spec.sublayer_norms().then(|| config.norm("attn_norm", b)),
            attn: Attention::new(b, "attn", &attention, config.rotary.clone()),
            attn_modulation: modulation("attn_modulation", b),
            attn_connection: b.scope("attn_connection", |b| spec.build(site(2 * index), b)),
            ffn_scope: b.path("ffn").into(),
            ffn_norm: (spec.sublayer_norms() && !spec.shares_norm())
                .then(|| config.norm("ffn_norm", b)),
            ffn: Ffn::new(config, &init, output_init, b),
            ffn_modulation: modulation("ffn_modulation", b),
            ffn_connection: b.scope("ffn_connection", |b| spec.build(site(2 * index + 1), b)),
            dropout: config.dropout,
        }
    }

    fn forward<'t>(
        &self,
        tape: &'t Tape,
        state: State<'t>,
        condition: Option<Var<'t>>,
    ) -> (State<'t>, Option<RouterLosses<'t>>) {
        let modulation = Modulation::new(&self.attn_modulation, condition);
        let finish = |y| modulation.gate(dropout(y, self.dropout, &self.attn_scope));
        let attention = Sublayer {
            norm: &|x| modulation.modulate(normed(&self.attn_norm, x)),
            layer: &|x| finish(self.attn.forward(x)),
            attention: Some(&|x, edit| finish(self.attn.forward_edited(x, edit))),
        };
        let scope = tape.enter(&self.attn_scope);
        let state = self.attn_connection.apply(state, &attention);
        drop(scope);
        // A connection knows nothing of routers: their losses leave by the side.
        let losses = Cell::new(None);
        let modulation = Modulation::new(&self.ffn_modulation, condition);
        let feed_forward = Sublayer {
            norm: &|x| modulation.modulate(normed(&self.ffn_norm, x)),
            layer: &|x| {
                let (y, of_router) = self.ffn.forward(x);
                losses.set(of_router);
                modulation.gate(dropout(y, self.dropout, &self.ffn_scope))
            },
            attention: None,
        };
        let _scope = tape.enter(&self.ffn_scope);
        let state = self.ffn_connection.apply(state, &feed_forward);
        (state, losses.get())
    }
}

impl Ffn {
    fn new(config: &TrunkConfig<'_>, init: &Init, output_init: Init, b: &mut Builder) -> Self {
        let dim = config.dim;
        match config.ffn {
            FfnConfig::SwiGlu { hidden } => {
                let widths = (dim, *hidden);
                Self::Dense(FeedForward::swiglu(b, "ffn", widths, init, output_init))
            }
            FfnConfig::Gelu { hidden } => {
                let widths = (dim, *hidden);
                Self::Dense(FeedForward::gelu(b, "ffn", widths, init, output_init))
            }
            FfnConfig::Moe(moe) => {
                Self::Experts(MixtureOfExperts::new(b, "ffn", dim, moe, init, output_init))
            }
        }
    }

    fn forward<'t>(&self, x: Var<'t>) -> (Var<'t>, Option<RouterLosses<'t>>) {
        match self {
            Self::Dense(layer) => (layer.forward(x), None),
            Self::Experts(layer) => {
                let (y, losses) = layer.forward(x);
                (y, Some(losses))
            }
        }
    }
}
