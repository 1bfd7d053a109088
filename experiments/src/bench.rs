//! `bench`: the step that other engines are raced on.

use super::{Failure, backend::BackendArgs};
use clap::ValueEnum;
use figures::{
    table::{Align, Cell, Table},
    terminal::{Colour, scientific, stdout_width, wrapped},
};
use lab::bench::{
    Bench, Report, Size, compare,
    growth::{self, Axis},
    named,
};
use nn::connection::{ConnectionConfig, HyperConfig, PreNormConfig};
use std::io::{Write, stderr, stdout};

/// The step of the race: s is 1.2 M parameters and 2048 tokens, m 6.4 M and 2048; l (d = 512) and
/// xl (d = 1024) with 4096 tokens are for GPUs.
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
    /// Sequences that a shard has on its tape at a time
    #[arg(long, default_value_t = 2)]
    micro_batch: usize,
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
    growth: Option<Grown>,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Grown {
    /// n = 1, 2, 4, 8, 16
    Rate,
    /// d = 64 ... 512
    Dim,
    /// T = 64 ... 1024
    Seq,
}

impl Args {
    /// Runs the steps and prints what was measured.
    pub fn run(self) -> Result<(), Failure> {
        for (flag, value) in [
            ("--rate", self.rate),
            ("--steps", self.steps),
            ("--shards", self.shards),
            ("--micro-batch", self.micro_batch),
            ("--rounds", self.rounds),
        ] {
            if value == 0 {
                return Err(Failure::Usage(format!("{flag} is 0, expected at least 1")));
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
        let backend = self.backend.open()?;
        let bench = Bench {
            size: self.size,
            connection: match self.connection {
                Kind::PreNorm => ConnectionConfig::PreNorm(PreNormConfig::default()),
                Kind::Shc => hyper(false),
                Kind::Dhc => hyper(true),
            },
            steps: self.steps,
            shards: self.shards,
            micro_batch: self.micro_batch,
            profile: self.profile,
            backend,
        };
        let report = bench.run()?;
        if let Some(note) = bench.backend.failure().map_err(Failure::Failed)? {
            // Nobody may be listening; the numbers say it too.
            let _ = writeln!(stderr(), "{note}");
        }
        if self.json {
            writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
        } else {
            print(&report)?;
        }
        Ok(())
    }
}

impl Args {
    fn growth(&self, axis: Grown) -> Result<(), Failure> {
        let (axis, name) = match axis {
            Grown::Rate => (Axis::Rate, "n"),
            Grown::Dim => (Axis::Dim, "d"),
            Grown::Seq => (Axis::Seq, "T"),
        };
        let points = growth::grow(axis, self.rate, self.steps)?;
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&points)?)?;
            return Ok(());
        }
        let mut table = Table::new([
            (name, Align::Right),
            ("step ms", Align::Right),
            ("GFLOP", Align::Right),
            ("GFLOP/s", Align::Right),
            ("connections %", Align::Right),
            ("GB moved by them", Align::Right),
        ]);
        for point in points {
            table.push(
                [
                    point.value.to_string(),
                    format!("{:.1}", point.median_ms),
                    format!("{:.1}", point.gflop),
                    format!("{:.0}", point.gflop / point.median_ms * 1e3),
                    format!("{:.1}", 100.0 * point.connection_share),
                    format!("{:.2}", point.connection_gb),
                ]
                .map(Cell::from),
            );
        }
        writeln!(
            out,
            "{}",
            table.to_text(stdout_width(), Colour::for_stdout())
        )?;
        Ok(())
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
            format!("--shards={}", self.shards),
            format!("--micro-batch={}", self.micro_batch),
        ]
        .into();
        ours.extend(self.backend.flags());
        let race = compare::race(&ours, peer, self.rounds)?;
        let mut out = stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&race)?)?;
            return Ok(());
        }
        for (side, engine) in race.engines.iter().enumerate() {
            let memory = race.peak_rss_mb[side].map_or("?".into(), |mb| mb.to_string());
            let line = format!(
                "{engine}: median step {:.2} ms, peak memory {memory} MiB",
                race.median_ms[side]
            );
            write!(out, "{}", wrapped(&line, stdout_width()))?;
        }
        let line = format!(
            "times faster, median of {} rounds: {:.2} (largest difference of losses {})",
            race.rounds.len(),
            race.times_faster,
            scientific(race.largest_loss_difference, 1)
        );
        write!(out, "{}", wrapped(&line, stdout_width()))?;
        Ok(())
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let what = format!(
        "size {}, {}, {}, {} parameters, {} threads, {} shards of micro-batches of {}",
        report.size,
        report.backend,
        report.connection,
        report.parameters,
        report.threads,
        report.shards,
        report.micro_batch
    );
    let width = stdout_width();
    let mut sentences = vec![
        what,
        format!(
            "step: median {:.2} ms, fastest {:.2} ms; {:.2} ms of it update the parameters",
            report.median_ms, report.min_ms, report.update_ms
        ),
    ];
    if let Some(moved) = &report.moved {
        sentences.push(format!(
            "a step sends {:.1} MB to the device and fetches {:.1} MB, in {:.0} submissions",
            moved.sent_mb, moved.fetched_mb, moved.submissions
        ));
    }
    if let Some(mb) = report.peak_rss_mb {
        sentences.push(format!("peak resident memory: {mb} MiB"));
    }
    let losses: Vec<String> = report
        .losses
        .iter()
        .map(|loss| format!("{loss:.5}"))
        .collect();
    sentences.push(format!("losses: {}", losses.join(" ")));
    for sentence in sentences {
        write!(out, "{}", wrapped(&sentence, width))?;
    }
    if let Some(profile) = &report.profile {
        let mut rows: std::collections::BTreeMap<&str, [f64; 2]> = Default::default();
        for (op, _, times) in profile.iter() {
            let row = rows.entry(op).or_default();
            row[0] += times.forward.as_secs_f64() * 1e3;
            row[1] += times.backward.as_secs_f64() * 1e3;
        }
        let mut table = Table::new([
            ("operation", Align::Left),
            ("forward (ms)", Align::Right),
            ("backward (ms)", Align::Right),
        ]);
        for (op, times) in rows {
            let [forward, backward] = times.map(|ms| format!("{ms:.2}"));
            table.push([op, &forward, &backward].map(Cell::from));
        }
        write!(out, "{}", table.to_text(width, Colour::for_stdout()))?;
    }
    Ok(())
}
