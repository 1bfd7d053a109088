//! The files of connections are named in a macro, where `cargo fmt` does not find them.

use std::{fs, path::Path, process::Command};

#[test]
fn the_files_of_connections_are_formatted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/connection");
    let entries = fs::read_dir(folder).expect("the folder of connections");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    assert!(files.len() > 10, "{files:?}");
    let check = Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .args(&files)
        .output();
    match check {
        Ok(check) => assert!(
            check.status.success(),
            "run `rustfmt --edition 2024 nn/src/connection/*.rs`:\n{}",
            String::from_utf8_lossy(&check.stdout)
        ),
        Err(missing) => engine::skipped::skipped(format_args!("rustfmt: {missing}")),
    }
}
