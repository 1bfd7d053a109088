//! A small training run, for tests that look at whole steps.

use engine::{
    ops::scale,
    parallel::Shards,
    params::Params,
    rng::Key,
    tape::{Tape, Var},
};
use models::{
    config::FfnConfig,
    dit::{Dit, DitConfig, Noisy},
    model::ModelConfig,
    transformer::{Transformer, TransformerConfig},
};
use nn::{
    connection::{ConnectionConfig, HyperConfig},
    moe::MoeConfig,
    optim::{AdamW, AdamWConfig},
};

/// The loss of the rows from the first on, so many.
type Loss = Box<dyn for<'t> Fn(&'t Tape, usize, usize) -> Var<'t> + Sync>;

/// Everything that a step needs.
pub struct Run {
    /// The parameters.
    pub params: Params,
    loss: Loss,
    optimiser: AdamW,
    shards: Shards,
    results: Vec<f64>,
}

const SEQ: usize = 12;
const BATCH: usize = 10;

fn decoder(connection: ConnectionConfig) -> TransformerConfig {
    TransformerConfig {
        vocab_size: 40,
        dim: 24,
        layers: 2,
        heads: 2,
        seq: SEQ,
        ffn: FfnConfig::SwiGlu { hidden: 40 },
        connection,
        ..TransformerConfig::default()
    }
}

/// A decoder of two blocks with this connection.
pub fn small(connection: ConnectionConfig) -> ModelConfig {
    ModelConfig::Transformer(decoder(connection))
}

/// The same with a mixture of experts as its feed-forward layers.
pub fn small_moe(connection: ConnectionConfig) -> ModelConfig {
    ModelConfig::Transformer(TransformerConfig {
        ffn: FfnConfig::Moe(MoeConfig {
            experts: 5,
            hidden: 20,
            ..MoeConfig::default()
        }),
        ..decoder(connection)
    })
}

/// A denoiser of two blocks with this connection.
pub fn small_dit(connection: ConnectionConfig) -> ModelConfig {
    ModelConfig::Dit(DitConfig {
        image: 12,
        dim: 24,
        layers: 2,
        heads: 2,
        timestep_features: 10,
        ffn: FfnConfig::Gelu { hidden: 40 },
        connection,
        ..DitConfig::default()
    })
}

/// Dynamic hyper-connections of this rate.
pub fn dynamic(rate: usize) -> ConnectionConfig {
    ConnectionConfig::Hyper(HyperConfig {
        rate,
        ..HyperConfig::default()
    })
}

fn of_decoder(config: &TransformerConfig) -> (Loss, Params) {
    let (model, params) = Transformer::new(config, Key::new(1)).expect("a valid network");
    let token = |i: usize| (i * i % config.vocab_size) as u32;
    let tokens: Vec<u32> = (0..BATCH * (SEQ + 1)).map(token).collect();
    let loss: Loss = Box::new(move |tape, first, rows| {
        let (at, rows) = (first * SEQ, rows * SEQ);
        let (inputs, targets) = (&tokens[at..at + rows], &tokens[at + 1..at + 1 + rows]);
        model.loss(tape, inputs, targets, SEQ)
    });
    (loss, params)
}

fn of_denoiser(config: &DitConfig) -> (Loss, Params) {
    let (model, params) = Dit::new(config, Key::new(1)).expect("a valid network");
    let size = config.patches().elements();
    // All of an image is noise: something to learn in a few steps.
    let pixel = |i: usize| (i as f32 * 0.31).sin();
    let noise: Vec<f32> = (0..BATCH * size).map(pixel).collect();
    let timesteps: Vec<u32> = (0..BATCH as u32).map(|i| 1 + 90 * i).collect();
    let classes: Vec<u32> = (0..BATCH as u32).collect();
    let loss: Loss = Box::new(move |tape, first, rows| {
        let (rows, pixels) = (first..first + rows, first * size..(first + rows) * size);
        let noisy = Noisy {
            images: &noise[pixels.clone()],
            timesteps: &timesteps[rows.clone()],
            classes: &classes[rows],
        };
        model.losses(tape, noisy, &noise[pixels]).total
    });
    (loss, params)
}

impl Run {
    /// A run over `shards` shards of five micro-batches in all.
    pub fn new(config: &ModelConfig, shards: usize) -> Self {
        let (loss, params) = match config {
            ModelConfig::Transformer(config) => of_decoder(config),
            ModelConfig::Dit(config) => of_denoiser(config),
            other => panic!("there is no run of a {}", other.kind()),
        };
        Self {
            optimiser: AdamW::new(&params, AdamWConfig::default()),
            shards: Shards::new(shards, &params, Tape::new),
            params,
            loss,
            results: vec![0.0; 5],
        }
    }

    /// One step; the loss before it.
    pub fn step(&mut self) -> f64 {
        let Self {
            params,
            loss,
            optimiser,
            shards,
            results,
        } = self;
        let rows = BATCH / results.len();
        shards.step(params, results, |tape, micro| {
            let loss = loss(tape, micro.index * rows, rows);
            let value = f64::from(loss.item());
            (scale(loss, 1.0 / micro.count as f32), value)
        });
        optimiser.update(params, shards.gradients(), 1e-2);
        results.iter().sum::<f64>() / results.len() as f64
    }
}
