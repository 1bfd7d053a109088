//! Tells the program what it was compiled with and from, for the environment record of a run.

use std::{env, path::Path, process::Command};

/// Files of the program, seen from the root of the workspace.
const SOURCES: [&str; 7] = [
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "engine",
    "experiments",
    "models",
    "nn",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var("RUSTC").expect("cargo sets RUSTC");
    let version = output(Command::new(rustc).arg("--version")).expect("rustc --version");
    println!("cargo::rustc-env=BUILD_RUSTC={version}");
    for (name, source) in [
        ("BUILD_TARGET", "TARGET"),
        ("BUILD_TARGET_FEATURES", "CARGO_CFG_TARGET_FEATURE"),
        ("BUILD_PROFILE", "PROFILE"),
    ] {
        println!(
            "cargo::rustc-env={name}={}",
            env::var(source).unwrap_or_default()
        );
    }
    if let Some((commit, dirty)) = commit() {
        println!("cargo::rustc-env=BUILD_COMMIT={commit}");
        println!("cargo::rustc-env=BUILD_DIRTY={dirty}");
    }
}

/// The commit of the sources and whether they differ from it, asked now and not when a run
/// starts: by then the tree may have moved on under the program.
fn commit() -> Option<(String, bool)> {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let root = Path::new(&manifest).join("..");
    // An unpacked archive inside somebody else's checkout must not take its commit.
    if !root.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(&root).args(arguments));
    let sources: Vec<&str> = SOURCES
        .into_iter()
        .filter(|source| root.join(source).exists())
        .collect();
    let commit = git(&["rev-parse", "HEAD"])?;
    let status = git(&[&["status", "--porcelain", "--"], sources.as_slice()].concat())?;
    // The log of HEAD grows with every commit and checkout.
    for path in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", path])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    for source in sources {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    Some((commit, !status.is_empty()))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
