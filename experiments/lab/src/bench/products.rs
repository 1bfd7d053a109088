//! The speed of matrix products and attention on the CPU and on a device.

use super::Size;
use engine::backend::{AttentionShape, Backend, CpuBackend, Job, Layout, Product, workers};
use figures::stats::median;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Rates in 10⁹ operations a second.
#[derive(Serialize)]
pub struct Rates {
    /// Rate of the CPU.
    pub cpu: f64,
    /// Rate of the device with operands sent and the result fetched.
    pub device: f64,
    /// Rate of the device with operands there and the result left there.
    pub device_alone: Option<f64>,
}

/// The speed of one product.
#[derive(Serialize)]
pub struct ProductSpeed {
    /// Layout or layer.
    pub product: String,
    /// Rows of C.
    pub m: usize,
    /// The summed dimension.
    pub k: usize,
    /// Columns of C.
    pub n: usize,
    /// The rates.
    #[serde(flatten)]
    pub rates: Rates,
}

/// The speed of one pass of a causal attention with rotary positions.
#[derive(Serialize)]
pub struct AttentionSpeed {
    /// Forward or backward.
    pub pass: &'static str,
    /// Sequences.
    pub sequences: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The rates.
    #[serde(flatten)]
    pub rates: Rates,
}

/// The speeds of several products.
#[derive(Serialize)]
pub struct Measured {
    /// Name of the device.
    pub backend: String,
    /// Threads of the CPU.
    pub threads: usize,
    /// One entry for each product.
    pub rows: Vec<ProductSpeed>,
    /// The smallest cube that the device, transfers included, computes sooner in every layout.
    pub crossover: Option<usize>,
    /// Both passes of the attention of a step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<AttentionSpeed>,
}

impl Measured {
    /// Times all products, and an attention, on the CPU and on `device`.
    ///
    /// # Errors
    /// The message of a device that fails.
    pub fn of(
        products: Vec<(String, Product)>,
        attention: Option<AttentionShape>,
        device: &dyn Backend,
    ) -> Result<Self, String> {
        let mut rows = Vec::with_capacity(products.len());
        for (name, product) in products {
            let Product { m, k, n, .. } = product;
            rows.push(ProductSpeed {
                product: name,
                m,
                k,
                n,
                rates: of_product(product, device)?,
            });
        }
        let faster = |edge: usize| {
            let mut cubes = rows.iter().filter(|row| row.m == edge);
            cubes.all(|row| row.rates.device > row.rates.cpu)
        };
        Ok(Self {
            backend: device.name().to_owned(),
            threads: rayon::current_num_threads(),
            crossover: rows.iter().map(|row| row.m).find(|&edge| faster(edge)),
            rows,
            attention: match attention {
                Some(shape) => of_attention(shape, device)?.into(),
                None => Vec::new(),
            },
        })
    }
}

/// Cubes up to this edge, in every layout.
pub fn cubes(largest: usize) -> Vec<(String, Product)> {
    let layouts = [
        (Layout::Nn, "A B"),
        (Layout::Nt, "A Bᵀ"),
        (Layout::Tn, "Aᵀ B"),
    ];
    let edges = (6..).map(|power| 1 << power);
    let edges = edges.take_while(|&edge| edge <= largest);
    let all = edges.flat_map(|edge| {
        layouts.map(|(layout, name)| (name.to_owned(), Product::new(layout, edge, edge, edge)))
    });
    all.collect()
}

/// The products of the linear layers of a block: `y = x Wᵀ`, `dx = dy W`, `dW = dyᵀ x`.
pub fn of_step(size: Size, shards: usize) -> Vec<(String, Product)> {
    let [dim, _, _, hidden] = size.network;
    let rows = (size.batch * size.seq).div_ceil(shards);
    let layers = [
        ("qkv", dim, 3 * dim),
        ("o", dim, dim),
        ("gate|up", dim, 2 * hidden),
        ("down", hidden, dim),
    ];
    let all = layers.into_iter().flat_map(|(name, inputs, outputs)| {
        [
            (" y", Product::new(Layout::Nt, rows, inputs, outputs)),
            (" dx", Product::new(Layout::Nn, rows, outputs, inputs)),
            (" dW", Product::new(Layout::Tn, outputs, rows, inputs)),
        ]
        .map(|(what, product)| (name.to_owned() + what, product))
    });
    all.collect()
}

/// The attention of a micro-batch of all sequences of a shard.
pub fn attention_of_step(size: Size, shards: usize) -> AttentionShape {
    let [dim, _, heads, _] = size.network;
    AttentionShape {
        batch: size.batch.div_ceil(shards),
        seq: size.seq,
        heads,
        head_dim: dim / heads,
        causal: true,
    }
}

/// Matrices of a job that is timed.
struct Memory {
    read: Vec<Vec<f32>>,
    made: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

impl Memory {
    fn new(read: &[usize], made: &[usize], scratch: usize) -> Self {
        let value = |i: usize| (i * 7919 % 1021) as f32 / 512.0 - 1.0;
        Self {
            read: read
                .iter()
                .map(|&len| (0..len).map(value).collect())
                .collect(),
            made: made.iter().map(|&len| vec![0.0; len]).collect(),
            scratch: vec![0.0; scratch],
        }
    }
}

/// A job on the memory for it.
type MakeJob<'w> = &'w dyn for<'m> Fn(&'m mut Memory) -> Job<'m>;

fn of_product(product: Product, device: &dyn Backend) -> Result<Rates, String> {
    let [a, b, c] = product.shapes().map(|[rows, columns]| rows * columns);
    let memory = Memory::new(&[a, b], &[c], 0);
    rates(memory, device, &|memory| {
        let [a, b] = [0, 1].map(|i| &memory.read[i][..]);
        Job::new(product, a, b, &mut memory.made[0][..])
    })
}

fn of_attention(
    shape: AttentionShape,
    device: &dyn Backend,
) -> Result<[AttentionSpeed; 2], String> {
    let (n, rows, tables) = (shape.elements(), shape.rows(), shape.seq * shape.head_dim);
    let workers = workers(true);
    let memory = Memory::new(&[3 * n, tables], &[n, rows], shape.forward_scratch(workers));
    let forward = rates(memory, device, &|memory| {
        let operands = [0, 1].map(|i| memory.read[i][..].into());
        let [out, lse] = &mut memory.made[..] else {
            unreachable!("two results")
        };
        let targets = [out, lse].map(|made| (&mut made[..]).into());
        Job::attention_forward(shape, operands, targets, &mut memory.scratch)
    })?;
    let read = [3 * n, tables, n, rows, n];
    let memory = Memory::new(&read, &[3 * n], shape.backward_scratch(workers));
    let backward = rates(memory, device, &|memory| {
        let operands = [0, 1, 2, 3, 4].map(|i| memory.read[i][..].into());
        let dqkv = (&mut memory.made[0][..]).into();
        Job::attention_backward(shape, operands, dqkv, &mut memory.scratch)
    })?;
    Ok(
        [("forward", forward), ("backward", backward)].map(|(pass, rates)| AttentionSpeed {
            pass,
            sequences: shape.batch,
            tokens: shape.seq,
            heads: shape.heads,
            head_dim: shape.head_dim,
            rates,
        }),
    )
}

/// The rates of a job.
fn rates(mut memory: Memory, device: &dyn Backend, job: MakeJob<'_>) -> Result<Rates, String> {
    let flops = job(&mut memory).work.flops().unwrap_or_default();
    let rate = |time: Duration| flops as f64 / time.as_secs_f64() / 1e9;
    let rates = Rates {
        cpu: rate(time(&CpuBackend, &mut memory, job)),
        device: rate(time(device, &mut memory, job)),
        device_alone: device.time_on_device(&job(&mut memory)).map(rate),
    };
    match device.failure() {
        Some(message) => Err(message),
        None => Ok(rates),
    }
}

/// The median time of a job: 7 times, or as often as fits a second, after one that
/// makes buffers and, on a device, chooses the tile.
fn time(backend: &dyn Backend, memory: &mut Memory, job: MakeJob<'_>) -> Duration {
    let mut compute = || backend.compute(&mut [Some(job(memory))], true);
    compute();
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || times.len() < 7 && begun.elapsed() < Duration::from_secs(1) {
        let started = Instant::now();
        compute();
        times.push(started.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(median(times).expect("one at least"))
}
