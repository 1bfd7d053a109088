//! The ablation commands.

use crate::place::{Place, assert_done, stderr};
#[cfg(unix)]
use crate::signals;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// `ablation-rate` at a size that takes milliseconds.
fn new_place() -> Place {
    Place::new(&[
        "ablation-rate",
        "--preset",
        "smoke",
        "--corpus",
        "text.txt",
        "--set",
        "train.eval_batches=2",
        "--name",
        "sweep",
    ])
}

const SHORT: [&str; 4] = ["--set", "train.steps=12", "--set", "train.warmup=2"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], more].concat()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

/// Everything but the command line and what depends on the speed of the machine.
fn timeless(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for key in ["timing", "command"] {
                map.remove(key);
            }
            for inner in map.values_mut() {
                *inner = timeless(inner.take());
            }
        }
        Value::Array(values) => {
            for inner in values {
                *inner = timeless(inner.take());
            }
        }
        _ => {}
    }
    value
}

fn files_of(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_of(&path));
        } else if !path.ends_with(".lock") {
            let bytes = fs::read(&path).expect("a file");
            files.push((path, bytes));
        }
    }
    files.sort();
    files
}

#[test]
fn a_sweep_ends_in_a_table_of_all_arms_and_in_files() {
    let place = new_place();
    let output = place.run(&with(&["--seeds", "3", "--tanh", "both"]));
    assert_done(&output);
    let text = stdout(&output);
    for label in ["pre-norm", "DHC x1 ", "DHC x8 w/o tanh", "paper", "Holm"] {
        assert!(text.contains(label), "{label}: {text}");
    }
    assert!(
        text.contains("+0.008") && text.contains("−0.030"),
        "the paper's: {text}"
    );
    for stream in [text, stderr(&output)] {
        assert!(!stream.contains('\x1b'), "a pipe gets no escape codes");
    }
    let results = place.results("sweep");
    let arms = results["results"]["arms"].as_array().expect("arms");
    assert_eq!(arms.len(), 9);
    for arm in arms {
        let runs = arm["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 3);
        let losses = runs.iter().filter_map(|run| run["val_loss"].as_f64());
        let mean = losses.sum::<f64>() / 3.0;
        assert!((arm["val_loss"].as_f64().expect("a loss") - mean).abs() < 1e-12);
    }
    let lines = fs::read_to_string(place.path("runs/sweep/results.jsonl")).expect("it is there");
    assert_eq!(lines.lines().count(), 27);
    let table = fs::read_to_string(place.path("runs/sweep/results.csv")).expect("it is there");
    assert_eq!(table.lines().count(), 10);
    for name in ["results.md", "sweep.toml", "dhc-x4/seed2/config.toml"] {
        assert!(place.path("runs/sweep").join(name).is_file(), "{name}");
    }
}

/// An ablation at its smallest size on generated data, a few steps long.
fn other(place: &Place, name: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.current_dir(place.path("."));
    command.args([name, "--preset", "smoke", "--seeds", "2", "--name", "sweep"]);
    command.args(SHORT).args(more);
    command.output().expect("the program can be started")
}

#[test]
fn an_ablation_of_images_speaks_of_images_and_accuracy() {
    let place = new_place();
    let output = other(&place, "ablation-vit", &["--set", "data.drawn=shapes"]);
    assert_done(&output);
    let text = stdout(&output);
    for part in [
        "accuracy of shc-x2 − pre-norm",
        "in percentage points",
        "nats per image",
        "tokens (patches) of shapes",
        "top-1",
        "Table 11",
        "+1.22",
        "all 1000 validation images",
        "9000 images to train on",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("per byte"), "{text}");
    let results = place.results("sweep");
    assert_eq!(results["results"]["loss_unit"], "nats per image");
    let arms = results["results"]["arms"].as_array().expect("arms");
    assert_eq!(arms.len(), 3);
    for arm in &arms[1..] {
        assert!(arm["bits_per_byte"].is_null());
        let accuracies = |arm: &Value| -> f64 {
            let runs = arm["runs"].as_array().expect("runs").iter();
            runs.filter_map(|run| run["accuracy"].as_f64()).sum::<f64>() / 2.0
        };
        let delta = accuracies(arm) - accuracies(&arms[0]);
        let said = arm["accuracy_delta"]["mean"].as_f64().expect("two pairs");
        assert!((said - delta).abs() < 1e-12);
    }
}

#[test]
fn an_ablation_of_images_begins_with_hard_ones_and_a_sweep_of_diffusion_with_plain_ones() {
    let place = new_place();
    let said = |name: &str, more: &[&str]| {
        let output = other(&place, name, &[more, &["--dry-run"]].concat());
        assert_done(&output);
        stdout(&output)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let hard = said("ablation-vit", &[]);
    assert!(
        hard.contains("1 file, 8000 images (clutter 100 %)"),
        "{hard}"
    );
    assert!(
        hard.contains("declared: static n = 2 has a higher accuracy"),
        "{hard}"
    );
    let few = said("ablation-vit", &["--set", "data.train_images=500"]);
    assert!(few.contains("1 file, 500 images (clutter"), "{few}");
    let plain = said("ablation-dit", &[]);
    assert!(plain.contains("1 file, 9000 images (shapes"), "{plain}");
}

#[test]
fn an_ablation_of_experts_shows_what_the_routers_do() {
    let place = new_place();
    let output = other(&place, "ablation-moe", &["--data", "text.txt"]);
    assert_done(&output);
    let text = stdout(&output);
    for part in ["busiest", "dropped", "C4-en", "−0.028", "ARC-C +6.0"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for arm in place.results("sweep")["results"]["arms"]
        .as_array()
        .expect("arms")
    {
        let routers = &arm["routers"];
        assert_eq!(routers["dropped"], 0);
        assert!(routers["busiest"].as_f64() >= Some(1.0), "{routers}");
        assert!(routers["idlest"].as_f64() <= Some(1.0), "{routers}");
        let entropy = routers["entropy"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&entropy), "{routers}");
    }
    let path = place.path("runs/sweep/dhc-x2/seed1/summary.json");
    let summary = fs::read_to_string(path).expect("it has ended");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let blocks = summary["routers"].as_array().expect("routers");
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let load = block["load"].as_array().expect("a list").iter();
        let sum: f64 = load.filter_map(Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{block}");
    }
}

#[test]
fn data_of_the_wrong_kind_are_refused() {
    let place = new_place();
    let output = other(&place, "ablation-vit", &["--data", "text.txt"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("text.txt"), "{}", stderr(&output));
}

#[test]
fn a_size_that_a_body_does_not_have_is_refused_with_those_it_has() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let output = command.args(["ablation-vit", "--preset", "huge"]).output();
    let output = output.expect("the program can be started");
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("--preset huge: expected one of smoke, small, medium"),
        "{said}"
    );
}

#[test]
fn differences_are_those_of_the_runs_paired_by_seed() {
    let place = new_place();
    assert_done(&place.run(&with(&["--seeds", "3"])));
    let results = place.results("sweep");
    let arms = results["results"]["arms"].as_array().expect("arms");
    let losses = |arm: &Value| -> Vec<f64> {
        let runs = arm["runs"].as_array().expect("runs");
        runs.iter()
            .filter_map(|run| run["val_loss"].as_f64())
            .collect()
    };
    let baseline = losses(&arms[0]);
    for arm in &arms[1..] {
        let pairs = losses(arm).into_iter().zip(&baseline);
        let mean = pairs.map(|(arm, base)| arm - base).sum::<f64>() / 3.0;
        let delta = arm["delta"]["mean"].as_f64().expect("three pairs");
        assert!((delta - mean).abs() < 1e-12);
        let interval = arm["delta"]["interval"].as_array().expect("three pairs");
        assert!(interval[0].as_f64() < Some(mean) && Some(mean) < interval[1].as_f64());
    }
}

#[test]
fn finished_runs_are_kept_and_more_seeds_grow_the_table() {
    let place = new_place();
    let begun = place.run(&with(&["--seeds", "2"]));
    assert_done(&begun);
    let (first, said) = (place.results("sweep"), stderr(&begun));
    assert!(said.contains("10 of 10 runs to do"), "{said}");
    let run = place.path("runs/sweep/dhc-x2/seed1");
    let before = files_of(&run);
    let again = place.run(&with(&["--seeds", "2"]));
    assert_done(&again);
    assert!(
        stderr(&again).contains("10 of 10 runs have ended before"),
        "{}",
        stderr(&again)
    );
    assert!(
        !stderr(&again).contains("runs to do"),
        "nothing to wait for"
    );
    assert_eq!(first["results"], place.results("sweep")["results"]);
    let grown = place.run(&with(&["--seeds", "4,"]));
    assert_done(&grown);
    let said = stderr(&grown);
    assert!(said.contains("5 of 5 runs to do"), "{said}");
    let results = place.results("sweep");
    assert_eq!(results["results"]["seeds"], serde_json::json!([0, 1, 4]));
    for arm in results["results"]["arms"].as_array().expect("arms") {
        assert_eq!(arm["runs"].as_array().map(Vec::len), Some(3));
    }
    assert_eq!(before, files_of(&run));
    let forced = place.run(&with(&["--seeds", "2", "--force"]));
    assert_done(&forced);
    assert!(
        !stderr(&forced).contains("ended before"),
        "{}",
        stderr(&forced)
    );
    assert_eq!(
        timeless(first)["results"]["arms"][2]["runs"][1]["val_loss"],
        place.results("sweep")["results"]["arms"][2]["runs"][1]["val_loss"]
    );
}

/// All arms in turn when the last run has ended, again when asked for, and never for a table that is
/// only printed.
#[test]
fn step_times_are_measured_in_turn_at_the_end_and_again_on_demand() {
    let place = new_place();
    let ended = place.run(&with(&["--seeds", "2"]));
    assert_done(&ended);
    assert!(
        stdout(&ended).contains("all arms timed in turn"),
        "{}",
        stdout(&ended)
    );
    let file = place.path("runs/sweep/step_times.json");
    let times: Value =
        serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    let rounds = times["rounds_ms"].as_object().expect("arms");
    assert_eq!(rounds.len(), 5);
    assert!(
        rounds
            .values()
            .all(|ms| ms.as_array().is_some_and(|ms| ms.len() > 2))
    );
    let arm = &place.results("sweep")["results"]["arms"][1]["timing"];
    assert!(
        arm["step_spread"].is_number() && arm["step_ratio"][0].is_number(),
        "{arm}"
    );

    fs::remove_file(&file).expect("it is there");
    let printed = place.run(&with(&["--seeds", "2"]));
    assert!(
        stdout(&printed).contains("NOT CALIBRATED"),
        "{}",
        stdout(&printed)
    );
    assert!(!file.exists());
    assert_done(&place.run(&with(&["--seeds", "2", "--time-steps"])));
    assert!(file.exists());
}

#[test]
fn results_do_not_depend_on_how_many_runs_go_on_at_a_time() {
    let [one, two] = [
        ["--jobs", "1", "--threads", "3"],
        ["--jobs", "2", "--threads", "2"],
    ]
    .map(|arguments| {
        let place = new_place();
        assert_done(&place.run(&with(&arguments)));
        let settings = fs::read(place.path("runs/sweep/sweep.toml")).expect("it is there");
        (timeless(place.results("sweep")), settings)
    });
    assert_eq!(one, two);
}

#[test]
fn a_dry_run_shows_costs_and_touches_nothing() {
    let place = new_place();
    let output = place.run(&with(&["--dry-run", "--seeds", "2"]));
    assert_done(&output);
    let text = stdout(&output);
    for part in [
        "never decayed",
        "static_alpha",
        "extra",
        "10 of 10 runs to do",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn a_diverged_run_is_a_row_and_the_others_go_on() {
    let place = new_place();
    let wild = [
        "--set",
        "train.learning_rate=1e12",
        "--set",
        "optim.clip=0",
        "--seeds",
        "2",
    ];
    let output = place.run(&with(&wild));
    assert_done(&output);
    let rows = stdout(&output).matches("diverged at step").count();
    assert!(rows >= 5, "{}", stdout(&output));
    for arm in place.results("sweep")["results"]["arms"]
        .as_array()
        .expect("arms")
    {
        assert_eq!(arm["runs"].as_array().map(Vec::len), Some(2), "{arm}");
        assert_eq!(arm["runs"][0]["status"], "diverged");
        assert!(arm["val_loss"].is_null());
    }
}

#[test]
fn mistakes_on_the_command_line_have_status_2_and_one_clear_line() {
    let place = new_place();
    for (arguments, said) in [
        (&["--bogus"][..], "--bogus"),
        (&["--tanh", "maybe"], "on, off, both"),
        (&["--seeds", "many"], "write 5, or 0,3,7"),
        (&["--seeds", "0"], "expected 1 to 1000 seeds"),
        (&["--jobs", "0"], "expected 1 to 1024"),
        (&["--seeds", "3,3"], "seed 3 is given twice"),
        (&["--seeds", "-1"], "\"-1\" is no seed"),
        (&["--seeds=-1,2"], "\"-1\" is no seed"),
        (&["--seeds", "1.5"], "\"1.5\" is no seed"),
        (&["--jobs", "-1"], "'--jobs <N>'"),
        (&["--threads", "-1"], "'--threads <N>'"),
        (
            &["--set", "train.warmup=1000"],
            "train.warmup is 1000, longer than",
        ),
        (&["--set", "train.eval_every=0"], "train.eval_every is 0"),
        (&["--set", "model.dimm=8"], "did you mean model.dim?"),
        (&["--set", "model.heads=3"], "not divisible by heads"),
        (&["--set", "train.seed=3"], "--seeds"),
        (
            &["--set", "model.connection.rate=2"],
            "the arms of this ablation differ in it",
        ),
    ] {
        let output = place.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).starts_with("error: "),
            "{}",
            stderr(&output)
        );
    }
    assert!(!place.path("runs").exists());
}

#[test]
fn what_the_world_refuses_has_status_1_and_one_clear_line() {
    let place = new_place();
    fs::write(place.path("short.txt"), "too short").expect("it is writable");
    for (arguments, said) in [
        (&["--out", "text.txt"][..], "text.txt"),
        (&["--corpus", "missing.txt"], "missing.txt"),
        (&["--corpus", "short.txt"], "short.txt"),
        (&["--config", "missing.toml"], "missing.toml"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        command.current_dir(place.path("."));
        command.args(["ablation-rate", "--preset", "smoke"]);
        if !arguments.contains(&"--corpus") {
            command.args(["--corpus", "text.txt"]);
        }
        let output = command.args(arguments).output().expect("it starts");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains(said) && text.contains("error: "),
            "{arguments:?}: {text}"
        );
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn other_settings_in_the_same_place_are_refused() {
    let place = new_place();
    assert_done(&place.run(&SHORT));
    let output = place.run(&["--set", "train.steps=13", "--set", "train.warmup=2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("train.steps is 12 there and 13 now"),
        "{}",
        stderr(&output)
    );
    fs::write(place.path("text.txt"), "another text ".repeat(5000)).expect("it is writable");
    let output = place.run(&SHORT);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("other data"),
        "{}",
        stderr(&output)
    );
}

/// A sweep that was sent Ctrl-C during its runs, how it ended and what it said from then on.
#[cfg(unix)]
fn interrupted(arguments: &[&str]) -> (Place, Output, String) {
    signals::heed();
    let place = new_place();
    let mut child = place
        .command(arguments)
        .env_remove("CARGO")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let under_way = |line: &String| line.contains("step 100/400");
    let begun = lines.by_ref().map_while(Result::ok).find(under_way);
    begun.expect("it reports");
    let signal = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(signal.is_ok_and(|status| status.success()));
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    let output = child.wait_with_output().expect("it ends");
    (place, output, said.join("\n"))
}

/// The run is stopped by Ctrl-C and goes on to the same results as one left alone.
#[test]
#[cfg(unix)]
fn ctrl_c_leaves_a_sweep_that_goes_on_as_if_nothing_had_happened() {
    let long = ["--seeds", "1", "--set", "train.steps=400"];
    let alone = new_place();
    assert_done(&alone.run(&long));

    // A quick machine may have ended the sweep before it is told to: then another one.
    let (place, output, said) = (0..20)
        .map(|_| interrupted(&long))
        .find(|(_, output, _)| !output.status.success())
        .expect("a sweep that is told to end on its way");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(stdout(&output), "", "no table of what has not ended");
    assert!(
        said.contains("can go on") && said.contains("To go on:"),
        "{said}"
    );
    let again = said.lines().last().expect("a line").trim();
    assert!(
        again.starts_with(env!("CARGO_BIN_EXE_experiments")),
        "{again}"
    );

    let rest = place.run(&long);
    assert_done(&rest);
    assert!(
        stderr(&rest).contains("goes on from step"),
        "{}",
        stderr(&rest)
    );
    assert_eq!(
        timeless(place.results("sweep")),
        timeless(alone.results("sweep"))
    );
}
