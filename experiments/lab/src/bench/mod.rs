//! One training step against the clock: the race of `docs/performance.md`.
//!
//! Weights and tokens come from formulas, so that any engine can start from the same
//! point: the losses of the first steps must agree to about 1e-3.

pub mod compare;
pub mod growth;
pub mod products;

use crate::{config::Precision, device::Selected};
use engine::{
    backend::Traffic, ops::scale, parallel::Shards, params::Params, peak, profile::Profile,
    rng::Key, tape::Tape,
};
use figures::stats::median;
use models::{
    accounting::Account,
    config::{ConfigError, FfnConfig},
    network::Network,
    transformer::{Transformer, TransformerConfig},
};
use nn::{
    connection::ConnectionConfig,
    norm::NormConfig,
    optim::{AdamW, AdamWConfig},
};
use serde::Serialize;
use std::{sync::Arc, time::Instant};

/// The extents of a bench: network and batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The name on the command line.
    pub name: &'static str,
    /// Width, blocks, heads, feed-forward width.
    pub network: [usize; 4],
    /// Tokens of a sequence.
    pub seq: usize,
    /// Sequences of a batch.
    pub batch: usize,
    /// Sequences that are usually on a tape at a time.
    pub micro_batch: usize,
}

/// The step of the preset small, which most studies here train.
const SMALL: Size = Size {
    micro_batch: 4,
    ..size("small", [64, 8, 4, 176], 64, 16)
};
/// The size that grows.
const S: Size = size("s", [128, 6, 4, 344], 128, 16);
/// The sizes that can be raced.
const SIZES: [Size; 5] = [
    SMALL,
    S,
    size("m", [256, 8, 8, 688], 256, 8),
    size("l", [512, 8, 8, 1376], 512, 8),
    size("xl", [1024, 8, 16, 2752], 512, 8),
];

const fn size(name: &'static str, network: [usize; 4], seq: usize, batch: usize) -> Size {
    Size {
        name,
        network,
        seq,
        batch,
        micro_batch: 2,
    }
}

/// The size of this name.
///
/// # Errors
/// The known names.
pub fn named(name: &str) -> Result<Size, String> {
    let found = SIZES.into_iter().find(|size| size.name == name);
    found.ok_or_else(|| "expected small, s, m, l or xl".into())
}

/// Settings of a bench.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Network and batch.
    pub size: Size,
    /// Configuration of the connections.
    pub connection: ConnectionConfig,
    /// Training steps.
    pub steps: usize,
    /// Shards of the batch, each with gradients of its own.
    pub shards: usize,
    /// Sequences that are on a tape at a time.
    pub micro_batch: usize,
    /// True to measure every operation.
    pub profile: bool,
    /// Backend of matrix products.
    pub backend: Selected,
    /// Precision of the operands of the linear layers' products.
    pub precision: Precision,
}

/// The measured times of a step.
#[derive(Clone, Debug, Serialize)]
pub struct StepTimes {
    /// This engine and its version.
    pub engine: String,
    /// The size.
    pub size: &'static str,
    /// Backend of matrix products.
    pub backend: String,
    /// Precision of the operands of the linear layers' products.
    pub precision: &'static str,
    /// The connection.
    pub connection: String,
    /// Threads at work.
    pub threads: usize,
    /// Shards of the batch.
    pub shards: usize,
    /// Sequences on a tape at a time.
    pub micro_batch: usize,
    /// Parameters.
    pub parameters: usize,
    /// The median step after the first two, in milliseconds.
    pub median_ms: f64,
    /// The fastest of them.
    pub min_ms: f64,
    /// The part of the median step that the update of the optimiser takes.
    pub update_ms: f64,
    /// Counted operations of a step, forward and backward, in units of 10⁹.
    pub gflop: f64,
    /// Rate of the multiply-adds of this machine on these threads, in GFLOP/s.
    pub peak_gflops: f64,
    /// Rate of the median step over that; absent where a device computes products.
    pub fraction_of_peak: Option<f64>,
    /// The largest resident memory of the process so far, in MiB; absent where the
    /// system does not say.
    pub peak_rss_mb: Option<u64>,
    /// Traffic of a measured step between the processor and a device, if there is one.
    pub moved: Option<Moved>,
    /// The loss before each step.
    pub losses: Vec<f64>,
    /// Counted costs of the network.
    #[serde(skip)]
    pub account: Account,
    /// Where the time went, if it was asked for.
    #[serde(skip)]
    pub profile: Option<Profile>,
}

/// Mean traffic of a step; an MB is 10⁶ bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moved {
    /// Operands of products.
    pub sent_mb: f64,
    /// Results.
    pub fetched_mb: f64,
    /// Batches of products.
    pub submissions: f64,
}

impl Moved {
    fn between(before: Traffic, after: Traffic, steps: usize) -> Option<Self> {
        let each = |count: u64| count as f64 / steps as f64;
        (after.submissions > before.submissions).then(|| Self {
            sent_mb: each(after.sent - before.sent) / 1e6,
            fetched_mb: each(after.fetched - before.fetched) / 1e6,
            submissions: each(after.submissions - before.submissions),
        })
    }
}

impl Bench {
    /// Runs the steps.
    ///
    /// # Errors
    /// If the network cannot be built.
    pub fn run(&self) -> Result<StepTimes, ConfigError> {
        let config = self.config();
        let (model, mut params) = Transformer::new(&config, Key::new(0))?;
        fill(&mut params, config.layers);
        let Size { seq, batch, .. } = self.size;
        let (tokens, targets) = text(batch * seq);
        let mut optimiser = AdamW::new(&params, OPTIMISER);
        let backend = self.backend.at(self.precision);
        let mut shards = Shards::new(self.shards, &params, || {
            Tape::new().with_backend(Arc::clone(&backend))
        });
        if self.profile {
            shards.tapes_mut().for_each(Tape::set_profiling);
        }
        let micro_batches = batch.div_ceil(self.micro_batch);
        let mut results = vec![0.0_f64; micro_batches];
        let (mut times, mut updates, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        let mut traffic = Traffic::default();
        for step in 0..self.steps {
            if step == WARM_UP {
                traffic = self.backend.backend.traffic();
                // The first steps allocate: they are not what is measured.
                shards.tapes_mut().for_each(|tape| {
                    tape.take_profile();
                });
            }
            let started = Instant::now();
            shards.step(&params, &mut results, |tape, micro| {
                let first = micro.index * batch / micro.count * seq;
                let end = (micro.index + 1) * batch / micro.count * seq;
                let loss = model.loss(tape, &tokens[first..end], &targets[first..end], seq);
                let share = (end - first) as f32 / (batch * seq) as f32;
                let weighted = scale(loss, share);
                let value = f64::from(weighted.item());
                (weighted, value)
            });
            let updating = Instant::now();
            optimiser.update(&mut params, shards.gradients(), LEARNING_RATE);
            updates.push(updating.elapsed().as_secs_f64() * 1e3);
            times.push(started.elapsed().as_secs_f64() * 1e3);
            losses.push((results.iter().sum::<f64>() * 1e5).round() / 1e5);
        }
        let mut profile = Profile::default();
        shards
            .tapes_mut()
            .filter_map(Tape::take_profile)
            .for_each(|part| profile.merge(&part));
        // A run of no more steps than these measures all.
        let skipped = if self.steps > WARM_UP { WARM_UP } else { 0 };
        let (measured, updates) = (times.split_off(skipped), updates.split_off(skipped));
        let moved = Moved::between(traffic, self.backend.backend.traffic(), measured.len());
        let min_ms = measured.iter().copied().fold(f64::NAN, f64::min);
        let median_ms = median(measured).unwrap_or(f64::NAN);
        let account = config.account()?;
        // The backward takes twice the operations of the forward.
        let gflop = 3.0 * (account.flops.total() * (batch * seq) as u64) as f64 / 1e9;
        let peak_gflops = peak::gflops();
        let fraction = gflop / median_ms * 1e3 / peak_gflops;
        Ok(StepTimes {
            engine: concat!("hyper-connections workbench ", env!("CARGO_PKG_VERSION")).into(),
            size: self.size.name,
            backend: self.backend.made_by(self.precision),
            precision: self.precision.name(),
            connection: config.connection.spec().label(),
            threads: rayon::current_num_threads(),
            shards: self.shards,
            micro_batch: self.micro_batch,
            parameters: params.elements(),
            median_ms,
            min_ms,
            update_ms: median(updates).unwrap_or(f64::NAN),
            gflop,
            peak_gflops,
            fraction_of_peak: moved.is_none().then_some(fraction),
            peak_rss_mb: peak_rss_mb(),
            moved,
            losses,
            account,
            profile: self.profile.then_some(profile),
        })
    }

    fn config(&self) -> TransformerConfig {
        let [dim, layers, heads, hidden] = self.size.network;
        TransformerConfig {
            vocab_size: 256,
            dim,
            layers,
            heads,
            seq: self.size.seq,
            ffn: FfnConfig::SwiGlu { hidden },
            connection: self.connection.clone(),
            // PyTorch's default, so that both sides of a race do the same work.
            norm: NormConfig {
                eps: 1e-5,
                ..NormConfig::default()
            },
            ..TransformerConfig::default()
        }
    }
}

const LEARNING_RATE: f64 = 1e-3;

/// Steps that are not measured.
const WARM_UP: usize = 2;

const OPTIMISER: AdamWConfig = AdamWConfig {
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.01,
    decay_everything: true,
    clip: 1.0,
};

/// Fills the matrices: embedding (number 0, bound 1), per block l the fused q | k | v
/// (1 + 4 l), o, gate | up, down, and the head (1 + 4 L), with the bound
/// `1 / sqrt(inputs)`.
fn fill(params: &mut Params, layers: usize) {
    const OF_BLOCK: [&str; 4] = [
        "attn.qkv.weight",
        "attn.o.weight",
        "ffn.gate_up.weight",
        "ffn.down.weight",
    ];
    let matrices = params.iter().filter_map(|(_, param)| {
        let bound = 1.0 / (param.shape.width() as f64).sqrt();
        let (number, bound) = match &*param.name {
            "embed.weight" => (0, 1.0),
            "head.weight" => (1 + 4 * layers, bound),
            name => {
                let (block, name) = name.strip_prefix("blocks.")?.split_once('.')?;
                let place = OF_BLOCK.iter().position(|known| *known == name)?;
                (1 + 4 * block.parse::<usize>().ok()? + place, bound)
            }
        };
        Some((param.range.clone(), number, bound))
    });
    for (range, number, bound) in matrices.collect::<Vec<_>>() {
        let values = (0..range.len()).map(|i| formula(i, number, bound));
        params.set(range, &values.collect::<Vec<f32>>());
    }
}

/// Weight i of matrix k: `(2 frac(43758.5453 sin(12.9898 i + 78.233 k)) - 1) bound`.
fn formula(i: usize, k: usize, bound: f64) -> f32 {
    let x = (i as f64 * 12.9898 + k as f64 * 78.233).sin() * 43758.5453;
    ((2.0 * (x - x.floor()) - 1.0) * bound) as f32
}

/// Tokens and targets.
fn text(count: usize) -> (Vec<u32>, Vec<u32>) {
    let tokens = (0..count).map(|i| ((i * 7919 + 13 + (i / 7) * 31) % 256) as u32);
    let targets = (0..count).map(|i| ((i * 104_729 + 7 + (i / 3) * 17) % 256) as u32);
    (tokens.collect(), targets.collect())
}

/// The high-water mark of the resident memory.
fn peak_rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
