//! Layers, hyper-connections and their relatives, diffusion, optimiser and schedules.

#[macro_use]
pub mod settings;

pub mod ada_ln;
pub mod attention;
pub mod connection;
pub mod diffusion;
pub mod feed_forward;
pub mod guard;
pub mod hooks;
pub mod linear;
pub mod moe;
pub mod norm;
pub mod optim;
pub mod patch_embed;
pub mod schedule;
mod shapes;
pub mod sinusoid;

/// Pages of the book are compiled and run like any other example.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/hyper_connections.md")]
    struct HyperConnections;
    #[doc = include_str!("../../docs/fused_backward.md")]
    struct FusedBackward;
}
