//! The speed of matrix products on the CPU and on a device.

use super::Size;
use engine::backend::{Backend, CpuBackend, Layout, Product};
use figures::stats::median;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The speed of one product; rates in 10⁹ operations a second.
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
    /// Rate of the CPU.
    pub cpu: f64,
    /// Rate of the device with operands sent and the result fetched.
    pub device: f64,
    /// Rate of the device with operands there and the result left there.
    pub device_alone: Option<f64>,
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
}

impl Measured {
    /// Times all products on the CPU and on `device`.
    ///
    /// # Errors
    /// The message of a device that fails.
    pub fn of(products: Vec<(String, Product)>, device: &dyn Backend) -> Result<Self, String> {
        let mut rows = Vec::with_capacity(products.len());
        for (name, product) in products {
            let rate = |time: Duration| product.flops() as f64 / time.as_secs_f64() / 1e9;
            let Product { m, k, n, .. } = product;
            rows.push(ProductSpeed {
                product: name,
                m,
                k,
                n,
                cpu: rate(time(&CpuBackend, product)),
                device: rate(time(device, product)),
                device_alone: device.time_on_device(product).map(rate),
            });
            if let Some(message) = device.failure() {
                return Err(message);
            }
        }
        let faster = |edge: usize| {
            let mut cubes = rows.iter().filter(|row| row.m == edge);
            cubes.all(|row| row.device > row.cpu)
        };
        Ok(Self {
            backend: device.name().to_owned(),
            threads: rayon::current_num_threads(),
            crossover: rows.iter().map(|row| row.m).find(|&edge| faster(edge)),
            rows,
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

/// The median time of a product: 7 times, or as often as fits a second, after one that
/// makes buffers and, on a device, chooses the tile.
fn time(backend: &dyn Backend, product: Product) -> Duration {
    let [a, b, mut c] = product.shapes().map(|[rows, columns]| {
        let value = |i: usize| (i * 7919 % 1021) as f32 / 512.0 - 1.0;
        (0..rows * columns).map(value).collect::<Vec<_>>()
    });
    backend.matmul(product, &a, &b, &mut c, true);
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || times.len() < 7 && begun.elapsed() < Duration::from_secs(1) {
        let started = Instant::now();
        backend.matmul(product, &a, &b, &mut c, true);
        times.push(started.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(median(times).expect("one at least"))
}
