//! Multi-head self-attention.

use crate::{linear::Linear, norm::NormConfig};
use engine::{
    ops::{Rotary, attention, linear_parts, qk_norm},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use std::sync::Arc;

/// The shape of the attention of a network.
#[derive(Clone, Debug)]
pub struct AttentionConfig {
    /// The width of the network.
    pub dim: usize,
    /// Number of heads that share it.
    pub heads: usize,
    /// True where a position sees only itself and earlier ones.
    pub causal: bool,
    /// RMS norm of the whole q and k vectors before the split into heads.
    pub qk_norm: Option<NormConfig>,
    /// Initialisation of the input projections.
    pub init: Init,
    /// Initialisation of the output projection.
    pub output_init: Init,
}

/// What queries, keys and values are projected from, `[batch, seq, dim]`.
#[derive(Clone, Copy, Debug)]
pub enum AttentionInput<'t> {
    /// One value for all of them.
    Shared(Var<'t>),
    /// A value of its own for each.
    Apart([Var<'t>; 3]),
}

/// Self-attention of several heads: `q | k | v = x W_qkvᵀ`, for every head
/// `softmax(q kᵀ / sqrt(head_dim)) v`, and the output projection of all of them; `[batch, seq,
/// dim]` to `[batch, seq, dim]` (Vaswani et al., Attention Is All You Need, 2017).
#[derive(Debug)]
pub struct Attention {
    qkv: Linear,
    output: Linear,
    norms: Option<(ParamId, ParamId, f32)>,
    rotary: Option<Arc<Rotary>>,
    heads: usize,
    causal: bool,
}

impl Attention {
    /// Registers `{q,k,v,o}.weight` and, with qk-norm, `{q,k}_norm.weight` below
    /// `name`. Rotary tables are shared by the layers of a network.
    pub fn new(
        b: &mut Builder,
        name: &str,
        config: &AttentionConfig,
        rotary: Option<Arc<Rotary>>,
    ) -> Self {
        let dim = config.dim;
        b.scope(name, |b| Self {
            qkv: Linear::fused(
                b,
                "qkv",
                dim,
                &[("q", dim), ("k", dim), ("v", dim)],
                &config.init,
            ),
            output: Linear::new(b, "o", dim, dim, config.output_init.clone()),
            norms: config.qk_norm.map(|norm| {
                let weight = |b: &mut Builder, name| b.param(name, [dim], Decay::No, Init::Ones);
                (
                    weight(b, "q_norm.weight"),
                    weight(b, "k_norm.weight"),
                    norm.eps,
                )
            }),
            rotary,
            heads: config.heads,
            causal: config.causal,
        })
    }

    /// `[batch, seq, dim]` to the same shape.
    #[track_caller]
    pub fn forward<'t>(&self, x: Var<'t>) -> Var<'t> {
        self.forward_edited(AttentionInput::Shared(x), &|qkv| qkv)
    }

    /// As [`Attention::forward`], with the projections `q | k | v`, `[batch, seq, 3
    /// dim]`, changed by `edit` before qk-norm and attention.
    #[track_caller]
    pub fn forward_edited<'t>(
        &self,
        input: AttentionInput<'t>,
        edit: &dyn Fn(Var<'t>) -> Var<'t>,
    ) -> Var<'t> {
        let qkv = match input {
            AttentionInput::Shared(x) => self.qkv.forward(x),
            AttentionInput::Apart(xs) => linear_parts(&xs, xs[0].tape().param(self.qkv.weight())),
        };
        let (tape, mut qkv) = (qkv.tape(), edit(qkv));
        if let Some((q, k, eps)) = self.norms {
            qkv = qk_norm(qkv, tape.param(q), tape.param(k), eps);
        }
        let mixed = attention(qkv, self.heads, self.rotary.as_ref(), self.causal);
        self.output.forward(mixed)
    }
}
