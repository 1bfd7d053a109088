//! `--match time|flops`: arms of equal cost, as a user sees them.

use crate::place::{Place, stderr, words};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// Two baselines of different depth, each with an arm, and a statement.
const FILE: &str = r#"
preset = "smoke"
seeds = 2
[set]
train.steps = 24
train.warmup = 4
train.eval_every = 6
train.eval_batches = 1
[[arm]]
connection = { type = "pre_norm" }
[[arm]]
connection = { type = "hyper", rate = 8 }
baseline = "pre-norm"
[[arm]]
name = "deep"
set = { model.layers = 3 }
[[arm]]
name = "deep-x8"
connection = { type = "hyper", rate = 8 }
set = { model.layers = 3 }
baseline = "deep"
[[contrast]]
statement = "eight streams are worth their operations"
arm = "dhc-x8"
against = "pre-norm"
expect = "lower"
"#;

fn new_place() -> Place {
    Place::new(&["sweep", "file.toml", "--data", "text.txt"]).with("file.toml", FILE)
}

fn refused(place: &Place, more: &[&str], said: &str) {
    let output = place.run(more);
    assert!(!output.status.success());
    assert!(words(stderr(&output)).contains(said), "{}", stderr(&output));
}

/// Steps of every run of an arm, as its configuration has them.
fn steps_of(place: &Place, sweep: &str, arm: &str) -> Vec<i64> {
    let runs = fs::read_dir(place.path("runs").join(sweep).join(arm)).expect("an arm");
    let steps = runs.map(|run| {
        let path = run.expect("a run").path().join("config.toml");
        let config = fs::read_to_string(path).expect("a configuration");
        let config: toml::Table = config.parse().expect("TOML");
        config["train"]["steps"].as_integer().expect("steps")
    });
    steps.collect()
}

fn arms_of(place: &Place, sweep: &str) -> Vec<Value> {
    let results = place.results(sweep);
    results["results"]["arms"].as_array().expect("arms").clone()
}

fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}

const FLOPS: [&str; 2] = ["--match", "flops"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FLOPS[..], more].concat()
}

#[test]
fn arms_of_equal_operations_have_other_steps_and_say_so() {
    let place = new_place();
    let plan = words(&place.done(&with(&["--dry-run"])));
    assert!(!place.path("runs").exists());
    let text = words(&place.done(&FLOPS));
    let sweep = "file-equal-flops";
    let arms = arms_of(&place, sweep);
    for (arm, base) in [(1, 0), (3, 2)] {
        let [arm, base] = [&arms[arm], &arms[base]];
        let name = arm["name"].as_str().expect("a name");
        let flops = |arm: &Value| arm["flops_per_token"].as_f64().expect("a number");
        let ratio = flops(arm) / flops(base);
        let steps = (24.0 / ratio).round() as i64;
        assert!(ratio > 1.05 && steps < 24, "{ratio}");
        assert_eq!(steps_of(&place, sweep, name), [steps; 2]);
        assert_eq!(arm["steps"], steps);
        assert_eq!(arm["matched"]["baseline"], base["name"]);
        assert!((arm["matched"]["ratio"].as_f64().expect("a number") - ratio).abs() < 1e-12);
        let label = arm["label"].as_str().expect("a label");
        let line = format!(
            "{label}: {steps} steps for 24 of {}",
            base["name"].as_str().expect("a name")
        );
        assert!(plan.contains(&line), "{line}: {plan}");
        // A validation at every quarter, as the baseline has them.
        let runs = arm["runs"].as_array().expect("runs");
        assert!(runs.iter().all(|run| run["steps"] == steps));
        assert!(arm["delta"]["interval"].is_array());
    }
    assert_eq!(steps_of(&place, sweep, "deep"), [24; 2]);
    for said in [
        "AT EQUAL FLOPs",
        "STEPS AND DATA DIFFER",
        "sees the first of those",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(text.contains("eight streams are worth"), "{text}");
    let shown = format!("runs/{sweep}");
    let mut report = Command::new(env!("CARGO_BIN_EXE_experiments"));
    let report = report.current_dir(place.path(".")).args(["report", &shown]);
    assert!(report.output().expect("it starts").status.success());
    let page = fs::read_to_string(place.path(&format!("{shown}/report/report.html")));
    let page = page.expect("a page");
    assert!(page.contains("AT EQUAL FLOPs") && page.contains("cost ratio"));
}

/// The same weights, whichever process chose the steps.
#[test]
fn runs_done_one_by_one_have_the_steps_of_the_whole_sweep() {
    let whole = new_place();
    whole.done(&FLOPS);
    let place = new_place();
    let list = place.done(&with(&["--list"]));
    assert!(!place.path("runs").exists(), "a list touches nothing");
    let lines: Vec<&str> = list.lines().collect();
    // Two at a time, so that both want to choose.
    for pair in lines.chunks(2) {
        let number = |line: &str| line.split('\t').next().expect("a number").to_owned();
        let started = pair.iter().map(|line| {
            let number = number(line);
            let mut command = place.command(&with(&["--threads", "1", "--task", &number]));
            command.spawn().expect("the program can be started")
        });
        let started: Vec<_> = started.collect();
        for mut task in started {
            assert!(task.wait().expect("it ends").success());
        }
    }
    for line in lines {
        let run = line.split('\t').nth(4).expect("a directory");
        let weights = |place: &Place| bytes(&place.path(run).join("model.safetensors"));
        assert_eq!(weights(&place), weights(&whole), "{run}");
    }
    let record = |place: &Place| bytes(&place.path("runs/file-equal-flops/matching.json"));
    assert_eq!(record(&place), record(&whole));
}

#[test]
fn steps_of_equal_time_are_chosen_once() {
    let place = new_place();
    let name = ["--match", "time", "--name", "timed"];
    let timed = |more: &[&'static str]| [&name[..], more].concat();
    place.done(&timed(&["--seeds", "1"]));
    let record = || bytes(&place.path("runs/timed/matching.json"));
    let first = record();
    let steps = steps_of(&place, "timed", "dhc-x8");
    let text = words(&place.done(&timed(&["--seeds", "3"])));
    assert_eq!(record(), first);
    assert_eq!(steps_of(&place, "timed", "dhc-x8"), [steps[0]; 3]);
    for said in ["AT EQUAL TIME", "cost ratio [95 %]", "its error in loss"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let arms = arms_of(&place, "timed");
    let cost = &arms[1]["matched"];
    let ends = cost["interval"].as_array().expect("rounds");
    let ratio = cost["ratio"].as_f64().expect("a number");
    assert!(ends[0].as_f64() < Some(ratio) && Some(ratio) < ends[1].as_f64());
    assert!(cost["error_in_loss"].as_f64().expect("a curve") >= 0.0);
    assert_eq!(cost["steps"], (24.0 / ratio).round() as i64);

    // Neither other steps nor none of equal cost get among them.
    let same = ["--name", "timed"];
    refused(
        &place,
        &same,
        "give --match time, choose another --name, or --force",
    );
    refused(&place, &[&same[..], &FLOPS].concat(), "give --match time");
    let longer = timed(&["--seeds", "7,8", "--set", "train.steps=30"]);
    refused(&place, &longer, "were chosen for other settings");
    assert_eq!(record(), first);
    // Runs of as many steps for all are not mixed with those of equal cost either.
    place.done(&["--seeds", "1", "--name", "plain"]);
    let mixed = ["--seeds", "5,6", "--name", "plain", "--match", "flops"];
    refused(&place, &mixed, "was begun without --match flops");
    place.done(&[&same[..], &["--seeds", "3", "--force"]].concat());
    assert_eq!(steps_of(&place, "timed", "dhc-x8"), [24; 3]);
    assert!(!place.path("runs/timed/matching.json").exists());
}

#[test]
fn a_file_names_the_cost_and_steps_of_its_own_are_refused() {
    let place = new_place();
    let file = |text: &str| fs::write(place.path("file.toml"), text).expect("it is writable");
    file(&format!("match = \"flops\"\n{FILE}"));
    assert!(words(&place.done(&["--dry-run"])).contains("steps for 24 of pre-norm"));
    file(&format!("match = \"money\"\n{FILE}"));
    refused(&place, &[], "match: expected time or flops");
    file(&FILE.replacen(
        "rate = 8 }\n",
        "rate = 8 }\nset = { train.steps = 20 }\n",
        1,
    ));
    refused(
        &place,
        &FLOPS,
        "arm dhc-x8 has other train.steps than its baseline",
    );
}
