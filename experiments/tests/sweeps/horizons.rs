//! `--horizons`: arms at several lengths of training, as a user sees them.

use crate::place::{Place, stderr, words};
use std::fs;

/// Arms with rates of their own, as experiments on horizons have them.
const FILE: &str = r#"
title = "does the gap close?"
preset = "smoke"
seeds = 3
baseline = "pre-norm"
horizons = [1, 2, 4]
[set]
train.steps = 10
train.warmup = 2
train.eval_every = 5
train.eval_batches = 1
[[arm]]
connection = { type = "pre_norm" }
set = { train.learning_rate = 3e-3 }
[[arm]]
connection = { type = "hyper", rate = 1 }
set = { train.learning_rate = 4e-3 }
[[contrast]]
statement = "the gap of n = 1 shrinks"
arms = { "dhc-x1_h4" = 1.0, "pre-norm_h4" = -1.0, "dhc-x1_h1" = -1.0, "pre-norm_h1" = 1.0 }
expect = "higher"
[[contrast]]
statement = "it is better after the longest training"
arm = "dhc-x1"
against = "pre-norm"
expect = "lower"
"#;

fn new_place() -> Place {
    Place::new(&[]).with("file.toml", FILE)
}

const SWEEP: [&str; 4] = ["sweep", "file.toml", "--data", "text.txt"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SWEEP[..], more].concat()
}

#[test]
fn every_arm_is_trained_at_every_length_and_compared_there() {
    let place = new_place();
    let list = place.done(&with(&["--list"]));
    assert_eq!(list.lines().count(), 18);
    place.done(&SWEEP);
    let text = words(&place.read("runs/file/results.md"));
    for (arm, rate) in [("pre-norm", "0.003"), ("dhc-x1", "0.004")] {
        for times in [1, 2, 4] {
            let config = place.read(&format!("runs/file/{arm}_h{times}/seed1/config.toml"));
            let holds = |setting: String| assert!(config.contains(&setting), "{setting}: {config}");
            holds(format!("\nsteps = {}\n", 10 * times));
            holds(format!("\nwarmup = {}\n", 2 * times));
            holds(format!("\neval_every = {}\n", 5 * times));
            holds(format!("\nlearning_rate = {rate}\n"));
        }
    }
    let results = &place.results("file")["results"];
    let arms = results["arms"].as_array().expect("arms");
    assert_eq!(arms.len(), 6);
    assert_eq!(arms[5]["name"], "dhc-x1_h4");
    assert_eq!(arms[5]["baseline"], "pre-norm_h4");
    let over = results["horizons"]["arms"].as_array().expect("arms");
    assert_eq!((over.len(), &over[1]["name"]), (2, &"dhc-x1".into()));
    let points = over[1]["points"].as_array().expect("lengths");
    let tokens: Vec<u64> = points
        .iter()
        .map(|point| point["tokens"].as_u64().expect("a number"))
        .collect();
    assert_eq!([tokens[0] * 2, tokens[0] * 4], tokens[1..]);
    for said in [
        "tokens multiplier [95 %]",
        "p of the gap",
        "×4",
        "FLOPs multiplier",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let csv = place.read("runs/file/horizons.csv");
    assert_eq!(csv.lines().count(), 7, "{csv}");
    // A statement over lengths, and one that names none.
    let statements = place.read("runs/file/contrasts.csv");
    assert!(statements.contains("dhc-x1_h4") && statements.contains("dhc-x1_h1"));
    assert!(
        statements.contains(",dhc-x1_h4 − pre-norm_h4,lower,"),
        "{statements}"
    );

    // A report says the same from the files alone.
    place.done(&["report", "runs/file"]);
    let shown = words(&place.read("runs/file/report/report.md"));
    assert!(shown.contains("tokens multiplier [95 %]"), "{shown}");
    assert_eq!(place.read("runs/file/report/horizons.csv"), csv);
    let page = place.read("runs/file/report/report.html");
    assert!(page.contains("Final loss by length of training"));
    assert!(
        place
            .read("runs/file/report/horizons.svg")
            .contains("logarithmic")
    );
    assert!(
        place
            .read("runs/file/report/report.md")
            .contains("horizons.svg")
    );

    // More seeds and lengths come beside those that are there.
    let more = with(&["--seeds", "4", "--horizons", "1,2,4,8", "--name", "file"]);
    let output = place.run(&more);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(words(stderr(&output)).contains("18 of 32 runs have ended before"));
    let results = &place.results("file")["results"];
    let law = &results["horizons"]["arms"][1]["law"];
    assert!(law["exponent"].is_number(), "{results}");
}

#[test]
fn images_experts_and_arms_of_equal_cost_have_lengths_too() {
    let place = new_place();
    let quick = ["--preset", "smoke", "--seeds", "1", "--horizons", "1,3"];
    let set = ["--set", "train.steps=2", "--set", "train.warmup=1"];
    for (command, sweep) in [
        (&["ablation-vit"][..], "ablation-vit-smoke-horizons"),
        (
            &["ablation-moe", "--data", "text.txt", "--match", "flops"],
            "ablation-moe-smoke-horizons-equal-flops",
        ),
    ] {
        place.done(&[command, &quick, &set].concat());
        let results = place.results(sweep);
        let arms = results["results"]["horizons"]["arms"].as_array();
        assert!(arms.is_some_and(|arms| arms.len() == 3), "{results}");
    }
}

#[test]
fn mistakes_have_status_2_and_say_what_is_expected() {
    let place = new_place();
    for (arguments, said) in [
        (&["ablation-rate", "--horizons", "1,1"][..], "each once"),
        (&["ablation-rate", "--horizons", "0,1"], "each once"),
        (
            &["ablation-rate", "--horizons", "1,much"],
            "such as 1, 2, 4, 8",
        ),
        (
            &["ablation-rate", "--horizons", "1,9223372036854775807"],
            "no number of steps",
        ),
        (&["lr-sweep", "--horizons", "1,2"], "chosen at one length"),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(words(stderr(&output)).contains(said), "{}", stderr(&output));
    }
    for (from, to, said) in [
        ("[1, 2, 4]", "[1, 2, 2]", "horizons: expected multiples"),
        ("[1, 2, 4]", "4", "horizons: expected multiples"),
        ("dhc-x1_h4", "dhc-x1_h3", "there is no arm dhc-x1_h3"),
    ] {
        let path = place.path("file.toml");
        fs::write(path, FILE.replace(from, to)).expect("it is writable");
        let output = place.run(&SWEEP);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(words(stderr(&output)).contains(said), "{}", stderr(&output));
    }
}
