//! The connections that differ in the rule of their mix alone.

use super::{ConstrainedInit, Form, Settings, kernels::Rule};
use crate::connection::{Connection, Expansion, Reduction, Site, Spec};
use engine::params::Builder;

/// Returns whether a factor changes nothing.
fn is_one(factor: &f32) -> bool {
    *factor == 1.0
}

/// Name of the configuration, label and citation, settings of its own, and the rule.
macro_rules! family {
    ($($(#[$doc:meta])* $config:ident($label:literal, $citation:literal)
        { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr)? } => $rule:expr;)+) => {$(
        settings! {
            $(#[$doc])*
            pub struct $config {
                /// Number of streams n, the expansion rate.
                pub rate: usize = 4,
                $($(#[$field_doc])* pub $field: $type = $default,)?
                /// Start of projections and biases.
                pub init: ConstrainedInit = ConstrainedInit::default(),
                /// Start of `alpha_pre`, `alpha_post` and, where there is a mix, `alpha_res` (0.01
                /// in mHC).
                pub scale_init: f32 = 0.01,
                /// End of the streams.
                pub reduction: Reduction = Reduction::default(),
                /// Beginning of the streams.
                #[serde(skip_serializing_if = "Expansion::is_copies")]
                pub expansion: Expansion = Expansion::default(),
                /// Factor of the write `2 sigmoid` at the end of a training: it goes there linearly
                /// from 1. Motif-3 (arXiv 2608.09119) has 0.5, a write `(1 + alpha) sigmoid` with
                /// alpha from 1 to 0.
                #[serde(skip_serializing_if = "is_one")]
                pub write_gain_end: f32 = 1.0,
            }
        }

        impl $config {
            pub(in crate::connection) fn settings(&self) -> Settings {
                let rule: fn(&Self) -> Rule = $rule;
                Settings {
                    rate: self.rate,
                    rule: rule(self),
                    form: Form::Mhc {
                        init: self.init,
                        scale_init: self.scale_init,
                    },
                    reduction: self.reduction,
                    expansion: self.expansion,
                    write_gain_end: self.write_gain_end,
                }
            }
        }

        impl Spec for $config {
            fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
                self.settings().build(site, b)
            }

            fn label(&self) -> String {
                format!("{} x{}", $label, self.rate)
            }

            fn citation(&self) -> &'static str {
                $citation
            }

            fn write_gain_end(&self) -> Option<f32> {
                (!is_one(&self.write_gain_end)).then_some(self.write_gain_end)
            }

            fn validate(&self, _: usize) -> Result<(), String> {
                self.settings().validate()
            }
        }
    )+};
}

family! {
    /// mHC: hyper-connections as [`constrained`](super) describes them, with a doubly stochastic
    /// mix `H_res = Sinkhorn-Knopp(exp(logits))`, `[rate, rate]` for every token: columns, then
    /// rows divided by their sums, `sinkhorn_iters` times (Eq. 9). The mix keeps the mean of the
    /// streams and never enlarges them; products of such matrices are of the same kind. Rows sum
    /// to 1 exactly, columns as far as the iteration has converged.
    ///
    /// Source: Xie et al., mHC: Manifold-Constrained Hyper-Connections, 2025, arXiv
    /// 2512.24880.
    MhcConfig(
        "mHC",
        "Xie et al., mHC: Manifold-Constrained Hyper-Connections, 2025, arXiv 2512.24880"
    ) {
        /// Iterations of Sinkhorn's normalisation.
        sinkhorn_iters: usize = 20
    } => |config| Rule::Sinkhorn { iterations: config.sinkhorn_iters };

    /// mHC-lite: hyper-connections as [`constrained`](super) describes them, with the mix `H_res
    /// = sum_q a_q P_q` over all `rate!` permutation matrices in lexicographic order, the identity
    /// first, `a = softmax(logits)`. Rows and columns sum to 1 without an iteration. The rate is
    /// at most 5.
    ///
    /// Source: mHC-lite: You Don't Need 20 Sinkhorn-Knopp Iterations, 2026, arXiv 2601.05732.
    MhcLiteConfig(
        "mHC-lite",
        "mHC-lite: You Don't Need 20 Sinkhorn-Knopp Iterations, 2026, arXiv 2601.05732"
    ) {} => |_| Rule::Permutations;

    /// KromHC: hyper-connections as [`constrained`](super) describes them, with the mix `H_res =
    /// U¹ ⊗ U² ⊗ ...`, one factor `[[p, 1 - p], [1 - p, p]]` for each bit of the stream's number,
    /// the first for the highest, `(p, 1 - p)` the softmax of two logits of the identity and the
    /// swap. Every such mix is symmetric and all of them commute. The rate is a power of two.
    ///
    /// Source: KromHC: Manifold-Constrained Hyper-Connections with Kronecker-Product Residual
    /// Matrices, ICML 2026, arXiv 2601.21579.
    KromHcConfig(
        "KromHC",
        "KromHC: Manifold-Constrained Hyper-Connections with Kronecker-Product Residual Matrices, \
         ICML 2026, arXiv 2601.21579"
    ) {} => |_| Rule::Kronecker;

    /// Identity-HC, mHC without its mix: hyper-connections as [`constrained`](super) describes
    /// them, with `H_res = I`. Streams exchange something through the sublayers only.
    ///
    /// Source: the `H_res = I` ablation of mHC (arXiv 2512.24880), used in Chimera, 2026, arXiv
    /// 2607.28611.
    IdentityHcConfig(
        "iHC",
        "Identity-HC: the H_res = I ablation of mHC (arXiv 2512.24880), used in Chimera, 2026, \
         arXiv 2607.28611"
    ) {} => |_| Rule::Identity;

    /// Hyper-connections as [`constrained`](super) describes them, with the orthogonal mix `H_res
    /// = (I - S)⁻¹ (I + S)`, S `[rate, rate]` skew-symmetric with its `rate (rate - 1) / 2` logits
    /// above the diagonal, row by row. The mix keeps the length of every state and its gradient,
    /// may be negative, and starts as I where its logits are 0. A variant of JPmHC, whose own form
    /// is [`JpmHcConfig`](crate::connection::JpmHcConfig).
    ///
    /// Source of the mix: Sengupta et al., JPmHC: Dynamical Isometry via Orthogonal
    /// Hyper-Connections, 2026, arXiv 2602.18308.
    CayleyConfig(
        "Cayley-HC",
        "the mix: Sengupta et al., JPmHC: Dynamical Isometry via Orthogonal Hyper-Connections, \
         2026, arXiv 2602.18308; read and write: Xie et al., mHC, 2025, arXiv 2512.24880"
    ) {} => |_| Rule::Cayley;

    /// oHC: hyper-connections of four streams as [`constrained`](super) describes them, with the
    /// orthogonal mix `H_res x = p x q`, x the four streams as a quaternion, p and q two predicted
    /// quaternions over their lengths. Every rotation of four dimensions is such a product. It keeps
    /// the length of every state and its gradient, and starts as I: p and q have biases 1 at first.
    ///
    /// Source: oHC, 2026, arXiv 2609.02672.
    OhcConfig(
        "oHC",
        "the mix: oHC, 2026, arXiv 2609.02672; read and write: Xie et al., mHC, 2025, arXiv \
         2512.24880"
    ) {} => |_| Rule::Quaternions;
}
