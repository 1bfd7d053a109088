//! The diffusion transformer: what adaLN-Zero promises about its start, with every
//! connection, and that its gradient is that of its loss.

use engine::{
    check::CheckInput,
    params::{Gradients, Params},
    rng::Key,
    tape::Tape,
};
use models::{
    config::FfnConfig,
    dit::{Dit, DitConfig, Noisy},
};
use nn::{
    connection::{ConnectionConfig, HyperConfig, PreNormConfig},
    norm::NormConfig,
    optim::{AdamW, AdamWConfig},
};

const IMAGES: usize = 3;

fn config(connection: ConnectionConfig) -> DitConfig {
    DitConfig {
        image: 8,
        channels: 2,
        patch: 4,
        classes: 5,
        dim: 16,
        layers: 3,
        heads: 2,
        timestep_features: 6,
        init_std: 0.3,
        ffn: FfnConfig::Gelu { hidden: 20 },
        norm: NormConfig {
            // Small, so that a norm removes any factor.
            eps: 1e-12,
            ..NormConfig::default()
        },
        connection,
        ..DitConfig::default()
    }
}

fn pre_norm() -> ConnectionConfig {
    ConnectionConfig::PreNorm(PreNormConfig::default())
}

fn hyper(rate: usize, dynamic: bool) -> ConnectionConfig {
    ConnectionConfig::Hyper(HyperConfig {
        rate,
        dynamic,
        ..HyperConfig::default()
    })
}

fn network(connection: ConnectionConfig) -> (Dit, Params) {
    Dit::new(&config(connection), Key::new(7)).expect("a valid network")
}

fn normals(count: usize, deviation: f32, seed: u64) -> Vec<f32> {
    CheckInput::normal([count], deviation, seed).data
}

/// Gives the weights whose names begin with `prefix` random values, the same for every
/// network.
fn randomise(params: &mut Params, prefix: &str, seed: u64) {
    let parts: Vec<_> = params.parts().cloned().collect();
    for part in parts.iter().filter(|part| part.name.starts_with(prefix)) {
        let hash = |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte);
        let of_name = part.name.bytes().fold(seed, hash);
        params.set(part.range.clone(), &normals(part.range.len(), 0.3, of_name));
    }
}

/// The modulations and the head, which start at zero.
fn randomise_zeros(params: &mut Params) {
    randomise(params, "head", 1);
    randomise(params, "final_modulation", 1);
    for block in 0..3 {
        for modulation in ["attn_modulation", "ffn_modulation"] {
            randomise(params, &format!("blocks.{block}.{modulation}"), 1);
        }
    }
}

struct Batch {
    images: Vec<f32>,
    noise: Vec<f32>,
    timesteps: Vec<u32>,
    classes: Vec<u32>,
}

impl Batch {
    fn new() -> Self {
        let pixels = IMAGES * config(pre_norm()).patches().elements();
        Self {
            images: normals(pixels, 1.0, 3),
            noise: normals(pixels, 1.0, 4),
            timesteps: vec![1, 400, 1000],
            classes: vec![0, 4, 5],
        }
    }

    fn noisy(&self) -> Noisy<'_> {
        Noisy {
            images: &self.images,
            timesteps: &self.timesteps,
            classes: &self.classes,
        }
    }
}

fn predicted(model: &Dit, params: &Params, batch: &Batch) -> Vec<f32> {
    let tape = Tape::new();
    tape.bind(params);
    model.noise(&tape, batch.noisy()).value()
}

fn loss_and_gradients(model: &Dit, params: &Params) -> (f32, Gradients) {
    let batch = Batch::new();
    let tape = Tape::new();
    tape.bind(params);
    let loss = model.losses(&tape, batch.noisy(), &batch.noise).total;
    let value = loss.item();
    let mut gradients = Gradients::new(params);
    tape.backward(loss, &mut gradients);
    gradients.settle(params);
    (value, gradients)
}

#[test]
fn at_first_every_network_predicts_no_noise_and_loses_its_variance() {
    let noise = Batch::new().noise;
    let square = noise.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let variance = square / noise.len() as f64;
    for connection in ConnectionConfig::all() {
        let label = connection.spec().label();
        let (model, params) = network(connection);
        let output = predicted(&model, &params, &Batch::new());
        assert!(output.iter().all(|&x| x == 0.0), "{label}");
        let (loss, _) = loss_and_gradients(&model, &params);
        assert!((f64::from(loss) - variance).abs() < 1e-6, "{label}: {loss}");
    }
}

/// With the head alone set free, the network is its head on normed patches: no sublayer, no
/// timestep and no class shows.
#[test]
fn at_first_every_sublayer_of_pre_norm_and_of_hyper_connections_is_the_identity() {
    for connection in [pre_norm(), hyper(2, false), hyper(4, true)] {
        let label = connection.spec().label();
        let (model, mut params) = network(connection);
        randomise(&mut params, "head", 1);
        let mut batch = Batch::new();
        let before = predicted(&model, &params, &batch);
        assert!(before.iter().any(|&x| x.abs() > 0.1), "{label}");
        for block in 0..3 {
            for layer in ["attn.", "ffn."] {
                randomise(&mut params, &format!("blocks.{block}.{layer}"), 2);
            }
        }
        batch.timesteps = vec![7, 70, 700];
        batch.classes = vec![1, 2, 3];
        assert_eq!(predicted(&model, &params, &batch), before, "{label}");
    }
}

#[test]
fn hyper_connections_start_as_pre_norm_whatever_the_modulation() {
    let (model, mut params) = network(pre_norm());
    randomise_zeros(&mut params);
    let (expected_loss, expected) = loss_and_gradients(&model, &params);
    for connection in [
        hyper(1, false),
        hyper(2, false),
        hyper(2, true),
        hyper(4, true),
    ] {
        let label = connection.spec().label();
        let (model, mut own) = network(connection);
        randomise_zeros(&mut own);
        let (loss, gradients) = loss_and_gradients(&model, &own);
        assert!((loss - expected_loss).abs() < 1e-5, "{label}: {loss}");
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
}

#[test]
fn the_gradient_of_the_network_is_the_slope_of_its_loss() {
    for connection in [pre_norm(), hyper(2, false)] {
        let (model, mut params) = network(connection);
        randomise_zeros(&mut params);
        let (_, gradients) = loss_and_gradients(&model, &params);
        for prefix in [
            "timestep_mlp",
            "class_embed",
            "patch_embed",
            "blocks",
            "final",
            "head",
        ] {
            let parts: Vec<_> = params.parts().cloned().collect();
            let parts = parts.iter().filter(|part| part.name.starts_with(prefix));
            let ranges: Vec<_> = parts.map(|part| part.range.clone()).collect();
            let gradient = |params: &[f32]| -> Vec<f64> {
                let values = ranges.iter().flat_map(|range| &params[range.clone()]);
                values.map(|&x| f64::from(x)).collect()
            };
            let gradient = gradient(gradients.slab());
            // Uphill, where the slope is the norm of the gradient.
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let start = params.slab().to_vec();
            let mut loss_at = |step: f64| {
                let mut moved = gradient.iter();
                for range in &ranges {
                    for i in range.clone() {
                        let direction = moved.next().expect("a gradient") / norm;
                        let there = f64::from(start[i]) + step * direction;
                        params.slab_mut()[i] = there as f32;
                    }
                }
                f64::from(loss_and_gradients(&model, &params).0)
            };
            let step = 3e-3;
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            loss_at(0.0);
            assert!(
                (slope - norm).abs() < 0.01 * norm + 1e-4,
                "{prefix}: the slope is {slope}, the gradient {norm}"
            );
        }
    }
}

#[test]
fn an_image_is_denoised_alike_whatever_the_batch() {
    let (model, mut params) = network(hyper(2, true));
    randomise_zeros(&mut params);
    let batch = Batch::new();
    let all = predicted(&model, &params, &batch);
    let size = batch.images.len() / IMAGES;
    for i in 0..IMAGES {
        let pixels = i * size..(i + 1) * size;
        let one = Batch {
            images: batch.images[pixels.clone()].to_vec(),
            noise: batch.noise[pixels.clone()].to_vec(),
            timesteps: vec![batch.timesteps[i]],
            classes: vec![batch.classes[i]],
        };
        let alone = predicted(&model, &params, &one);
        for (a, b) in all[pixels].iter().zip(&alone) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }
}

#[test]
fn every_connection_learns_to_see_noise() {
    for connection in ConnectionConfig::all() {
        let label = connection.spec().label();
        let (model, mut params) = network(connection);
        let mut optimiser = AdamW::new(&params, AdamWConfig::default());
        let (before, _) = loss_and_gradients(&model, &params);
        for _ in 0..40 {
            let (_, gradients) = loss_and_gradients(&model, &params);
            optimiser.update(&mut params, &gradients, 1e-2);
        }
        let (after, _) = loss_and_gradients(&model, &params);
        assert!(after < 0.5 * before, "{label}: from {before} to {after}");
    }
}
