//! `backend bench`: GFLOP/s by size.

use crate::{
    cli::Failure,
    device::{Choice, Selected},
    stats::median,
    table::{Align, Cell, Table},
    terminal::{Colour, TERMINAL_WIDTH, wrapped},
};
use engine::backend::{Backend, CpuBackend, Layout, Options, Product, Threshold};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    time::{Duration, Instant},
};

/// Cubes in the three layouts of a training step, `C[edge, edge]` of two matrices as large.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The largest cube
    #[arg(long, default_value_t = 2048, value_name = "N")]
    largest: usize,
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
    layout: &'static str,
    size: usize,
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

impl Args {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.largest < 64 {
            return Err(Failure::Usage("--largest: expected at least 64".into()));
        }
        let software = self.software_adapter;
        let everything = Options {
            software,
            threshold: Threshold::Cube(0),
            ..Options::default()
        };
        let selected = Selected::open(Choice::Gpu, everything)?;
        let device = &*selected.backend;
        let mut measured = Measured {
            backend: device.name().to_owned(),
            threads: rayon::current_num_threads(),
            rows: Vec::new(),
            crossover: None,
        };
        let sizes = (6..).map(|power| 1 << power);
        for size in sizes.take_while(|&size| size <= self.largest) {
            for (layout, name) in [
                (Layout::Nn, "A B"),
                (Layout::Nt, "A Bᵀ"),
                (Layout::Tn, "Aᵀ B"),
            ] {
                let product = Product::new(layout, size, size, size);
                let rate = |time: Duration| product.flops() as f64 / time.as_secs_f64() / 1e9;
                measured.rows.push(Row {
                    layout: name,
                    size,
                    cpu: rate(time(&CpuBackend, product)),
                    device: rate(time(device, product)),
                    device_alone: device.time_on_device(product).map(rate),
                });
                if let Some(message) = device.failure() {
                    return Err(Failure::Failed(message));
                }
            }
        }
        let faster = |size: usize| {
            let mut rows = measured.rows.iter().filter(|row| row.size == size);
            rows.all(|row| row.device > row.cpu)
        };
        let mut sizes = measured.rows.iter().map(|row| row.size);
        measured.crossover = sizes.find(|&size| faster(size));
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&measured)?)?;
            return Ok(());
        }
        let who = format!(
            "{}; CPU with {} threads",
            measured.backend, measured.threads
        );
        write!(out, "{}", wrapped(&who, TERMINAL_WIDTH))?;
        let mut table = Table::new([
            ("product", Align::Left),
            ("edge", Align::Right),
            ("CPU GFLOP/s", Align::Right),
            ("device, with transfers", Align::Right),
            ("device alone", Align::Right),
        ]);
        for row in &measured.rows {
            let alone = row
                .device_alone
                .map_or("?".into(), |rate| format!("{rate:.1}"));
            table.push(
                [
                    row.layout.to_owned(),
                    row.size.to_string(),
                    format!("{:.1}", row.cpu),
                    format!("{:.1}", row.device),
                    alone,
                ]
                .map(Cell::from),
            );
        }
        write!(
            out,
            "{}",
            table.to_text(TERMINAL_WIDTH, Colour::for_stdout())
        )?;
        match measured.crossover {
            Some(size) => writeln!(out, "the device, transfers included, overtakes at {size}")?,
            None => writeln!(
                out,
                "the device, transfers included, never overtakes the CPU"
            )?,
        }
        Ok(())
    }
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
