//! The `Cargo.lock` this program was built with: which version of each dependency it holds.

use serde::Deserialize;
use std::sync::OnceLock;

/// One locked package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Package {
    /// Crate name.
    pub name: String,
    /// Exact version, build metadata included.
    pub version: String,
    /// Where it comes from; `None` for the crates of this workspace.
    pub source: Option<String>,
}

#[derive(Deserialize)]
struct LockFile {
    package: Vec<Package>,
}

/// All locked packages, sorted by name, then version text.
///
/// The lock file is compiled in, so the answer cannot disagree with the code that runs.
///
/// # Panics
/// If the compiled-in lock file is not one that cargo wrote.
pub fn packages() -> &'static [Package] {
    static PACKAGES: OnceLock<Vec<Package>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let lock: LockFile =
            toml::from_str(include_str!("../../../Cargo.lock")).expect("Cargo.lock is valid TOML");
        let mut packages = lock.package;
        packages.sort();
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
