//! `backend bench`: GFLOP/s by size.

use crate::Failure;
use engine::backend::{Backend, CpuBackend, Layout, Product};
use figures::{
    stats::median,
    table::{Align, Cell, Table},
    terminal::{Colour, stdout_width, wrapped},
};
use lab::bench::{Size, named};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    time::{Duration, Instant},
};

/// Products in the three layouts of a training step: cubes, or those of a step.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The largest cube
    #[arg(long, default_value_t = 2048, value_name = "N")]
    largest: usize,
    /// Instead of cubes the products of the linear layers of `bench --size SIZE`, forward and
    /// both gradients
    #[arg(long, value_name = "SIZE", value_parser = named, conflicts_with = "largest")]
    step: Option<Size>,
    /// Into how many shards the batch of --step is cut
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096), requires = "step")]
    shards: u64,
    /// Accept an adapter that the processor itself plays
    #[arg(long)]
    software_adapter: bool,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

/// One line of the table; rates in 10⁹ operations a second.
#[derive(Serialize)]
struct Row {
    product: String,
    /// C is m x n, the summed dimension is k.
    m: usize,
    k: usize,
    n: usize,
    cpu: f64,
    /// Operands sent, result fetched.
    device: f64,
    /// Operands there, result left there.
    device_alone: Option<f64>,
}

#[derive(Serialize)]
struct Measured {
    backend: String,
    threads: usize,
    rows: Vec<Row>,
    /// The smallest cube that the device, transfers included, computes sooner.
    crossover: Option<usize>,
}

const LAYOUTS: [(Layout, &str); 3] = [
    (Layout::Nn, "A B"),
    (Layout::Nt, "A Bᵀ"),
    (Layout::Tn, "Aᵀ B"),
];

/// Cubes up to this edge.
fn cubes(largest: usize) -> Vec<(String, Product)> {
    let edges = (6..)
        .map(|power| 1 << power)
        .take_while(|&edge| edge <= largest);
    let all = edges.flat_map(|edge| {
        LAYOUTS.map(|(layout, name)| (name.to_owned(), Product::new(layout, edge, edge, edge)))
    });
    all.collect()
}

/// The products of the linear layers of a block: `y = x Wᵀ`, `dx = dy W`, `dW = dyᵀ x`.
fn of_step(size: Size, shards: usize) -> Vec<(String, Product)> {
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

impl Args {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.largest < 64 {
            return Err(Failure::Usage("--largest: expected at least 64".into()));
        }
        let selected = super::for_everything(self.software_adapter)?;
        let device = &*selected.backend;
        let products = match self.step {
            Some(size) => of_step(size, self.shards as usize),
            None => cubes(self.largest),
        };
        let mut measured = Measured {
            backend: device.name().to_owned(),
            threads: rayon::current_num_threads(),
            rows: Vec::with_capacity(products.len()),
            crossover: None,
        };
        for (name, product) in products {
            let rate = |time: Duration| product.flops() as f64 / time.as_secs_f64() / 1e9;
            let Product { m, k, n, .. } = product;
            measured.rows.push(Row {
                product: name,
                m,
                k,
                n,
                cpu: rate(time(&CpuBackend, product)),
                device: rate(time(device, product)),
                device_alone: device.time_on_device(product).map(rate),
            });
            if let Some(message) = device.failure() {
                return Err(Failure::Failed(message));
            }
        }
        if self.step.is_none() {
            measured.crossover = crossover(&measured.rows);
        }
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&measured)?)?;
            return Ok(());
        }
        let who = format!(
            "{}; CPU with {} threads",
            measured.backend, measured.threads
        );
        write!(out, "{}", wrapped(&who, stdout_width()))?;
        let table = table(&measured.rows).to_text(stdout_width(), Colour::for_stdout());
        write!(out, "{table}")?;
        match (self.step, measured.crossover) {
            (Some(_), _) => {}
            (None, Some(edge)) => {
                let line = format!("the device, transfers included, overtakes at {edge}");
                write!(out, "{}", wrapped(&line, stdout_width()))?;
            }
            (None, None) => {
                let line = "the device, transfers included, never overtakes the CPU";
                write!(out, "{}", wrapped(line, stdout_width()))?;
            }
        }
        Ok(())
    }
}

/// The smallest cube that the device computes sooner in every layout.
fn crossover(rows: &[Row]) -> Option<usize> {
    let faster = |edge: usize| {
        let mut cubes = rows.iter().filter(|row| row.m == edge);
        cubes.all(|row| row.device > row.cpu)
    };
    rows.iter().map(|row| row.m).find(|&edge| faster(edge))
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        ("product", Align::Left),
        ("m", Align::Right),
        ("k", Align::Right),
        ("n", Align::Right),
        ("CPU GFLOP/s", Align::Right),
        ("device, with transfers", Align::Right),
        ("device alone", Align::Right),
    ]);
    for row in rows {
        let alone = row
            .device_alone
            .map_or("?".into(), |rate| format!("{rate:.1}"));
        table.push(
            [
                row.product.clone(),
                row.m.to_string(),
                row.k.to_string(),
                row.n.to_string(),
                format!("{:.1}", row.cpu),
                format!("{:.1}", row.device),
                alone,
            ]
            .map(Cell::from),
        );
    }
    table
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
