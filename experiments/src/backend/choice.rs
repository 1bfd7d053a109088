//! `--backend` of the commands that compute.

use crate::Failure;
use clap::ValueEnum;
use engine::backend::{Options, Threshold};
use lab::device::{Choice, Selected};
use std::{
    io::{Write, stderr},
    iter,
};

/// Who multiplies matrices.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct BackendArgs {
    /// Who multiplies large matrices; the rest is the CPU's (docs/backend.md)
    #[arg(long, value_enum, default_value = "cpu")]
    backend: Name,
    /// Accept an adapter that the processor itself plays, to try the kernels
    #[arg(long)]
    software_adapter: bool,
    /// Memory of the device for what stays there between products
    #[arg(
        long,
        default_value_t = 4,
        value_name = "GIB",
        value_parser = clap::value_parser!(u64).range(1..=1024)
    )]
    device_memory: u64,
    /// Fetch every result from the device at once, to measure what leaving it there is worth
    #[arg(long)]
    fetch_results: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// The processor: the same bits for any number of threads
    Cpu,
    /// A GPU through Vulkan, Metal or DX12; an error without one
    Wgpu,
    /// A GPU if there is one, the processor otherwise
    Auto,
}

impl BackendArgs {
    /// The flags that say the same.
    pub(crate) fn flags(self) -> impl Iterator<Item = String> {
        let name = self.backend.to_possible_value().expect("a named backend");
        let software = self
            .software_adapter
            .then(|| "--software-adapter".to_owned());
        let memory = format!("--device-memory={}", self.device_memory);
        let memory = (self.device_memory != 4).then_some(memory);
        let flags = iter::once(format!("--backend={}", name.get_name()));
        let fetch = self.fetch_results.then(|| "--fetch-results".to_owned());
        flags.chain(software).chain(memory).chain(fetch)
    }

    /// Opens it, and says what is odd about it.
    pub(crate) fn open(self) -> Result<Selected, Failure> {
        let choice = match self.backend {
            Name::Cpu => Choice::Cpu,
            Name::Wgpu => Choice::Gpu,
            Name::Auto => Choice::Auto,
        };
        // The processor playing a device never overtakes itself: who asks for that wants
        // to see the kernels at work.
        let threshold = match self.software_adapter {
            true => Threshold::Cube(0),
            false => Threshold::Measured,
        };
        let options = Options {
            software: self.software_adapter,
            threshold,
            budget: self.device_memory << 30,
            fetch_results: self.fetch_results,
            ..Options::default()
        };
        let selected = Selected::open(choice, options)?;
        for note in &selected.notes {
            // Nobody may be listening; the work goes on regardless.
            let _ = writeln!(stderr(), "{note}");
        }
        Ok(selected)
    }
}
