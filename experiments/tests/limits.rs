//! Sizes that no machine has and files without end: an answer, and no memory taken for it.

#![cfg(unix)]

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Output},
};

/// The program with at most 2 GB, so that memory that is taken before it is counted shows.
fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.current_dir(directory).args(arguments);
    // SAFETY: `setrlimit` is a system call, allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: 2 << 30,
                rlim_max: 2 << 30,
            };
            libc::setrlimit(libc::RLIMIT_AS, &limit);
            Ok(())
        });
    }
    command.output().expect("it starts")
}

fn refused(directory: &Path, arguments: &[&str], status: i32, message: &str) {
    let output = run(directory, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert!(said.contains(message), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
}

fn place() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let text: String = (0..4000)
        .map(|i| format!("{} by {}. ", i % 61, i % 53))
        .collect();
    fs::write(directory.path().join("text"), text).expect("space");
    directory
}

const MEMORY: &str = "this machine has";

#[test]
fn a_network_that_does_not_fit_is_said_with_both_sizes() {
    let place = place();
    let large = i64::MAX.to_string();
    for (preset, key) in [
        ("smoke", "model.dim"),
        ("smoke", "model.layers"),
        ("smoke", "model.vocab_size"),
        ("smoke", "model.seq"),
        ("smoke", "model.ffn.hidden"),
        ("moe-smoke", "model.ffn.experts"),
        ("vit-smoke", "model.image"),
        ("dit-smoke", "model.image"),
    ] {
        for value in [large.as_str(), "1000000000"] {
            let setting = format!("{key}={value}");
            let arguments = ["train", "--dry-run", "--preset", preset, "--set", &setting];
            refused(place.path(), &arguments, 2, MEMORY);
        }
    }
    let arguments = [
        "ablation-static",
        "--preset",
        "smoke",
        "--set",
        "model.dim=65536",
    ];
    refused(place.path(), &arguments, 2, MEMORY);
    for (setting, message) in [
        (
            "model.connection={type='hyper',rate=1000000000}",
            "expected at most 256",
        ),
        (
            "model.connection={type='mhc_lite',rate=1000000000}",
            "expected at most 5",
        ),
        ("train.batch=9223372036854775807", "expected at most"),
        ("train.eval_batches=9223372036854775807", "expected at most"),
    ] {
        refused(
            place.path(),
            &["train", "--dry-run", "--set", setting],
            2,
            message,
        );
    }
}

/// Legitimate, if nobody waits for its end.
#[test]
fn a_run_of_any_number_of_steps_has_an_account() {
    let place = place();
    let steps = format!("train.steps={}", i64::MAX);
    let arguments = [
        "--dry-run",
        "--preset",
        "smoke",
        "--data",
        "text",
        "--set",
        &steps,
    ];
    let output = run(place.path(), &[&["train"], &arguments[..]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.contains("9223372036854775807 steps of"), "{text}");
    let output = run(
        place.path(),
        &[&["ablation-static"], &arguments[..]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn threads_and_runs_at_a_time_have_limits() {
    let place = place();
    for arguments in [
        &["--threads", "1000000", "bench"][..],
        &["--threads", "0", "bench"],
        &["ablation-static", "--jobs", "1000000"],
        &["ablation-static", "--jobs", "-1"],
    ] {
        refused(place.path(), arguments, 2, "");
    }
    let smoke = ["ablation-static", "--preset", "smoke", "--data", "text"];
    let large = ["--set", "model.dim=1024", "--jobs", "100"];
    refused(
        place.path(),
        &[&smoke[..], &large].concat(),
        2,
        "expected at most",
    );
}

#[test]
fn a_file_without_end_is_refused_wherever_a_file_is_named() {
    let place = place();
    fs::create_dir(place.path().join("run")).expect("space");
    std::os::unix::fs::symlink("/dev/zero", place.path().join("run/config.toml")).expect("a link");
    for arguments in [
        &["sample", "/dev/zero"][..],
        &["inspect", "/dev/zero"],
        &["report", "/dev/zero"],
        &["watch", "/dev/zero"],
        &["train", "--resume", "/dev/zero"],
        &["train", "--resume", "run"],
        &["sample", "run"],
        &["report", "run"],
        &["train", "--config", "/dev/zero"],
        &["train", "--data", "/dev/zero", "--dry-run"],
        &[
            "train",
            "--preset",
            "vit-smoke",
            "--data",
            "/dev/zero",
            "--dry-run",
        ],
        &["sweep", "/dev/zero"],
        &["parity", "/dev/zero"],
    ] {
        let output = run(place.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{arguments:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

/// Of a run of two steps, as it has written down.
fn threads_with(program: &[&str], variable: Option<(&str, &str)>) -> u64 {
    let place = place();
    let usual = [
        "train",
        "--preset",
        "smoke",
        "--data",
        "text",
        "--set",
        "train.steps=2",
    ];
    let words = [
        program,
        &[env!("CARGO_BIN_EXE_experiments")],
        &usual,
        &["--out", "run"],
    ]
    .concat();
    let mut command = Command::new(words[0]);
    command.current_dir(place.path()).args(&words[1..]);
    command
        .env_remove("RAYON_NUM_THREADS")
        .env_remove("SLURM_CPUS_PER_TASK");
    command.envs(variable);
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = fs::read_to_string(place.path().join("run/env.json")).expect("an environment");
    let environment: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    environment["threads"].as_u64().expect("a number")
}

#[test]
fn as_many_threads_as_slurm_and_the_container_grant() {
    let slurm = |cpus| threads_with(&[], Some(("SLURM_CPUS_PER_TASK", cpus)));
    let all = threads_with(&[], None);
    assert_eq!(slurm("1"), 1);
    assert_eq!(slurm("100000"), all, "no more than there are");
    assert_eq!(slurm("many"), all);
    let set = |threads| threads_with(&[], Some(("RAYON_NUM_THREADS", threads)));
    assert_eq!(set("3"), 3);
    assert_eq!(
        set("1000000"),
        1024,
        "so many would only wait for each other"
    );
    if Command::new("taskset").arg("--version").output().is_ok() {
        assert_eq!(threads_with(&["taskset", "-c", "0"], None), 1);
    }
}
