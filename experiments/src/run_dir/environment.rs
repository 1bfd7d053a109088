//! Where and with what a run was made: `env.json`. It holds no name of a user or a computer.

use crate::{data_account::DataAccount, lockfile};
use engine::backend::{Backend, CpuBackend};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, process::Command, thread};

/// The source tree the program was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// The commit.
    pub commit: String,
    /// Whether sources differed from it.
    pub dirty: bool,
}

/// Code, compiler and machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this program.
    pub version: String,
    /// The commit the program was built from; `None` outside a git checkout.
    pub git: Option<Git>,
    /// The compiler, as `rustc --version` names it.
    pub rustc: String,
    /// Target triple.
    pub target: String,
    /// CPU features the compiler was allowed to use.
    pub target_features: Vec<String>,
    /// Cargo profile.
    pub profile: String,
    /// CPU model.
    pub cpu: String,
    /// Hardware threads available to the process.
    pub cpu_threads: usize,
    /// Threads the run used.
    pub threads: usize,
    /// Who multiplied matrices.
    #[serde(default = "cpu")]
    pub backend: String,
    /// Operating system.
    pub os: String,
    /// Version of every dependency; several are joined by commas.
    pub crates: BTreeMap<String, String>,
    /// What was read; `None` of runs from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataAccount>,
}

impl Environment {
    /// Looks around. `threads` is the number of threads the run uses, `backend` multiplies
    /// its matrices.
    pub fn current(threads: usize, backend: &dyn Backend) -> Self {
        let mut crates: BTreeMap<String, String> = BTreeMap::new();
        for package in lockfile::packages().iter().filter(|p| p.source.is_some()) {
            crates
                .entry(package.name.clone())
                .and_modify(|versions| {
                    versions.push_str(", ");
                    versions.push_str(&package.version);
                })
                .or_insert_with(|| package.version.clone());
        }
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git: git(),
            rustc: env!("BUILD_RUSTC").to_owned(),
            target: env!("BUILD_TARGET").to_owned(),
            target_features: env!("BUILD_TARGET_FEATURES")
                .split(',')
                .map(str::to_owned)
                .collect(),
            profile: env!("BUILD_PROFILE").to_owned(),
            cpu: cpu_model().unwrap_or_else(|| "unknown".to_owned()),
            cpu_threads: thread::available_parallelism().map_or(1, usize::from),
            threads,
            backend: backend.name().to_owned(),
            os: os().unwrap_or_else(|| std::env::consts::OS.to_owned()),
            crates,
            data: None,
        }
    }
}

/// Who multiplied matrices before there was a choice.
pub(super) fn cpu() -> String {
    CpuBackend.name().to_owned()
}

fn git() -> Option<Git> {
    Some(Git {
        commit: option_env!("BUILD_COMMIT")?.to_owned(),
        dirty: option_env!("BUILD_DIRTY")? == "true",
    })
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    if cfg!(target_os = "linux") {
        // x86 names the model; many ARM kernels only number the part.
        let text = fs::read_to_string("/proc/cpuinfo").ok()?;
        value_of(&text, "model name", ':').or_else(|| value_of(&text, "CPU part", ':'))
    } else if cfg!(target_os = "macos") {
        output(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]))
    } else {
        std::env::var("PROCESSOR_IDENTIFIER").ok()
    }
}

fn os() -> Option<String> {
    if cfg!(target_os = "linux") {
        let release = fs::read_to_string("/etc/os-release").ok()?;
        value_of(&release, "PRETTY_NAME", '=').map(|name| name.trim_matches('"').to_owned())
    } else if cfg!(target_os = "macos") {
        let version = output(Command::new("sw_vers").arg("-productVersion"))?;
        Some(format!("macOS {version}"))
    } else {
        None
    }
}

/// The value of the first line `key <separator> value`.
fn value_of(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(separator))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_known_wherever_the_program_was_built_from_a_checkout() {
        let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/../.git");
        let commit = git().map(|git| git.commit);
        assert_eq!(commit.is_some(), fs::exists(checkout).expect("a place"));
        let hexadecimal = |c: char| c.is_ascii_hexdigit();
        assert!(commit.is_none_or(|commit| commit.len() >= 40 && commit.chars().all(hexadecimal)));
    }
}
