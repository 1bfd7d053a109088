//! `bench`: the step that other engines are raced on.

use super::{
    backend::BackendArgs,
    output::{Failure, print, print_json, remark, say, shown, usage},
};
use clap::ValueEnum;
use figures::{stats::median, table::Table, terminal::scientific};
use lab::{
    bench::{
        Bench, Size, StepTimes, compare,
        growth::{Axis, grow},
        named,
    },
    config::Precision,
};
use nn::connection::{ConnectionConfig, HyperConfig, PreNormConfig};
use std::collections::BTreeMap;

/// The step of the race: small is that of the preset (0.4 M parameters, 1024 tokens), s 1.2 M
/// parameters and 2048 tokens, m 6.4 M and 2048; l (d = 512) and xl (d = 1024) with 4096 tokens are
/// for GPUs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Size of network and batch
    #[arg(long, default_value = "s", value_parser = named)]
    size: Size,
    /// What carries the hidden state
    #[arg(long, value_enum, default_value = "pre_norm")]
    connection: Kind,
    /// Expansion rate of shc and dhc
    #[arg(long, default_value_t = 4)]
    rate: usize,
    /// Training steps; the first two are not measured
    #[arg(long, default_value_t = 12)]
    steps: usize,
    /// Shards of the batch: part of the result, unlike the threads
    #[arg(long, default_value_t = 2)]
    shards: usize,
    /// Sequences that a shard has on its tape at a time [default: 4 for small, else 2]
    #[arg(long, value_name = "N")]
    micro_batch: Option<usize>,
    /// Precision of the linear layers' operands
    #[arg(long, value_enum, default_value = "f32", conflicts_with = "growth")]
    precision: Precision,
    #[command(flatten)]
    backend: BackendArgs,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
    /// Print the time of every operation, summed over threads
    #[arg(long, conflicts_with = "compare")]
    profile: bool,
    /// Measure how the time grows along one axis instead, at size s with dhc
    #[arg(long, value_enum, value_name = "AXIS", conflicts_with_all = ["compare", "profile", "backend", "software_adapter"])]
    growth: Option<Axis>,
    /// Race this command, in turn: its last line must be JSON like that of --json
    #[arg(long, value_name = "COMMAND")]
    compare: Option<String>,
    /// How often each side of a race runs
    #[arg(long, default_value_t = 3, requires = "compare")]
    rounds: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    PreNorm,
    Shc,
    Dhc,
}

impl Args {
    /// Runs the steps and prints what was measured.
    pub fn run(self) -> Result<(), Failure> {
        for (flag, value) in [
            ("--rate", self.rate),
            ("--steps", self.steps),
            ("--shards", self.shards),
            ("--micro-batch", self.micro_batch()),
            ("--rounds", self.rounds),
        ] {
            if value == 0 {
                return Err(usage(format!("{flag} is 0, expected at least 1")));
            }
        }
        if let Some(axis) = self.growth {
            return self.growth(axis);
        }
        if let Some(peer) = &self.compare {
            return self.race(peer);
        }
        let hyper = |dynamic| {
            ConnectionConfig::Hyper(HyperConfig {
                rate: self.rate,
                dynamic,
                ..HyperConfig::default()
            })
        };
        let bench = Bench {
            size: self.size,
            connection: match self.connection {
                Kind::PreNorm => ConnectionConfig::PreNorm(PreNormConfig::default()),
                Kind::Shc => hyper(false),
                Kind::Dhc => hyper(true),
            },
            steps: self.steps,
            shards: self.shards,
            micro_batch: self.micro_batch(),
            profile: self.profile,
            backend: self.backend.open([self.precision])?,
            precision: self.precision,
        };
        let times = bench.run()?;
        remark(bench.backend.failure().map_err(Failure::Failed)?);
        match self.json {
            true => print_json(&times),
            false => report(&times),
        }
    }

    fn micro_batch(&self) -> usize {
        self.micro_batch.unwrap_or(self.size.micro_batch)
    }

    fn growth(&self, axis: Axis) -> Result<(), Failure> {
        let points = grow(axis, self.rate, self.steps)?;
        if self.json {
            return print_json(&points);
        }
        let table = Table::of(&points)
            .right(axis.symbol(), |point| point.value.to_string())
            .right("step ms", |point| format!("{:.1}", point.median_ms))
            .right("GFLOP", |point| format!("{:.1}", point.gflop))
            .right("GFLOP/s", |point| {
                format!("{:.0}", point.gflop / point.median_ms * 1e3)
            })
            .right("peak %", |point| percent(point.fraction_of_peak))
            .right("connections %", |point| {
                format!("{:.1}", 100.0 * point.connection_share)
            })
            .right("GB moved by them", |point| {
                format!("{:.2}", point.connection_gb)
            })
            .table();
        let peaks: Vec<f64> = points.iter().map(|point| point.peak_gflops).collect();
        print(&(shown(&table) + "\n"))?;
        let (threads, peak) = (
            rayon::current_num_threads(),
            median(peaks).unwrap_or(f64::NAN),
        );
        say(&format!(
            "FMA peak of {threads} threads: {peak:.0} GFLOP/s, measured after each row (median)"
        ))
    }

    fn race(&self, peer: &str) -> Result<(), Failure> {
        let program = std::env::current_exe()?;
        let kind = self.connection.to_possible_value().expect("a named kind");
        let mut ours: Vec<String> = [
            program.display().to_string(),
            "bench".into(),
            "--json".into(),
            format!("--threads={}", rayon::current_num_threads()),
            format!("--size={}", self.size.name),
            format!("--connection={}", kind.get_name()),
            format!("--rate={}", self.rate),
            format!("--steps={}", self.steps),
            format!("--precision={}", self.precision.name()),
            format!("--shards={}", self.shards),
            format!("--micro-batch={}", self.micro_batch()),
        ]
        .into();
        ours.extend(self.backend.flags());
        let race = compare::race(&ours, peer, self.rounds)?;
        if self.json {
            return print_json(&race);
        }
        for (side, engine) in race.engines.iter().enumerate() {
            let memory = race.peak_rss_mb[side].map_or("?".into(), |mb| mb.to_string());
            let ms = race.median_ms[side];
            say(&format!(
                "{engine}: median step {ms:.2} ms, peak memory {memory} MiB"
            ))?;
        }
        if let Some([ours, theirs]) = race.fraction_of_peak.map(|both| both.map(Some)) {
            let [ours, theirs] = [percent(ours), percent(theirs)];
            say(&format!("of the FMA peak: {ours} % and {theirs} %"))?;
        }
        say(&format!(
            "times faster, median of {} rounds: {:.2} (largest difference of losses {})",
            race.rounds.len(),
            race.times_faster,
            scientific(race.largest_loss_difference, 1)
        ))
    }
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("?".into(), |fraction| format!("{:.0}", 100.0 * fraction))
}

fn report(times: &StepTimes) -> Result<(), Failure> {
    say(&format!(
        "size {}, {}, {}, {} parameters, {} threads, {} shards of micro-batches of {}",
        times.size,
        // The name of the backend of bf16 says so.
        match times.precision == Precision::F32.name() {
            true => format!("{} f32", times.backend),
            false => times.backend.clone(),
        },
        times.connection,
        times.parameters,
        times.threads,
        times.shards,
        times.micro_batch
    ))?;
    say(&format!(
        "step: median {:.2} ms, fastest {:.2} ms; {:.2} ms of it update the parameters",
        times.median_ms, times.min_ms, times.update_ms
    ))?;
    if times.fraction_of_peak.is_some() {
        say(&format!(
            "{:.2} GFLOP at {:.0} GFLOP/s: {} % of the FMA peak ({} threads: {:.0} GFLOP/s)",
            times.gflop,
            times.gflop / times.median_ms * 1e3,
            percent(times.fraction_of_peak),
            times.threads,
            times.peak_gflops
        ))?;
    }
    if let Some(moved) = &times.moved {
        say(&format!(
            "a step sends {:.1} MB to the device and fetches {:.1} MB, in {:.0} submissions",
            moved.sent_mb, moved.fetched_mb, moved.submissions
        ))?;
    }
    if let Some(mb) = times.peak_rss_mb {
        say(&format!("peak resident memory: {mb} MiB"))?;
    }
    let losses = times.losses.iter().map(|loss| format!(" {loss:.5}"));
    say(&format!("losses:{}", losses.collect::<String>()))?;
    let Some(profile) = &times.profile else {
        return Ok(());
    };
    let mut sums: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for (op, _, times) in profile.iter() {
        let sum = sums.entry(op).or_default();
        sum[0] += times.forward.as_secs_f64() * 1e3;
        sum[1] += times.backward.as_secs_f64() * 1e3;
    }
    let rows: Vec<_> = sums.into_iter().collect();
    let table = Table::of(&rows)
        .left("operation", |(op, _)| *op)
        .right("forward (ms)", |(_, ms)| format!("{:.2}", ms[0]))
        .right("backward (ms)", |(_, ms)| format!("{:.2}", ms[1]))
        .table();
    print(&shown(&table))
}
