//! Where and with what a run was made: `env.json`. It holds no name of a user or a computer.

use crate::data_account::DataAccount;
use engine::backend::{Backend, CpuBackend};
use nn::settings::{Section, Setting, SettingError, Value};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, process::Command, sync::OnceLock, thread};

/// The source tree the program was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// The commit.
    pub commit: String,
    /// `true` if sources differed from it.
    pub dirty: bool,
}

/// Compiler and sources of the program.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// Version of the program.
    pub version: &'static str,
    /// The commit, and whether sources differed from it; `None` outside a git checkout.
    pub commit: Option<(&'static str, bool)>,
    /// The compiler, as `rustc --version` names it.
    pub rustc: &'static str,
    /// Target triple.
    pub target: &'static str,
    /// CPU features the compiler was allowed to use, joined by commas.
    pub target_features: &'static str,
    /// Cargo profile.
    pub profile: &'static str,
}

static BUILD: OnceLock<Build> = OnceLock::new();

impl Build {
    /// Makes this the build that the environment of every run of this process names.
    pub fn declare(self) {
        BUILD.get_or_init(|| self);
    }

    /// The declared build; of a program that declares none, this crate's version alone.
    fn declared() -> Self {
        *BUILD.get_or_init(|| Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: None,
            rustc: "unknown",
            target: "unknown",
            target_features: "",
            profile: "unknown",
        })
    }
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
    /// Account of the data; `None` of runs from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataAccount>,
}

impl Environment {
    /// Looks around. `threads` is the number of threads the run uses, `backend` multiplies
    /// its matrices.
    pub fn current(threads: usize, backend: &dyn Backend) -> Self {
        let mut crates: BTreeMap<String, String> = BTreeMap::new();
        for package in packages().iter().filter(|p| p.source.is_some()) {
            crates
                .entry(package.name.clone())
                .and_modify(|versions| {
                    versions.push_str(", ");
                    versions.push_str(&package.version);
                })
                .or_insert_with(|| package.version.clone());
        }
        let build = Build::declared();
        Self {
            version: build.version.to_owned(),
            git: build.commit.map(|(commit, dirty)| Git {
                commit: commit.to_owned(),
                dirty,
            }),
            rustc: build.rustc.to_owned(),
            target: build.target.to_owned(),
            target_features: build
                .target_features
                .split(',')
                .map(str::to_owned)
                .collect(),
            profile: build.profile.to_owned(),
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

/// One locked package.
#[derive(Debug)]
struct Package {
    /// Crate name.
    name: String,
    /// Exact version, build metadata included.
    version: String,
    /// Where it comes from; `None` for the crates of this workspace.
    source: Option<String>,
}

impl Setting for Package {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let package = Section::open(value)?;
        Ok(Self {
            name: package.required("name")?,
            version: package.required("version")?,
            source: package.get("source", None)?,
        })
    }
}

/// All locked packages, sorted by name, then version text.
///
/// The lock file is compiled in, so the answer cannot disagree with the code that runs.
///
/// # Panics
/// If the compiled-in lock file is not one that cargo wrote.
fn packages() -> &'static [Package] {
    static PACKAGES: OnceLock<Vec<Package>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let lock = include_str!("../../../../Cargo.lock").parse();
        let lock = Value::Table(lock.expect("Cargo.lock is valid TOML"));
        let packages = Section::open(&lock).and_then(|lock| lock.required("package"));
        let mut packages: Vec<Package> = packages.expect("cargo wrote it");
        packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        packages
    })
}

/// The locked version of `name`, if exactly one version of it is locked.
pub fn version_of(name: &str) -> Option<&'static str> {
    let mut versions = packages().iter().filter(|package| package.name == name);
    match (versions.next(), versions.next()) {
        (Some(package), None) => Some(&package.version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_crate_is_locked_at_its_own_version() {
        assert_eq!(version_of("experiments"), Some(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn an_unknown_crate_has_no_version() {
        assert_eq!(version_of("no-such-crate"), None);
    }

    #[test]
    fn packages_are_sorted_by_name() {
        assert!(packages().is_sorted_by_key(|package| &package.name));
    }
}
