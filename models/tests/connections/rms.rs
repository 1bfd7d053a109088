//! Which connections start as pre-norm in a network of RMS norms.

use super::{SEQ, config, tokens};
use engine::{rng::Key, tape::Tape};
use models::transformer::Transformer;
use nn::{
    connection::{
        AltUpConfig, AttentionResidualConfig, ConnectionConfig, DenseFormerConfig, FracConfig,
        HyperConfig, Narrowing, NormGroup, PreNormConfig, VirtualWidthConfig,
    },
    norm::NormKind,
};

fn first_loss(connection: ConnectionConfig, kind: NormKind) -> f32 {
    let mut config = config(connection);
    config.norm.kind = kind;
    let (model, params) = Transformer::new(&config, Key::new(7)).unwrap();
    let tape = Tape::new();
    tape.bind(&params);
    model.loss(&tape, &tokens(0), &tokens(3), SEQ).item()
}

/// Distance of the first loss from that of pre-norm with the same norms.
fn off(connection: ConnectionConfig, kind: NormKind) -> f32 {
    let pre_norm = ConnectionConfig::PreNorm(PreNormConfig::default());
    (first_loss(connection, kind) - first_loss(pre_norm, kind)).abs()
}

fn virtual_width(narrowing: Narrowing, norm_group: NormGroup) -> ConnectionConfig {
    ConnectionConfig::VirtualWidth(VirtualWidthConfig {
        narrowing,
        norm_group,
        ..VirtualWidthConfig::default()
    })
}

#[test]
fn what_starts_as_pre_norm_does_so_with_rms_norms() {
    for connection in [
        ConnectionConfig::Hyper(HyperConfig::default()),
        ConnectionConfig::Frac(FracConfig::default()),
        ConnectionConfig::Altup(AltUpConfig::default()),
        ConnectionConfig::DenseFormer(DenseFormerConfig::default()),
        ConnectionConfig::AttentionResidual(AttentionResidualConfig::default()),
        virtual_width(Narrowing::MeanOfCopies, NormGroup::Width),
    ] {
        let label = connection.spec().label();
        let off = off(connection, NormKind::RmsNorm);
        assert!(off < 1e-5, "{label}: {off}");
    }
}

/// A group norm subtracts the mean, which a layer norm removes in any case and an RMS norm keeps;
/// groups of a slot also take the sizes of the pieces.
#[test]
fn the_group_norm_of_a_virtual_width_starts_as_pre_norm_before_a_layer_norm_only() {
    for (kind, group, alike) in [
        (NormKind::LayerNorm, NormGroup::Width, true),
        (NormKind::RmsNorm, NormGroup::Width, false),
        (NormKind::LayerNorm, NormGroup::Slot, false),
    ] {
        let off = off(virtual_width(Narrowing::GroupNormLinear, group), kind);
        assert_eq!(off < 1e-5, alike, "{kind:?}, {group:?}: {off}");
    }
}
