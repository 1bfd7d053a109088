//! The corpus that needs no download: the source text of this program's own dependencies.
//!
//! Whoever has built the program has their source, in the versions of `Cargo.lock`: in the
//! registry directory of cargo's home, or wherever else (a vendored directory, a mirror) cargo
//! was told to look, in which case cargo is asked. `cargo metadata` alone would not do: off line
//! it fails as soon as a dependency that only tests or other platforms need was not downloaded.

use super::{
    DataError, LeftOut,
    bytes::entries,
    text_files::{self, TextFile},
};
use crate::run_dir::version_of;
use nn::words;
use serde::{Deserialize, Serialize};
use std::{
    cell::LazyCell,
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A built-in corpus: ordinary hand-written Rust from the tree of a default build on any
/// platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// Validated on crates of which no file is trained on.
    #[default]
    Crates,
    /// Validated on a tenth of the files of all crates: the corpus of runs begun before
    /// [`Builtin::Crates`] existed.
    Files,
}

words!(Builtin);

impl Builtin {
    /// The corpus of a run that does not name one.
    pub fn of_earlier_runs() -> Self {
        Self::Files
    }

    /// Returns whether this is the corpus of a run that does not name one.
    pub fn is_of_earlier_runs(&self) -> bool {
        *self == Self::of_earlier_runs()
    }

    /// Name in accounts and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crates => "built-in crates",
            Self::Files => "built-in",
        }
    }

    /// Crates with a file that is trained on.
    pub fn training(self) -> impl Iterator<Item = &'static str> {
        match self {
            Self::Crates => include_str!("training.txt").lines(),
            Self::Files => include_str!("split_by_file.txt").lines(),
        }
    }

    /// Crates that are validated on and not trained on.
    pub fn held_out(self) -> impl Iterator<Item = &'static str> {
        match self {
            Self::Crates => include_str!("held_out.txt").lines(),
            Self::Files => "".lines(),
        }
    }

    /// All crates, in order.
    pub fn crates(self) -> BTreeSet<&'static str> {
        self.training().chain(self.held_out()).collect()
    }
}

/// Larger files are generated more often than written.
const MAX_FILE_BYTES: usize = 200_000;
/// A file with a longer line is a table.
const MAX_LINE_BYTES: usize = 1_000;

/// The source files of all crates in order, and what is left out, with the reason.
pub(super) fn read_sources(corpus: Builtin) -> Result<(Vec<TextFile>, Vec<LeftOut>), DataError> {
    let mut files: Vec<TextFile> = Vec::new();
    let mut left_out = Vec::new();
    let mut seen = BTreeSet::new();
    let registry = cargo_home().join("registry").join("src");
    let crates = corpus.crates();
    let located = locate(&crates, &registry, || ask_cargo(&[]))?;
    for (name, source) in crates.iter().zip(located) {
        let named = |path: &Path| {
            let below = path.strip_prefix(&source).unwrap_or(path);
            format!("{name}/{}", below.display())
        };
        let walk = text_files::walk(&source.join("src"), text_files::MOST_ENTRIES)?;
        let unseen = walk.left_out.iter();
        left_out.extend(unseen.map(|(path, reason)| LeftOut::new(named(path), *reason)));
        for path in walk.files {
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let bytes = fs::read(&path).map_err(|error| DataError::reading(&path, error))?;
            let file = TextFile::new(named(&path), bytes);
            let reason = match &file.bytes[..] {
                [] => "empty",
                bytes if std::str::from_utf8(bytes).is_err() => "not UTF-8",
                bytes if !is_written_by_hand(bytes) => "too large or a table",
                _ if !seen.insert(file.digest) => "a copy",
                _ => {
                    files.push(file);
                    continue;
                }
            };
            left_out.push(LeftOut::new(file.name, reason));
        }
    }
    Ok((files, left_out))
}

fn is_written_by_hand(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_FILE_BYTES
        && bytes
            .split(|&byte| byte == b'\n')
            .all(|line| line.len() <= MAX_LINE_BYTES)
}

/// The directory of each crate: below `registry`, else where cargo says, which is asked once at
/// most.
fn locate(
    crates: &BTreeSet<&str>,
    registry: &Path,
    ask_cargo: impl Fn() -> Vec<MetadataPackage>,
) -> Result<Vec<PathBuf>, DataError> {
    let mut registries = entries(registry).unwrap_or_default();
    registries.retain(|path| path.is_dir());
    let asked_cargo = LazyCell::new(ask_cargo);
    crates
        .iter()
        .map(|&name| {
            let version = version_of(name).unwrap_or_default();
            let folder = format!("{name}-{version}");
            registries
                .iter()
                .map(|registry| registry.join(&folder))
                .find(|path| path.join("src").is_dir())
                .or_else(|| {
                    asked_cargo
                        .iter()
                        .find(|package| package.name == name && package.version == version)
                        .and_then(|package| package.manifest_path.parent())
                        .map(Path::to_owned)
                })
                .ok_or_else(|| {
                    let reason = format!(
                        "lacks the source of {name} {version}, which the built-in corpus needs: run \
                         `cargo fetch --locked` in the workspace, or give a text of your own with \
                         --data"
                    );
                    DataError::unusable(registry, reason)
                })
        })
        .collect()
}

/// Cargo's home: `CARGO_HOME`, else `.cargo` in the user's home.
fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_else(|| PathBuf::from(".cargo"))
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// The packages cargo knows of; none if it cannot be run or cannot resolve them off line.
fn ask_cargo(more_arguments: &[&str]) -> Vec<MetadataPackage> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(cargo)
        .args("metadata --format-version 1 --offline --locked --quiet".split(' '))
        .args(more_arguments)
        .current_dir(workspace)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| serde_json::from_str(str::from_utf8(&output.stdout).ok()?).ok())
        .map_or_else(Vec::new, |metadata: Metadata| metadata.packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPORA: [Builtin; 2] = [Builtin::Crates, Builtin::Files];

    #[test]
    fn every_crate_is_locked_at_one_version_and_held_out_or_not() {
        for corpus in CORPORA {
            for name in corpus.crates() {
                assert!(version_of(name).is_some(), "{name}");
            }
            let both = corpus.training().chain(corpus.held_out()).count();
            assert_eq!(corpus.crates().len(), both, "{corpus:?}");
        }
    }

    fn vendored() -> Vec<MetadataPackage> {
        CORPORA
            .into_iter()
            .flat_map(Builtin::crates)
            .map(|name| MetadataPackage {
                name: name.to_owned(),
                version: version_of(name).expect("locked").to_owned(),
                manifest_path: Path::new("vendor").join(name).join("Cargo.toml"),
            })
            .collect()
    }

    #[test]
    fn the_registry_is_enough_where_it_has_all_crates() {
        let registry = cargo_home().join("registry").join("src");
        for crates in CORPORA.map(Builtin::crates) {
            let located = locate(&crates, &registry, || panic!("cargo was asked"));
            assert_eq!(located.expect("sources").len(), crates.len());
        }
    }

    #[test]
    fn crates_outside_the_registry_are_where_cargo_says() {
        let empty = tempfile::tempdir().expect("directory");
        let crates = Builtin::Crates.crates();
        let located = locate(&crates, empty.path(), vendored).expect("as told");
        for (name, located) in crates.iter().zip(located) {
            assert_eq!(located, Path::new("vendor").join(name));
        }
    }

    #[test]
    fn a_crate_that_is_nowhere_or_in_another_version_is_named() {
        let empty = tempfile::tempdir().expect("directory");
        let crates = Builtin::Files.crates();
        let other_version = || {
            let mut packages = vendored();
            let winnow = packages
                .iter_mut()
                .filter(|package| package.name == "winnow");
            winnow.for_each(|package| package.version = "0.0.0".to_owned());
            packages
        };
        let error = locate(&crates, empty.path(), other_version).expect_err("another version");
        let text = error.to_string();
        assert!(
            text.contains("winnow") && text.contains("cargo fetch"),
            "{text}"
        );
    }

    #[test]
    fn what_cargo_answers_is_understood() {
        // Without dependencies it never needs the network.
        let packages = ask_cargo(&["--no-deps"]);
        let own = packages
            .iter()
            .find(|package| package.name == env!("CARGO_PKG_NAME"));
        let own = own.expect("a member of the workspace");
        assert_eq!(own.version, env!("CARGO_PKG_VERSION"));
        assert!(own.manifest_path.is_file());
    }

    #[test]
    fn generated_tables_are_told_from_source() {
        assert!(is_written_by_hand(b"fn main() {}\n"));
        assert!(!is_written_by_hand(&[b'x'; MAX_LINE_BYTES + 1]));
        assert!(!is_written_by_hand(
            &b"short line\n".repeat(MAX_FILE_BYTES / 11 + 1)
        ));
    }
}
