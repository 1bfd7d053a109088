//! Connections in a real network: what they promise about its start, and that all of them
//! learns.

mod baselines;
mod family;
mod guard;
mod jpmhc;
mod rms;
mod settings;
mod year_2026;

use engine::{
    params::{Gradients, Params},
    rng::Key,
    tape::Tape,
};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
};
use nn::{
    connection::{ConnectionConfig, PreNormConfig},
    norm::NormConfig,
    optim::{AdamW, AdamWConfig},
};

const SEQ: usize = 7;

fn config(connection: ConnectionConfig) -> TransformerConfig {
    TransformerConfig {
        vocab_size: 19,
        dim: 16,
        layers: 3,
        heads: 2,
        seq: SEQ,
        ffn: FfnConfig::SwiGlu { hidden: 20 },
        // Large weights, so that every branch matters to the loss.
        init_std: 0.3,
        norm: NormConfig {
            // Small, so that a norm removes any factor.
            eps: 1e-12,
            ..NormConfig::default()
        },
        connection,
        ..TransformerConfig::default()
    }
}

fn network(connection: ConnectionConfig) -> (Transformer, Params) {
    Transformer::new(&config(connection), Key::new(7)).unwrap()
}

fn tokens(offset: usize) -> Vec<u32> {
    (0..2 * SEQ)
        .map(|i| ((i * i * 5 + i * offset + offset) % 19) as u32)
        .collect()
}

fn loss_and_gradients(model: &Transformer, params: &Params) -> (f32, Gradients) {
    let tape = Tape::new();
    tape.bind(params);
    let loss = model.loss(&tape, &tokens(0), &tokens(3), SEQ);
    let value = loss.item();
    let mut gradients = Gradients::new(params);
    tape.backward(loss, &mut gradients);
    gradients.settle(params);
    (value, gradients)
}

/// The values probed under this name, in the order of the sublayers.
fn probed(model: &Transformer, params: &Params, name: &str) -> Vec<Vec<f32>> {
    let mut tape = Tape::new();
    tape.set_probing();
    tape.bind(params);
    model.loss(&tape, &tokens(0), &tokens(3), SEQ);
    let probes = tape.probes().into_iter();
    let named = probes.filter(|(path, _)| path.rsplit('.').next() == Some(name));
    named.map(|(_, value)| value.value()).collect()
}

/// Compares the loss, and the gradients of all weights of both networks.
#[track_caller]
fn starts_alike(connection: ConnectionConfig, other: ConnectionConfig) {
    let label = connection.spec().label();
    let (model, params) = network(other);
    let (expected_loss, expected) = loss_and_gradients(&model, &params);
    let (model, own) = network(connection);
    let (loss, gradients) = loss_and_gradients(&model, &own);
    assert!(
        (loss - expected_loss).abs() < 1e-5,
        "{label} starts with a loss of {loss}, expected {expected_loss}"
    );
    for part in params.parts() {
        let same = own.part(&part.name).expect("a weight of both");
        let expected = &expected.slab()[part.range.clone()];
        let got = &gradients.slab()[same.range.clone()];
        let scale = expected.iter().fold(1e-3_f32, |max, g| max.max(g.abs()));
        for (g, e) in got.iter().zip(expected) {
            assert!(
                (g - e).abs() < 2e-4 * scale,
                "{label}: a gradient of {} is {g}, expected {e}",
                part.name
            );
        }
    }
}

#[track_caller]
fn starts_as_pre_norm(connection: ConnectionConfig) {
    let pre_norm = ConnectionConfig::PreNorm(PreNormConfig::default());
    starts_alike(connection, pre_norm);
}

fn without_decay() -> AdamWConfig {
    AdamWConfig {
        weight_decay: 0.0,
        ..AdamWConfig::default()
    }
}

/// Effect of three steps on a parameter.
struct Reached {
    name: String,
    trainable: bool,
    /// True if it had a gradient and has changed.
    learns: bool,
}

/// Three steps: some parameters wait for others, the third step has reached all.
fn after_three_steps(connection: ConnectionConfig) -> Vec<Reached> {
    let (model, mut params) = network(connection);
    let start = params.slab().to_vec();
    let mut optimiser = AdamW::new(&params, without_decay());
    let mut largest = vec![0.0_f32; params.len()];
    for _ in 0..3 {
        let (_, gradients) = loss_and_gradients(&model, &params);
        for ((_, param), largest) in params.iter().zip(&mut largest) {
            let gradient = &gradients.slab()[param.range.clone()];
            *largest = gradient.iter().fold(*largest, |max, g| max.max(g.abs()));
        }
        optimiser.update(&mut params, &gradients, 1e-2);
    }
    let reached = params.iter().zip(largest).map(|((_, param), largest)| {
        let moved = params.slab()[param.range.clone()] != start[param.range.clone()];
        Reached {
            name: param.name.clone(),
            trainable: param.trainable,
            learns: largest > 0.0 && moved,
        }
    });
    reached.collect()
}
