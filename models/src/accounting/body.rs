//! The formulas of blocks.

use super::{Account, FLOAT, Flops, count};
use crate::{block::TrunkConfig, config::FfnConfig};
use engine::params::Params;
use nn::connection::Connection;

/// What is between the embedding and the head.
pub(super) struct Body<'a> {
    /// The blocks.
    pub(super) trunk: TrunkConfig<'a>,
    /// How many tokens look at each other.
    pub(super) tokens: usize,
}

impl Body<'_> {
    /// With the operations of the ends, and the elements per token that they save.
    pub(super) fn account<'c>(
        &self,
        ends: Flops,
        around: usize,
        connections: impl Iterator<Item = &'c dyn Connection>,
        params: &Params,
    ) -> Account {
        let mut flops = Flops {
            attention: self.trunk.layers as u64 * self.attention(),
            feed_forward: self.trunk.layers as u64 * self.feed_forward(),
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
        let (d, tokens) = (self.trunk.dim as u64, self.tokens as u64);
        let pairs = match self.trunk.causal {
            true => 2 * d * (tokens + 1),
            false => 4 * d * tokens,
        };
        8 * d * d + pairs
    }

    fn feed_forward(&self) -> u64 {
        let (d, hidden) = (self.trunk.dim as u64, self.trunk.ffn.hidden() as u64);
        match self.trunk.ffn {
            FfnConfig::SwiGlu { .. } => 6 * d * hidden,
            FfnConfig::Gelu { .. } => 4 * d * hidden,
            FfnConfig::Moe(moe) => 2 * moe.experts as u64 * d + moe.top_k as u64 * 6 * d * hidden,
        }
    }

    /// Parameters of the experts that a token does not choose.
    fn idle_parameters(&self) -> u64 {
        match self.trunk.ffn {
            FfnConfig::Moe(moe) => {
                let idle = moe.experts - moe.top_k;
                (self.trunk.layers * idle * 3 * self.trunk.dim * moe.hidden) as u64
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
        let (d, hidden) = (self.trunk.dim, self.trunk.ffn.hidden());
        let norm = d + 2;
        let qk_norm = if self.trunk.qk_norm { 3 * d + 2 } else { 0 };
        let attention = norm + 3 * d + qk_norm + d + self.trunk.heads + d;
        let inner = match self.trunk.ffn {
            FfnConfig::SwiGlu { .. } => 3 * hidden,
            FfnConfig::Gelu { .. } => 2 * hidden,
            FfnConfig::Moe(moe) => 2 * moe.experts + moe.top_k * (3 * hidden + 3),
        };
        let feed_forward = norm + inner + d;
        let last_norm = if self.trunk.connection.final_norm() {
            norm
        } else {
            0
        };
        self.trunk.layers * (attention + feed_forward) + last_norm
    }
}
