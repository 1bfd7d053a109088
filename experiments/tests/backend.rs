//! `backend` and `--backend` from the command line, in builds with and without devices.

#[cfg(feature = "wgpu")]
mod faults;

use std::{
    path::Path,
    process::{Command, Output},
};

fn command(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command
        .args(arguments)
        .env("XDG_CACHE_HOME", cache)
        // Without it, a layer of Mesa complains.
        .env("XDG_RUNTIME_DIR", cache);
    command
}

fn experiments(cache: &Path, arguments: &[&str]) -> Output {
    command(cache, arguments).output().unwrap()
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
    "--set=train.eval_every=3",
    "--set=train.batch=4",
    "--set=train.micro_batch=2",
];

fn train(
    root: &Path,
    name: &str,
    backend: &[&str],
) -> (Output, serde_json::Value, serde_json::Value) {
    train_under(root, name, backend, &[])
}

/// The same with variables of the environment.
fn train_under(
    root: &Path,
    name: &str,
    backend: &[&str],
    variables: &[(&str, String)],
) -> (Output, serde_json::Value, serde_json::Value) {
    let out = root.join(name);
    let place = format!("--out={}", out.display());
    let output = command(root, &[&TRAIN[..], &[&place], backend].concat())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let read = |file: &str| {
        let text = std::fs::read_to_string(out.join(file)).unwrap_or("null".into());
        serde_json::from_str(&text).unwrap()
    };
    let (environment, summary) = (read("env.json"), read("summary.json"));
    (output, environment, summary)
}

/// Goes on, on the CPU, with what [`train`] has left.
#[cfg(feature = "wgpu")]
fn resumed(root: &Path, name: &str) -> (Output, serde_json::Value) {
    let out = root.join(name);
    let place = format!("--resume={}", out.display());
    let output = experiments(root, &["train", &place]);
    let text = std::fs::read_to_string(out.join("summary.json")).unwrap_or("null".into());
    (output, serde_json::from_str(&text).unwrap())
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

/// Not `cpu`: which sums were taken depends on the processor.
#[test]
fn a_record_says_what_computed_products_in_bf16() {
    let root = tempfile::tempdir().unwrap();
    let (output, environment, summary) = train(root.path(), "bf16", &["--precision=bf16"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for record in [environment, summary] {
        let name = record["backend"].as_str().unwrap();
        assert!(name.starts_with("cpu, bf16 products"), "{name}");
    }
}

#[cfg(feature = "wgpu")]
mod with_devices {
    use super::*;
    use engine::skipped::skipped;

    fn adapter(root: &Path) -> bool {
        let output = experiments(root, &["backend", "list"]);
        if output.status.success() {
            assert!(text(&output.stdout).contains("would use"));
        } else {
            let message = text(&output.stderr);
            assert!(message.contains("no adapter was found"), "{message}");
            skipped("no adapter was found");
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
    fn products_are_timed_by_shape_cubes_and_those_of_a_step_with_its_attention() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        // Rows of x, of the weights of the race at size s: 128 wide, 344 hidden.
        let rows = 2048 / 64;
        let layers = [[128, 384], [128, 128], [128, 688], [344, 128]];
        let step = layers.map(|[inputs, outputs]| {
            [
                [rows, inputs, outputs],
                [rows, outputs, inputs],
                [outputs, rows, inputs],
            ]
        });
        for (arguments, want) in [
            (&["--largest=64"][..], vec![[64; 3]; 3]),
            (&["--step=s", "--shards=64"], step.concat()),
        ] {
            let bench = ["backend", "bench", "--software-adapter", "--json"];
            let output = experiments(root.path(), &[&bench, arguments].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let rows = report["rows"].as_array().unwrap();
            let extents = rows
                .iter()
                .map(|row| ["m", "k", "n"].map(|name| row[name].as_u64().unwrap()));
            assert_eq!(extents.collect::<Vec<_>>(), want);
            // 4 heads of 32, 128 tokens of at least one sequence.
            let none = vec![];
            let attention = report["attention"].as_array().unwrap_or(&none);
            let extents = attention.iter().map(|row| {
                let names = ["sequences", "tokens", "heads", "head_dim"];
                names.map(|name| row[name].as_u64().unwrap())
            });
            let passes = if arguments[0] == "--step=s" { 2 } else { 0 };
            assert_eq!(extents.collect::<Vec<_>>(), vec![[1, 128, 4, 32]; passes]);
            for rate in ["cpu", "device", "device_alone"] {
                let mut all = rows.iter().chain(attention);
                assert!(all.all(|row| row[rate].as_f64().unwrap() > 0.0));
            }
        }
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

    /// A device that fails while it multiplies, and what there is to say about it.
    const FAULTS: [(&str, &str); 2] = [
        ("wait:2", "the device is lost"),
        ("memory:12", "out of device memory"),
    ];

    #[test]
    fn with_auto_a_failing_device_is_announced_and_the_cpu_trains_to_the_same_loss() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        let (_, _, on_cpu) = train(root.path(), "cpu", &[]);
        for (fault, reason) in FAULTS {
            let Some(variables) = faults::environment(root.path(), fault) else {
                return;
            };
            let auto = ["--backend=auto", "--software-adapter"];
            let (output, _, summary) = train_under(root.path(), fault, &auto, &variables);
            let message = text(&output.stderr);
            assert!(output.status.success(), "{fault}: {message}");
            let notes: Vec<&str> = message
                .lines()
                .filter(|line| line.contains("the CPU goes on alone"))
                .collect();
            assert_eq!(notes.len(), 1, "{fault}: {message}");
            assert!(notes[0].contains(reason), "{fault}: {message}");
            assert!(!message.contains("panicked"), "{message}");
            let made_by = summary["backend"].as_str().unwrap();
            assert!(made_by.ends_with("then cpu"), "{made_by}");
            let loss = |summary: &serde_json::Value| summary["final_train_loss"].as_f64().unwrap();
            assert!((loss(&summary) - loss(&on_cpu)).abs() < 1e-3);
        }
    }

    #[test]
    fn with_wgpu_a_failing_device_ends_a_training_that_the_cpu_can_resume() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        let (_, _, on_cpu) = train(root.path(), "cpu", &[]);
        for (fault, reason) in FAULTS {
            let Some(variables) = faults::environment(root.path(), fault) else {
                return;
            };
            let wgpu = ["--backend=wgpu", "--software-adapter"];
            let (output, ..) = train_under(root.path(), fault, &wgpu, &variables);
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{fault}: {message}");
            let last = message.lines().last().unwrap();
            assert!(
                last.starts_with("error: ") && last.contains(reason),
                "{message}"
            );
            assert!(
                last.contains("go on with --backend auto or cpu"),
                "{message}"
            );
            assert!(!message.contains("panicked"), "{message}");
            let (output, summary) = resumed(root.path(), fault);
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert_eq!(summary["steps"], 3);
            let loss = |summary: &serde_json::Value| summary["final_train_loss"].as_f64().unwrap();
            assert!((loss(&summary) - loss(&on_cpu)).abs() < 1e-3);
        }
    }

    #[test]
    fn a_device_without_memory_is_not_opened_and_auto_uses_the_cpu() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        for fault in ["memory:1", "memory:2"] {
            let Some(variables) = faults::environment(root.path(), fault) else {
                return;
            };
            for (backend, code) in [("--backend=wgpu", 1), ("--backend=auto", 0)] {
                let output = command(root.path(), &["bench", "--steps=1", "--software-adapter"])
                    .arg(backend)
                    .envs(variables.iter().map(|(name, value)| (name, value)))
                    .output()
                    .unwrap();
                let message = text(&output.stderr);
                assert_eq!(output.status.code(), Some(code), "{message}");
                assert_eq!(message.lines().count(), 1, "{message}");
                assert!(message.contains("cannot be opened"), "{message}");
            }
        }
    }

    #[test]
    fn a_bench_on_a_failing_device_is_not_passed_off_as_its_time() {
        let root = tempfile::tempdir().unwrap();
        if !adapter(root.path()) {
            return;
        }
        let Some(variables) = faults::environment(root.path(), "wait:2") else {
            return;
        };
        for (backend, code) in [("--backend=wgpu", 1), ("--backend=auto", 0)] {
            let output = command(root.path(), &["bench", "--steps=1", "--software-adapter"])
                .arg(backend)
                .envs(variables.iter().map(|(name, value)| (name, value)))
                .output()
                .unwrap();
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains("the device is lost"), "{message}");
            assert_eq!(code == 0, text(&output.stdout).contains("then cpu"));
        }
    }

    #[test]
    fn without_an_adapter_one_line_says_so_and_auto_uses_the_cpu() {
        let root = tempfile::tempdir().unwrap();
        let none = [
            ("VK_ICD_FILENAMES", "/nonexistent".to_owned()),
            ("VK_DRIVER_FILES", "/nonexistent".to_owned()),
        ];
        for arguments in [
            &["backend", "list"][..],
            &["backend", "check"],
            &["backend", "bench"],
            &["bench", "--steps=1", "--backend=wgpu"],
        ] {
            let output = command(root.path(), arguments)
                .envs(none.clone())
                .output()
                .unwrap();
            let message = text(&output.stderr);
            if cfg!(any(target_os = "macos", windows)) {
                // Metal and DX12 have no such switch.
                return;
            }
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains("no adapter was found"), "{message}");
        }
        let (output, environment, _) = train_under(root.path(), "auto", &["--backend=auto"], &none);
        let message = text(&output.stderr);
        assert!(output.status.success(), "{message}");
        assert!(
            message.contains("this time the CPU computes everything"),
            "{message}"
        );
        assert_eq!(environment["backend"], "cpu");
    }
}
