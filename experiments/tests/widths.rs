//! What commands print fits the terminal, however narrow it is.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};
use unicode_width::UnicodeWidthStr;

const WIDTHS: [usize; 4] = [40, 60, 80, 120];

fn run(root: &Path, width: usize, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .current_dir(root)
        .env("COLUMNS", width.to_string())
        .args(arguments)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output
}

/// Returns whether a line fits, or must not be broken: a path or a fingerprint in one word, a command of
/// this program that is there to be pasted.
fn fits(line: &str, width: usize) -> bool {
    let programs = ["cargo run ", env!("CARGO_BIN_EXE_experiments")];
    let pasted = programs
        .iter()
        .any(|program| line.trim_start().starts_with(program));
    line.width() <= width || line.split_whitespace().count() <= 1 || pasted
}

fn assert_fits(root: &Path, arguments: &[&str]) {
    for width in WIDTHS {
        let text = String::from_utf8(run(root, width, arguments).stdout).expect("text");
        assert!(!text.is_empty(), "{arguments:?} says nothing");
        for line in text.lines() {
            assert!(fits(line, width), "{width}, {arguments:?}: {line}\n{text}");
        }
    }
}

const SMALL: [&str; 6] = [
    "--preset=smoke",
    "--data=text",
    "--set=train.steps=20",
    "--set=train.warmup=2",
    "--set=train.eval_batches=2",
    "--set=train.eval_every=10",
];

#[test]
fn every_command_fits_terminals_of_40_to_120_columns() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    let words = ["so ", "it ", "goes ", "and ", "ends. "];
    let text: String = (0..6000).map(|i| words[(i * i + i / 7) % 5]).collect();
    fs::write(root.join("text"), text).expect("a text");
    let with = |first: &[&'static str], last: &[&'static str]| [first, &SMALL, last].concat();

    let hyper = "--set=model.connection.type=hyper";
    let place = ["--set=train.record_every=10", "--out=run", hyper];
    run(root, 40, &with(&["train"], &place));
    run(root, 40, &with(&["train"], &["--out=pre"]));
    let sweep = ["--seeds=3", "--tanh=both"];
    assert_fits(root, &with(&["ablation-rate"], &sweep));
    let family = [
        "ablation-family",
        "--preset=smoke",
        "--data=text",
        "--dry-run",
        "--seeds=2",
    ];
    let rates = ["--seeds=2", "--rates=1e-3,3e-3"];
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/connection_shc2.safetensors"
    );
    for arguments in [
        &["parity", fixture][..],
        &with(&["train"], &["--dry-run", hyper]),
        &with(&["train"], &["--profile", hyper]),
        &with(&["ablation-rate"], &["--dry-run"]),
        &with(&["lr-sweep"], &rates),
        &family,
        &["report", "runs/ablation-rate-smoke"],
        &["watch", "--once", "runs/ablation-rate-smoke"],
        &["inspect", "run", "--windows=2", "--with=run"],
        &["inspect", "run", "--windows=2", "--layer=2"],
        &["inspect", "pre", "--windows=2"],
        &[
            "bench",
            "--size=s",
            "--connection=dhc",
            "--steps=2",
            "--profile",
        ],
        &["teach", "--list"],
    ] {
        assert_fits(root, arguments);
    }
}
