//! `backend` and `--backend` from the command line, in builds with and without devices.

use std::{
    path::Path,
    process::{Command, Output},
};

fn experiments(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A training of a second, in `out`.
const TRAIN: [&str; 9] = [
    "train",
    "--preset=smoke",
    "--set=train.steps=3",
    "--set=model.layers=1",
    "--set=model.dim=32",
    "--set=model.heads=2",
    "--set=train.eval_every=0",
    "--set=train.batch=4",
    "--set=train.micro_batch=2",
];

fn train(
    root: &Path,
    name: &str,
    backend: &[&str],
) -> (Output, serde_json::Value, serde_json::Value) {
    let out = root.join(name);
    let place = format!("--out={}", out.display());
    let output = experiments(root, &[&TRAIN[..], &[&place], backend].concat());
    let read = |file: &str| {
        let text = std::fs::read_to_string(out.join(file)).unwrap_or("null".into());
        serde_json::from_str(&text).unwrap()
    };
    let (environment, summary) = (read("env.json"), read("summary.json"));
    (output, environment, summary)
}

#[cfg(not(feature = "wgpu"))]
mod without_devices {
    use super::*;

    #[test]
    fn a_device_that_is_asked_for_leads_to_how_to_build_with_it() {
        let root = tempfile::tempdir().unwrap();
        for arguments in [
            &["backend", "list"][..],
            &["backend", "check"],
            &["backend", "bench"],
            &["bench", "--steps=1", "--backend=wgpu"],
        ] {
            let output = experiments(root.path(), arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            let message = text(&output.stderr);
            assert!(message.contains("--features wgpu"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn auto_falls_back_to_the_cpu_and_says_so() {
        let root = tempfile::tempdir().unwrap();
        let (output, environment, summary) = train(root.path(), "auto", &["--backend=auto"]);
        let message = text(&output.stderr);
        assert!(output.status.success(), "{message}");
        assert!(
            message.contains("this time the CPU computes everything"),
            "{message}"
        );
        assert_eq!(environment["backend"], "cpu");
        assert_eq!(summary["backend"], "cpu");
    }
}

#[cfg(feature = "wgpu")]
mod with_devices {
    use super::*;

    fn adapter(root: &Path) -> bool {
        let output = experiments(root, &["backend", "list"]);
        if output.status.success() {
            assert!(text(&output.stdout).contains("would use"));
        } else {
            let message = text(&output.stderr);
            assert!(message.contains("no adapter was found"), "{message}");
            eprintln!("skipped: {message}");
        }
        output.status.success()
    }

    #[test]
    fn the_device_agrees_with_pytorch() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let file = fixtures.join("network_dhc4.safetensors");
        let output = experiments(
            root.path(),
            &[
                "backend",
                "check",
                "--software-adapter",
                "--json",
                file.to_str().unwrap(),
            ],
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["passed"], true);
    }

    #[test]
    fn a_training_on_the_device_says_so_and_learns_the_same() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        let (output, environment, on_device) = train(
            root.path(),
            "wgpu",
            &["--backend=wgpu", "--software-adapter"],
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let (_, _, on_cpu) = train(root.path(), "cpu", &[]);
        let name = environment["backend"].as_str().unwrap();
        assert!(name.starts_with("wgpu: "), "{name}");
        assert_eq!(on_device["backend"], name);
        assert_eq!(on_cpu["backend"], "cpu");
        let loss = |summary: &serde_json::Value| summary["final_train_loss"].as_f64().unwrap();
        assert!((loss(&on_device) - loss(&on_cpu)).abs() < 1e-3);
    }
}
