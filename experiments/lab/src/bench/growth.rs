//! Growth of the time of a step with rate, width and length, beside counted operations.

use super::{Bench, S, Size};
use crate::{config::Precision, device::Selected};
use clap::ValueEnum;
use models::config::ConfigError;
use nn::connection::{ConnectionConfig, HyperConfig};
use serde::Serialize;

/// The quantity that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Axis {
    /// n = 1, 2, 4, 8, 16
    Rate,
    /// d = 64 ... 512
    // Heads of 32, the feed-forward layer in proportion.
    Dim,
    /// T = 64 ... 1024
    // At 2048 tokens a batch.
    Seq,
}

impl Axis {
    /// The letter of the table.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Rate => "n",
            Self::Dim => "d",
            Self::Seq => "T",
        }
    }
}

/// One size of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The rate, width or length.
    pub value: usize,
    /// The median step in milliseconds.
    pub median_ms: f64,
    /// Counted operations of a step, forward and backward, in units of 10⁹.
    pub gflop: f64,
    /// Rate of the multiply-adds of this machine, measured after these steps, in GFLOP/s.
    pub peak_gflops: f64,
    /// Rate of the median step over that.
    pub fraction_of_peak: Option<f64>,
    /// The share of the connections in them.
    pub connection_share: f64,
    /// Counted traffic of the connections in a step, in units of 10⁹ bytes.
    pub connection_gb: f64,
    /// Peak memory of the process so far.
    pub peak_rss_mb: Option<u64>,
}

/// Measures one size after the other, starting from size s with `rate` streams.
///
/// # Errors
/// If a size cannot be built.
pub fn grow(axis: Axis, rate: usize, steps: usize) -> Result<Vec<Point>, ConfigError> {
    let base = S;
    let tokens = base.seq * base.batch;
    let values: &[usize] = match axis {
        Axis::Rate => &[1, 2, 4, 8, 16],
        Axis::Dim => &[64, 128, 256, 512],
        Axis::Seq => &[64, 128, 256, 512, 1024],
    };
    let point = |&value: &usize| {
        let [_, layers, _, _] = base.network;
        let (rate, size) = match axis {
            Axis::Rate => (value, base),
            Axis::Dim => {
                let network = [
                    value,
                    layers,
                    value / 32,
                    (value * 43 / 16).next_multiple_of(8),
                ];
                (rate, Size { network, ..base })
            }
            Axis::Seq => {
                let (seq, batch) = (value, tokens / value);
                (rate, Size { seq, batch, ..base })
            }
        };
        let bench = Bench {
            size,
            connection: ConnectionConfig::Hyper(HyperConfig {
                rate,
                ..HyperConfig::default()
            }),
            steps,
            shards: 2,
            // Always 256 tokens, or one sequence, on a tape.
            micro_batch: (256 / size.seq).max(1),
            profile: false,
            backend: Selected::default(),
            precision: Precision::F32,
        };
        let report = bench.run()?;
        let flops = report.account.flops;
        let vectors = (6 * rate + 5) * size.network[0] * 4 * 2 * layers;
        Ok(Point {
            value,
            median_ms: report.median_ms,
            gflop: report.gflop,
            peak_gflops: report.peak_gflops,
            fraction_of_peak: report.fraction_of_peak,
            connection_share: flops.connections as f64 / flops.total() as f64,
            connection_gb: (vectors * tokens) as f64 / 1e9,
            peak_rss_mb: report.peak_rss_mb,
        })
    };
    values.iter().map(point).collect()
}
