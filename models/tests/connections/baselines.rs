//! The baseline connections in a real network: what they promise about its start, and
//! that all of them learns.

use super::{
    SEQ, after_three_steps, loss_and_gradients, network, probed, starts_as_pre_norm, tokens,
};
use engine::{params::Decay, rng::Key, tape::Tape};
use models::transformer::{Transformer, TransformerConfig};
use nn::connection::{
    AltUpConfig, AttentionResidualConfig, BlockSelection, ConnectionConfig, DenseFormerConfig,
    DepthSources, HyperConfig, LaurelConfig, LaurelForm, LayerScaleConfig, ParallelConfig,
    PreNormConfig, ReZeroConfig, Reduction, ValueResidualConfig, WeightBound,
};

#[test]
fn branches_scaled_by_one_start_as_pre_norm() {
    for shared in [false, true] {
        starts_as_pre_norm(ConnectionConfig::Rezero(ReZeroConfig { init: 1.0, shared }));
    }
    starts_as_pre_norm(ConnectionConfig::LayerScale(LayerScaleConfig {
        init: Some(1.0),
    }));
}

#[test]
fn dense_former_starts_as_pre_norm() {
    for (dilation, period) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
        starts_as_pre_norm(ConnectionConfig::DenseFormer(DenseFormerConfig {
            dilation,
            period,
            decay: false,
        }));
    }
}

#[test]
fn every_laurel_of_weight_one_starts_as_pre_norm() {
    let parts = [(true, 0, 0), (false, 4, 0), (false, 4, 3), (true, 4, 3)];
    for form in [LaurelForm::Paper, LaurelForm::OneMap] {
        for (residual_weights, rank, previous) in parts {
            starts_as_pre_norm(ConnectionConfig::Laurel(LaurelConfig {
                residual_weights,
                rank,
                previous,
                bound: WeightBound::None,
                form,
            }));
        }
    }
}

/// The paper keeps alpha and beta bounded: both are one half at first.
#[test]
fn bounded_weights_of_laurel_start_at_one_half() {
    for bound in [WeightBound::Softmax, WeightBound::Sigmoid] {
        let (model, params) = network(ConnectionConfig::Laurel(LaurelConfig {
            bound,
            ..LaurelConfig::default()
        }));
        let weights = probed(&model, &params, "residual_weights");
        assert!(!weights.is_empty());
        assert!(weights.iter().all(|weights| weights == &[0.5, 0.5]));
    }
    assert_eq!(LaurelConfig::default().bound, WeightBound::Softmax);
}

#[test]
fn altup_starts_as_pre_norm() {
    for (blocks, selection) in [
        (1, BlockSelection::Same),
        (2, BlockSelection::Alternating),
        (3, BlockSelection::Same),
    ] {
        starts_as_pre_norm(ConnectionConfig::Altup(AltUpConfig { blocks, selection }));
    }
}

#[test]
fn attention_residuals_start_as_pre_norm() {
    for (sources, blocks) in [
        (DepthSources::Full, 8),
        (DepthSources::Block, 3),
        (DepthSources::Block, 2),
    ] {
        let config = AttentionResidualConfig { sources, blocks };
        starts_as_pre_norm(ConnectionConfig::AttentionResidual(config));
    }
}

/// Of a default network, with its small initial weights: the average of many outputs is far
/// smaller than their sum, and no norm may notice.
#[test]
fn the_default_eps_does_not_tell_an_average_from_a_sum() {
    let logits = |connection, eps: Option<f32>| {
        let mut config = TransformerConfig {
            layers: 8,
            connection,
            ..TransformerConfig::default()
        };
        config.norm.eps = eps.unwrap_or(config.norm.eps);
        let (model, params) = Transformer::new(&config, Key::new(3)).unwrap();
        let tape = Tape::new();
        tape.bind(&params);
        model.logits(&tape, &tokens(0), SEQ).value()
    };
    let off = |connection: ConnectionConfig, eps| {
        let plain = logits(ConnectionConfig::default(), eps);
        let other = logits(connection, eps);
        let size = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let difference: Vec<f32> = plain.iter().zip(&other).map(|(a, b)| a - b).collect();
        size(&difference) / size(&plain)
    };
    let averages = || ConnectionConfig::AttentionResidual(Default::default());
    for connection in [
        averages(),
        ConnectionConfig::Hyper(HyperConfig {
            reduction: Reduction::Mean,
            ..HyperConfig::default()
        }),
        ConnectionConfig::Hyper(HyperConfig::default()),
        ConnectionConfig::Altup(AltUpConfig::default()),
        ConnectionConfig::VirtualWidth(Default::default()),
    ] {
        let label = connection.spec().label();
        let off = off(connection, None);
        assert!(off < 1e-3, "{label}: {off}");
    }
    // With the constant that networks of larger weights have, they do notice.
    assert!(off(averages(), Some(1e-5)) > 0.2);
}

#[test]
fn one_norm_for_both_halves_of_a_parallel_block_is_the_attention_s() {
    let names = |shared_norm| {
        let (_, params) = network(ConnectionConfig::Parallel(ParallelConfig { shared_norm }));
        let names = params.parts().map(|part| part.name.clone());
        names.filter(|name| name.contains("ffn_norm")).count()
    };
    assert_eq!((names(false), names(true)), (6, 0));
    // While both norms are as they start, they are one.
    let loss = |shared_norm| {
        let connection = ConnectionConfig::Parallel(ParallelConfig { shared_norm });
        let (model, params) = network(connection);
        loss_and_gradients(&model, &params).0
    };
    assert_eq!(loss(false), loss(true));
}

#[test]
fn a_block_of_rezero_may_share_its_alpha() {
    let alphas = |shared| {
        let config = ReZeroConfig { init: 0.0, shared };
        let (_, params) = network(ConnectionConfig::Rezero(config));
        params
            .parts()
            .filter(|part| part.name.ends_with("alpha"))
            .count()
    };
    assert_eq!((alphas(false), alphas(true)), (6, 3));
}

#[test]
fn the_weights_of_dense_former_decay_if_they_are_to() {
    for decay in [false, true] {
        let config = DenseFormerConfig {
            decay,
            ..DenseFormerConfig::default()
        };
        let (_, params) = network(ConnectionConfig::DenseFormer(config));
        let weights = params
            .iter()
            .filter(|(_, p)| p.name.ends_with("depth_weights"));
        let decays: Vec<bool> = weights.map(|(_, p)| p.decay == Decay::Yes).collect();
        assert_eq!(decays, [decay; 3]);
    }
}

#[test]
fn a_value_residual_that_is_off_is_pre_norm() {
    starts_as_pre_norm(ConnectionConfig::ValueResidual(ValueResidualConfig {
        init: [0.0, 1.0],
        learned: true,
    }));
}

#[test]
fn the_value_residual_of_the_paper_starts_elsewhere() {
    let loss = |connection| {
        let (model, params) = network(connection);
        loss_and_gradients(&model, &params).0
    };
    let pre_norm = loss(ConnectionConfig::PreNorm(PreNormConfig::default()));
    let mixed = loss(ConnectionConfig::ValueResidual(Default::default()));
    assert!((pre_norm - mixed).abs() > 1e-3);
}

#[test]
fn rezero_starts_as_the_identity() {
    let (model, mut params) = network(ConnectionConfig::Rezero(ReZeroConfig::default()));
    let (loss, gradients) = loss_and_gradients(&model, &params);
    for part in params.parts() {
        let gradient = &gradients.slab()[part.range.clone()];
        let inside = part.name.starts_with("blocks") && !part.name.ends_with("alpha");
        assert_eq!(inside, gradient.iter().all(|&g| g == 0.0), "{}", part.name);
    }
    let branch = params
        .part("blocks.1.ffn.down.weight")
        .unwrap()
        .range
        .clone();
    params.slab_mut()[branch].fill(0.5);
    assert_eq!(loss_and_gradients(&model, &params).0, loss);
}

/// Every kind, and the variants whose parameters differ.
fn variants() -> Vec<ConnectionConfig> {
    let mut all = ConnectionConfig::all();
    all.push(ConnectionConfig::Altup(AltUpConfig {
        blocks: 3,
        selection: BlockSelection::Same,
    }));
    all.push(ConnectionConfig::DenseFormer(DenseFormerConfig {
        dilation: 2,
        period: 2,
        decay: true,
    }));
    for form in [LaurelForm::Paper, LaurelForm::OneMap] {
        all.push(ConnectionConfig::Laurel(LaurelConfig {
            rank: 2,
            previous: 3,
            form,
            ..LaurelConfig::default()
        }));
    }
    all.push(ConnectionConfig::Rezero(ReZeroConfig {
        shared: true,
        ..ReZeroConfig::default()
    }));
    all.push(ConnectionConfig::Parallel(ParallelConfig {
        shared_norm: true,
    }));
    all.push(ConnectionConfig::AttentionResidual(
        AttentionResidualConfig {
            sources: DepthSources::Block,
            blocks: 2,
        },
    ));
    all
}

#[test]
fn every_learnable_parameter_of_every_connection_receives_a_gradient_and_moves() {
    for connection in variants() {
        let label = connection.spec().label();
        for parameter in after_three_steps(connection) {
            let stays = parameter.trainable && !parameter.learns;
            assert!(!stays, "{label}: {} stays", parameter.name);
        }
    }
}
