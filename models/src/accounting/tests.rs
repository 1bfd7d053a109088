use super::*;
use crate::{
    dit::{Dit, DitConfig, Noisy},
    network::Network,
    transformer::{Transformer, TransformerConfig},
    vit::VitConfig,
};
use engine::{rng::Key, tape::Tape};
use nn::connection::{ConnectionConfig, HyperConfig, Reduction};

fn account(config: &TransformerConfig) -> Account {
    config.account().unwrap()
}

fn small() -> TransformerConfig {
    TransformerConfig {
        vocab_size: 10,
        dim: 8,
        layers: 3,
        heads: 2,
        seq: 4,
        ffn: FfnConfig::SwiGlu { hidden: 6 },
        ..TransformerConfig::default()
    }
}

#[test]
fn the_account_of_pre_norm_is_that_by_hand() {
    let account = account(&small());
    // Embedding and head, then per block q, k, v, o, three matrices, two norms.
    let expected = 2 * 80 + 3 * (4 * 64 + 3 * 48 + 2 * 16) + 16;
    assert_eq!(account.parameters.total, expected);
    assert_eq!(account.parameters.trained, expected);
    assert_eq!(account.parameters.active, expected);
    assert_eq!(account.parameters.connections, 0);
    let flops = Flops {
        attention: 3 * (8 * 64 + 2 * 8 * 5),
        feed_forward: 3 * 6 * 8 * 6,
        connections: 6 * 8,
        head: 2 * 80,
        ..Flops::default()
    };
    assert_eq!(account.flops, flops);
    assert_eq!(account.flops.total(), 1776 + 864 + 48 + 160);
}

/// Of three shards: parameters, two moments, three gradients, and three times the activations.
#[test]
fn training_takes_slabs_and_the_activations_of_every_shard() {
    let account = account(&small());
    let slab = 4 * account.parameters.total;
    let activations = 3 * 7 * account.activation_bytes;
    assert_eq!(account.training_bytes(3, 7), 6 * slab + activations);
}

#[test]
fn the_account_of_hyper_connections_is_that_by_hand() {
    let (n, d) = (2, 8);
    let config = TransformerConfig {
        connection: ConnectionConfig::Hyper(HyperConfig {
            rate: n,
            ..HyperConfig::default()
        }),
        ..small()
    };
    let (plain, hyper) = (account(&small()), account(&config));
    // Static n (n + 2), predictors d (n + 2), two scales, norm 2 d.
    let extra = 6 * (n * (n + 2) + d * (n + 2) + 2 + 2 * d) as u64;
    assert_eq!(hyper.parameters.connections, extra);
    assert_eq!(hyper.parameters.total, plain.parameters.total + extra);
    // The paper's count: 2 d n (n + 1) + 2 d n for read, mix and write, as much
    // for the predictors, and their norm.
    let products = 2 * d * n * (n + 1) + 2 * d * n;
    let predictors = 2 * d * n * (n + 2) + 8 * n * d + 3 * n * (n + 2);
    assert_eq!(hyper.flops.connections, 6 * (products + predictors) as u64);
    assert_eq!(hyper.flops.attention, plain.flops.attention);
}

/// Norm and read, `2 d n` each, `2 d n` for each of n logits, and 4 per logit.
#[test]
fn a_learned_head_is_counted() {
    let (n, d) = (2, 8);
    let with = |reduction| {
        let config = TransformerConfig {
            connection: ConnectionConfig::Hyper(HyperConfig {
                rate: n,
                reduction,
                ..HyperConfig::default()
            }),
            ..small()
        };
        account(&config).flops.connections
    };
    let head = (4 * d * n + 2 * d * n * n + 4 * n) as u64;
    assert_eq!(with(Reduction::SigmoidHead), with(Reduction::Sum) + head);
}

#[test]
fn a_token_pays_for_the_experts_it_chooses_only() {
    let moe = nn::moe::MoeConfig {
        experts: 5,
        hidden: 6,
        top_k: 2,
        ..nn::moe::MoeConfig::default()
    };
    let config = TransformerConfig {
        ffn: FfnConfig::Moe(moe),
        ..small()
    };
    let (dense, experts) = (account(&small()), account(&config));
    assert_eq!(experts.flops.feed_forward, 3 * (2 * 5 * 8 + 2 * 6 * 8 * 6));
    let extra = 3 * (4 * 3 * 8 * 6 + 5 * 8);
    assert_eq!(experts.parameters.total, dense.parameters.total + extra);
    let idle = 3 * 3 * 3 * 8 * 6;
    assert_eq!(experts.parameters.active, experts.parameters.total - idle);
}

#[test]
fn the_account_of_a_vision_transformer_is_that_by_hand() {
    let config = VitConfig {
        image: 8,
        channels: 3,
        patch: 4,
        classes: 10,
        dim: 8,
        layers: 3,
        heads: 2,
        ffn: FfnConfig::Gelu { hidden: 6 },
        ..VitConfig::default()
    };
    let account = config.account().unwrap();
    // Patches, class token, five positions; blocks; last norm; head.
    let blocks = 3 * (4 * 64 + 2 * 48 + 2 * 16);
    let expected = (48 * 8 + 8) + 8 + 5 * 8 + blocks + 16 + (80 + 10);
    assert_eq!(account.parameters.total, expected);
    let flops = Flops {
        attention: 3 * (8 * 64 + 4 * 8 * 5),
        feed_forward: 3 * 4 * 8 * 6,
        connections: 6 * 8,
        // Once for five tokens, and for four of five.
        head: 2 * 80 / 5,
        embedding: 4 * 2 * 48 * 8 / 5,
        conditioning: 0,
    };
    assert_eq!(account.flops, flops);
}

#[test]
fn the_account_of_a_diffusion_transformer_is_that_by_hand() {
    let config = DitConfig {
        image: 8,
        channels: 3,
        patch: 4,
        classes: 10,
        dim: 8,
        layers: 3,
        heads: 2,
        timestep_features: 6,
        ffn: FfnConfig::Gelu { hidden: 6 },
        ..DitConfig::default()
    };
    let account = config.account().unwrap();
    // Patches; timestep and classes; blocks with qk-norm and adaLN-Zero; the end.
    let timestep = (6 * 8 + 8) + (64 + 8);
    let blocks = 3 * (4 * 64 + 16 + 2 * 48 + 2 * (3 * 64 + 24));
    let end = (2 * 64 + 16) + (48 * 8 + 48);
    let expected = (48 * 8 + 8) + timestep + 11 * 8 + blocks + end;
    assert_eq!(account.parameters.total, expected);
    let flops = Flops {
        attention: 3 * (8 * 64 + 4 * 8 * 4),
        feed_forward: 3 * 4 * 8 * 6,
        connections: 6 * 8,
        head: 2 * 48 * 8,
        embedding: 2 * 48 * 8,
        // Once for four tokens.
        conditioning: 2 * (6 * 8 + 64 + 6 * 3 * 64 + 2 * 64) / 4,
    };
    assert_eq!(account.flops, flops);
}

#[test]
fn a_denoiser_leaves_behind_about_what_is_counted() {
    for rate in [1, 4] {
        let config = DitConfig {
            connection: ConnectionConfig::Hyper(HyperConfig {
                rate,
                ..HyperConfig::default()
            }),
            ..DitConfig::default()
        };
        let (model, params) = Dit::new(&config, Key::new(0)).unwrap();
        let tape = Tape::new();
        tape.bind(&params);
        let images = vec![0.5; 4 * config.patches().elements()];
        let noisy = Noisy {
            images: &images,
            timesteps: &[1, 10, 100, 1000],
            classes: &[0, 1, 2, 10],
        };
        model.losses(&tape, noisy, &images);
        let counted = config.account().unwrap().activation_bytes as f64;
        let tokens = 4 * config.patches().count();
        let held = (tape.allocated() * FLOAT) as f64 / tokens as f64;
        let ratio = held / counted;
        assert!((0.8..1.5).contains(&ratio), "x{rate}: {held} for {counted}");
    }
}

#[test]
fn a_forward_leaves_behind_about_what_is_counted() {
    for connection in ConnectionConfig::all() {
        let config = TransformerConfig {
            dim: 32,
            layers: 4,
            seq: 64,
            connection,
            ..TransformerConfig::default()
        };
        let (model, params) = Transformer::new(&config, Key::new(0)).unwrap();
        let tape = Tape::new();
        tape.bind(&params);
        let tokens = vec![7; 2 * config.seq];
        model.loss(&tape, &tokens, &tokens, config.seq);
        let counted = config.account().unwrap().activation_bytes as f64;
        let held = (tape.allocated() * FLOAT) as f64 / tokens.len() as f64;
        // Buffers are up to a quarter larger than what they hold; there is scratch.
        let ratio = held / counted;
        let label = config.connection.spec().label();
        assert!((0.8..1.5).contains(&ratio), "{label}: {held} for {counted}");
    }
}

#[test]
fn frozen_parameters_are_counted_but_not_as_trained() {
    let config = TransformerConfig {
        connection: ConnectionConfig::Hyper(HyperConfig {
            dynamic: false,
            frozen: vec![nn::connection::hyper::FrozenPart::Write],
            ..HyperConfig::default()
        }),
        ..small()
    };
    let counted = account(&config).parameters;
    assert_eq!(counted.total - counted.trained, 6 * 4);
}
