//! Connections: what carries the hidden state past a sublayer.
//!
//! A residual network is a chain of sublayers `T_k` (attention, feed-forward) and a
//! rule that says what each of them reads and where its output goes. Pre-norm,
//! post-norm, parallel blocks, hyper-connections and every other rule implement one
//! trait, so that an ablation arm is a configuration and nothing else.
//!
//! Adding one: a file with its configuration ([`Spec`]) and its layer ([`Connection`]), and one
//! line in the list of `connections!` below.

pub mod constrained;
pub mod hyper;
pub mod ops;
pub mod plain;
mod reduction;
pub mod streams;

pub use constrained::{
    CayleyConfig, ConstrainedInit, IdentityHcConfig, KromHcConfig, MhcConfig, MhcLiteConfig,
    OhcConfig,
};
pub use hyper::HyperConfig;
pub use reduction::Reduction;
pub use streams::{expansion::Expansion, predictor::PredictorNorm};

use crate::{attention::AttentionInput, hooks, norm::NormKind};
use engine::{params::Builder, tape::Var};
use std::{fmt, ops::Add};
use streams::pending::PendingWrite;

/// Which sublayer of the network a connection belongs to.
///
/// The index counts sublayers, not blocks: the attention and the feed-forward layer
/// of block `i` are sublayers `2 i` and `2 i + 1`.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The number of this sublayer, from 0.
    pub index: usize,
    /// Number of sublayers of the network.
    pub count: usize,
    /// The width of the network.
    pub dim: usize,
    /// Which norm the network has.
    pub norm: NormKind,
    /// The constant under the root of the network's norms.
    pub eps: f32,
}

/// The state that flows from sublayer to sublayer.
#[derive(Debug)]
pub struct State<'t> {
    /// The carried vectors: `[batch, seq, dim]`, or `[batch, seq, rate, dim]`.
    pub hidden: Var<'t>,
    /// Values that a connection remembers beside them.
    pub memory: Vec<Var<'t>>,
    /// A write of the last sublayer that the next connection will carry out.
    pub pending: Option<PendingWrite<'t>>,
}

impl<'t> State<'t> {
    /// A state that consists of the hidden vectors alone.
    pub fn new(hidden: Var<'t>) -> Self {
        Self {
            hidden,
            memory: Vec::new(),
            pending: None,
        }
    }

    /// The state with a pending write carried out: what a look at the hidden vectors
    /// between two sublayers has to see.
    #[track_caller]
    pub fn settle(mut self) -> Self {
        if let Some(write) = self.pending.take() {
            self.hidden = write.carry_out(self.hidden);
        }
        self
    }
}

/// A sublayer as a connection sees it: the norm before it and the layer itself.
pub struct Sublayer<'a, 't> {
    /// The norm of the sublayer.
    pub norm: &'a dyn Fn(Var<'t>) -> Var<'t>,
    /// Attention or feed-forward.
    pub layer: &'a dyn Fn(Var<'t>) -> Var<'t>,
    /// Attention whose projections a connection changes before they attend; `None`
    /// where the layer is no attention.
    pub attention: Option<EditedAttention<'a, 't>>,
}

/// [`Attention::forward_edited`](crate::attention::Attention::forward_edited) of a
/// sublayer.
pub type EditedAttention<'a, 't> =
    &'a dyn Fn(AttentionInput<'t>, &dyn Fn(Var<'t>) -> Var<'t>) -> Var<'t>;

impl<'t> Sublayer<'_, 't> {
    /// `T(x) = layer(norm(x))`, `[.., dim]` to `[.., dim]`; shown as `input` and `output`.
    #[track_caller]
    pub fn pre_normed(&self, x: Var<'t>) -> Var<'t> {
        shown(x, |x| (self.layer)((self.norm)(x)))
    }
}

/// `sublayer(x)`, shown as `input` and `output`: what a sublayer reads, before any norm of
/// its own, and what it writes.
fn shown<'t>(x: Var<'t>, sublayer: impl FnOnce(Var<'t>) -> Var<'t>) -> Var<'t> {
    let tape = x.tape();
    tape.probe(hooks::INPUT, x);
    let output = sublayer(x);
    tape.probe(hooks::OUTPUT, output);
    output
}

/// The cost of a connection per token and sublayer, beyond the sublayer itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations of the forward; a multiply-add counts two.
    pub flops: usize,
    /// Elements that the forward leaves behind for the backward.
    pub saved: usize,
}

impl Cost {
    /// So many operations and saved elements.
    pub fn new(flops: usize, saved: usize) -> Self {
        Self { flops, saved }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.flops + other.flops, self.saved + other.saved)
    }
}

/// The scopes, outside the blocks, of what the last connection registers for the end of the
/// streams.
pub const END_SCOPES: [&str; 2] = [HC_HEAD, MIXER];

/// A connection around one sublayer.
///
/// A network of L of them computes `reduce(apply_L(.. apply_1(expand(embedding))))`:
/// `expand` is asked of the first and `reduce` of the last. Mistakes in shapes panic in the
/// operation that meets them, with the scope of the sublayer.
pub trait Connection: fmt::Debug + Send + Sync {
    /// Returns the embedding `[batch, seq, dim]` as the first state: by default, as it is.
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(embedding)
    }

    /// Carries the state past the sublayer.
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t>;

    /// Returns the last state as one vector per token, before the final norm: by default, the
    /// hidden vectors.
    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        state.hidden
    }

    /// Returns the cost beyond the sublayer.
    fn cost(&self) -> Cost;
}

/// More streams than anyone has tried; the sizes of their predictors grow with the cube.
const MOST_STREAMS: usize = 256;

/// Says what is wrong with a number of streams.
fn check_streams(key: &str, streams: usize) -> Result<(), String> {
    expect_positive(key, streams)?;
    match streams {
        ..=MOST_STREAMS => Ok(()),
        _ => Err(format!(
            "{key} is {streams}, expected at most {MOST_STREAMS}"
        )),
    }
}

/// Says that a count is 0.
fn expect_positive(key: &str, count: usize) -> Result<(), String> {
    match count {
        0 => Err(format!("{key} is 0, expected at least 1")),
        _ => Ok(()),
    }
}

/// Says that a setting is no number.
fn expect_number(key: &str, value: f32) -> Result<(), String> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(format!("{key} is {value}, expected a number")),
    }
}

/// The name of a factor of a sublayer's write that is not learned: it follows a schedule over the
/// training, from 1 to [`Spec::write_gain_end`].
pub const WRITE_GAIN: &str = "write_gain";

/// The configuration of a kind of connection.
pub trait Spec {
    /// Builds the connection of one sublayer, registering its parameters.
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection>;

    /// A short name for tables: `DHC x4`.
    fn label(&self) -> String;

    /// Where it was published.
    fn citation(&self) -> &'static str;

    /// Returns whether the network has a norm before its head.
    fn final_norm(&self) -> bool {
        true
    }

    /// Returns whether every sublayer has a norm of its own before it.
    fn sublayer_norms(&self) -> bool {
        true
    }

    /// Returns whether the feed-forward layer of a block reads what the norm of its attention has
    /// made, and has no norm of its own.
    fn shares_norm(&self) -> bool {
        false
    }

    /// Returns the factor of the standard deviation of every output projection at
    /// initialisation.
    fn output_init_scale(&self) -> f32 {
        1.0
    }

    /// Returns where the factors named [`WRITE_GAIN`] are to be at the end of a training; `None`
    /// without any.
    fn write_gain_end(&self) -> Option<f32> {
        None
    }

    /// Says what is wrong with the configuration for a network of this width.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    fn validate(&self, dim: usize) -> Result<(), String> {
        let _ = dim;
        Ok(())
    }

    /// Says what is wrong with the configuration for a network of so many blocks.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    fn validate_depth(&self, blocks: usize) -> Result<(), String> {
        let _ = blocks;
        Ok(())
    }
}

/// Declares [`ConnectionConfig`] from the list of the kinds: `KIND(CONFIGURATION) in FILE` where
/// the kind has a file of its own.
#[doc(hidden)]
#[macro_export]
macro_rules! connections {
    ($($(#[$doc:meta])* $variant:ident($config:ty) $(in $file:ident)?),+ $(,)?) => {
        $($(
            mod $file;
            pub use $file::*;
        )?)+

        /// Every kind of connection; in files, `type` names it in snake case.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum ConnectionConfig {
            $($(#[$doc])* $variant($config)),+
        }

        $crate::kinds!(ConnectionConfig, "snake_case", $($variant($config)),+);

        impl ConnectionConfig {
            /// The kind behind the choice.
            pub fn spec(&self) -> &dyn $crate::connection::Spec {
                match self {
                    $(Self::$variant(config) => config),+
                }
            }

            /// Every kind with its defaults.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant(<$config>::default())),+]
            }
        }
    };
}

connections! {
    /// `x + f(norm x)`.
    PreNorm(PreNormConfig) in pre_norm,
    /// `norm(x + f(x))`.
    PostNorm(PostNormConfig) in post_norm,
    /// `x + attention(norm x) + feed_forward(norm x)`.
    Parallel(ParallelConfig) in parallel,
    /// `x + alpha f(norm x)`, alpha from 0.
    Rezero(ReZeroConfig) in rezero,
    /// `x + diag(lambda) f(norm x)`, lambda small at first.
    LayerScale(LayerScaleConfig) in layer_scale,
    /// `t f(norm x) + (1 - t) x`, t a learned gate.
    Highway(HighwayConfig) in highway,
    /// A post-norm and a pre-norm residual side by side.
    ResidualDual(ResidualDualConfig) in residual_dual,
    /// Blocks of which one is computed and the others are predicted.
    Altup(AltUpConfig) in altup,
    /// A learned average of all block outputs so far.
    DenseFormer(DenseFormerConfig) in dense_former,
    /// Sums of all block outputs so far, with weights per token and use.
    Mudd(MuddConfig) in mudd,
    /// Learned weights, a low-rank map and previous states beside the branch.
    Laurel(LaurelConfig) in laurel,
    /// The values of the first attention in all later ones.
    ValueResidual(ValueResidualConfig) in value_residual,
    /// Attention over the outputs of all sublayers so far.
    AttentionResidual(AttentionResidualConfig) in attention_residual,
    /// A residual stream, and attention over the changes before beside it.
    DeltaAttentionResidual(DeltaAttentionResidualConfig) in delta_attention_residual,
    /// Rank-one erasing and writing along the direction of each output.
    DeepDelta(DeepDeltaConfig) in deep_delta,
    /// Two lanes from a block on, one read by attention, the other by feed-forward.
    TwoLane(TwoLaneConfig) in two_lane,
    /// Hyper-connections, static or dynamic.
    Hyper(HyperConfig),
    /// Streams that are read with a gate per channel and never mixed.
    GatedResidual(GatedResidualConfig) in gated_residual,
    /// Frac-connections, static or dynamic.
    Frac(FracConfig) in frac,
    /// mHC: a doubly stochastic mix by Sinkhorn's iteration.
    Mhc(MhcConfig),
    /// mHC as DeepSeek-V4 releases it.
    MhcV4(MhcV4Config) in mhc_v4,
    /// The same with every read delayed by one sublayer.
    SinglePassMhc(SinglePassMhcConfig) in single_pass_mhc,
    /// mHC-lite: a mean of permutations.
    MhcLite(MhcLiteConfig),
    /// KromHC: a Kronecker product of 2 x 2 mixes.
    KromHc(KromHcConfig),
    /// Read and write of mHC without a mix.
    IdentityHc(IdentityHcConfig),
    /// The read and write of mHC with an orthogonal mix.
    Cayley(CayleyConfig),
    /// The read and write of mHC with a mix of four streams by quaternions.
    Ohc(OhcConfig),
    /// JPmHC: softmax reads and writes and an orthogonal mix.
    Jpmhc(JpmHcConfig) in jpmhc,
    /// Generalised hyper-connections of a virtual width.
    VirtualWidth(VirtualWidthConfig) in virtual_width,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self::PreNorm(PreNormConfig::default())
    }
}
