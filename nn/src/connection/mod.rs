//! Connections: what carries the hidden state past a sublayer.
//!
//! A residual network is a chain of sublayers `T_k` (attention, feed-forward) and a
//! rule that says what each of them reads and where its output goes. Pre-norm,
//! post-norm, parallel blocks, hyper-connections and every other rule implement one
//! trait, so that an ablation arm is a configuration and nothing else.
//!
//! Adding one: a file with its configuration ([`Spec`]) and its layer
//! ([`Connection`]), and three lines here: `mod`, `pub use`, and one in [`ConnectionConfig`].

mod altup;
mod attention_residual;
mod cayley;
pub mod constrained;
mod dense_former;
mod dynamic;
mod frac;
mod highway;
pub mod hyper;
mod identity_hc;
mod jpmhc;
mod krom_hc;
mod laurel;
mod layer_scale;
mod mhc;
mod mhc_lite;
pub mod ops;
mod parallel;
mod post_norm;
mod pre_norm;
mod reduction;
mod residual_dual;
mod rezero;
pub mod slot_predictor;
pub mod slots;
mod value_residual;
mod virtual_width;

pub use altup::{AltUpConfig, BlockSelection};
pub use attention_residual::{AttentionResidualConfig, DepthSources};
pub use cayley::CayleyConfig;
pub use constrained::ConstrainedInit;
pub use dense_former::DenseFormerConfig;
pub use frac::FracConfig;
pub use highway::HighwayConfig;
pub use hyper::HyperConfig;
pub use identity_hc::IdentityHcConfig;
pub use jpmhc::JpmHcConfig;
pub use krom_hc::KromHcConfig;
pub use laurel::{LaurelConfig, LaurelForm, WeightBound};
pub use layer_scale::LayerScaleConfig;
pub use mhc::MhcConfig;
pub use mhc_lite::MhcLiteConfig;
pub use parallel::ParallelConfig;
pub use post_norm::PostNormConfig;
pub use pre_norm::PreNormConfig;
pub use reduction::Reduction;
pub use residual_dual::ResidualDualConfig;
pub use rezero::ReZeroConfig;
pub use value_residual::ValueResidualConfig;
pub use virtual_width::{Narrowing, NormGroup, VirtualWidthConfig, Widening};

use crate::norm::NormKind;
use engine::{params::Builder, tape::Var};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which sublayer of the network a connection belongs to.
///
/// The index counts sublayers, not blocks: the attention and the feed-forward layer
/// of block `i` are sublayers `2 i` and `2 i + 1`.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The number of this sublayer, from 0.
    pub index: usize,
    /// How many sublayers the network has.
    pub count: usize,
    /// The width of the network.
    pub dim: usize,
    /// Which norm the network has.
    pub norm: NormKind,
    /// The constant under the root of the network's norms.
    pub eps: f32,
}

/// What flows from sublayer to sublayer.
#[derive(Debug)]
pub struct State<'t> {
    /// The carried vectors: `[batch, seq, dim]`, or `[batch, seq, rate, dim]`.
    pub hidden: Var<'t>,
    /// What a connection remembers beside them, as it likes.
    pub memory: Vec<Var<'t>>,
    /// A write of the last sublayer that the next connection will carry out.
    pub pending: Option<hyper::PendingWrite<'t>>,
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
pub type EditedAttention<'a, 't> = &'a dyn Fn(Var<'t>, &dyn Fn(Var<'t>) -> Var<'t>) -> Var<'t>;

impl<'t> Sublayer<'_, 't> {
    /// `T(x) = layer(norm(x))`, `[.., dim]` to `[.., dim]`; probed as `input` and `output`.
    #[track_caller]
    pub fn pre_normed(&self, x: Var<'t>) -> Var<'t> {
        probed(x, |x| (self.layer)((self.norm)(x)))
    }
}

/// `sublayer(x)`, probed as `input` and `output`: what a sublayer reads, before any norm of
/// its own, and what it writes.
fn probed<'t>(x: Var<'t>, sublayer: impl FnOnce(Var<'t>) -> Var<'t>) -> Var<'t> {
    let tape = x.tape();
    tape.probe("input", x);
    let output = sublayer(x);
    tape.probe("output", output);
    output
}

/// What a connection costs per token and sublayer, beyond the sublayer itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Floating-point operations of the forward; a multiply-add counts two.
    pub flops: usize,
    /// Elements that the forward leaves behind for the backward.
    pub saved: usize,
}

/// A connection around one sublayer.
///
/// A network of L of them computes `reduce(apply_L(.. apply_1(expand(embedding))))`:
/// `expand` is asked of the first and `reduce` of the last. Mistakes in shapes panic in the
/// operation that meets them, with the scope of the sublayer.
pub trait Connection: fmt::Debug + Send + Sync {
    /// The embedding `[batch, seq, dim]` as the first state.
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t>;

    /// Carries the state past the sublayer.
    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t>;

    /// The last state as one vector per token, before the final norm.
    fn reduce<'t>(&self, state: State<'t>) -> Var<'t>;

    /// Its cost beyond the sublayer.
    fn account(&self) -> Account;
}

/// More streams than anyone has tried; the sizes of their predictors grow with the cube.
const MOST_STREAMS: usize = 256;

/// Says what is wrong with a number of streams.
fn check_streams(key: &str, streams: usize) -> Result<(), String> {
    match streams {
        0 => Err(format!("{key} is 0, expected at least 1")),
        1..=MOST_STREAMS => Ok(()),
        _ => Err(format!(
            "{key} is {streams}, expected at most {MOST_STREAMS}"
        )),
    }
}

/// The configuration of a kind of connection.
pub trait Spec {
    /// Builds the connection of one sublayer, registering its parameters.
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection>;

    /// A short name for tables: `DHC x4`.
    fn label(&self) -> String;

    /// Where it was published.
    fn citation(&self) -> &'static str;

    /// Whether the network has a norm before its head.
    fn final_norm(&self) -> bool {
        true
    }

    /// Whether the feed-forward layer of a block reads what the norm of its attention has made,
    /// and has no norm of its own.
    fn shares_norm(&self) -> bool {
        false
    }

    /// What the standard deviation of every output projection is multiplied with at
    /// initialisation.
    fn output_init_scale(&self) -> f32 {
        1.0
    }

    /// Says what is wrong with the configuration for a network of this width.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    fn validate(&self, dim: usize) -> Result<(), String> {
        let _ = dim;
        Ok(())
    }
}

macro_rules! connections {
    ($($(#[$doc:meta])* $variant:ident($config:ty)),+ $(,)?) => {
        /// Every kind of connection; in files, `type` names it in snake case.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        pub enum ConnectionConfig {
            $($(#[$doc])* $variant($config)),+
        }

        impl ConnectionConfig {
            /// The kind behind the choice.
            pub fn spec(&self) -> &dyn Spec {
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
    PreNorm(PreNormConfig),
    /// `norm(x + f(x))`.
    PostNorm(PostNormConfig),
    /// `x + attention(norm x) + feed_forward(norm x)`.
    Parallel(ParallelConfig),
    /// `x + alpha f(norm x)`, alpha from 0.
    Rezero(ReZeroConfig),
    /// `x + diag(lambda) f(norm x)`, lambda small at first.
    LayerScale(LayerScaleConfig),
    /// `t f(norm x) + (1 - t) x`, t a learned gate.
    Highway(HighwayConfig),
    /// A post-norm and a pre-norm residual side by side.
    ResidualDual(ResidualDualConfig),
    /// Blocks of which one is computed and the others are predicted.
    Altup(AltUpConfig),
    /// A learned average of all block outputs so far.
    DenseFormer(DenseFormerConfig),
    /// Learned weights, a low-rank map and previous states beside the branch.
    Laurel(LaurelConfig),
    /// The values of the first attention in all later ones.
    ValueResidual(ValueResidualConfig),
    /// Attention over the outputs of all sublayers so far.
    AttentionResidual(AttentionResidualConfig),
    /// Hyper-connections, static or dynamic.
    Hyper(HyperConfig),
    /// Frac-connections, static or dynamic.
    Frac(FracConfig),
    /// mHC: a doubly stochastic mix by Sinkhorn's iteration.
    Mhc(MhcConfig),
    /// mHC-lite: a mean of permutations.
    MhcLite(MhcLiteConfig),
    /// KromHC: a Kronecker product of 2 x 2 mixes.
    KromHc(KromHcConfig),
    /// Read and write of mHC without a mix.
    IdentityHc(IdentityHcConfig),
    /// The read and write of mHC with an orthogonal mix.
    Cayley(CayleyConfig),
    /// JPmHC: softmax reads and writes and an orthogonal mix.
    Jpmhc(JpmHcConfig),
    /// Generalised hyper-connections of a virtual width.
    VirtualWidth(VirtualWidthConfig),
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self::PreNorm(PreNormConfig::default())
    }
}
