//! `lr-sweep`: learning rates chosen on some seeds and compared on others.

use crate::place::{Place, stderr, words};
use std::process::Output;

#[test]
fn each_arm_is_compared_at_its_best_rate_and_confirmed_on_other_seeds() {
    let place = Place::new(&[]);
    let short = ["--set", "train.steps=12", "--set", "train.warmup=2"];
    let arguments = [
        &[
            "lr-sweep", "--preset", "smoke", "--data", "text.txt", "--seeds", "3",
        ][..],
        &["--rates", "1e-4,1e-3,1e9", "--set", "optim.clip=0"],
        &short,
    ]
    .concat();
    let text = place.done(&arguments);
    let said = words(&text);
    assert!(said.contains("sweep runs/lr-sweep-smoke/best.toml --name lr-sweep-smoke-best"));
    assert!(said.contains("a seed diverged at 1000000000"), "{text}");
    assert!(said.contains("Δ has no interval and no verdict"), "{text}");
    let best = ["sweep", "runs/lr-sweep-smoke/best.toml", "--name", "best"];
    let refused = place.run(&[&best[..], &["--seeds", "4"]].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("seed 0 had a part in the choice"));
    place.done(&best);
    let results = place.results("best");
    assert_eq!(results["results"]["seeds"], serde_json::json!([3, 4, 5]));
    let arms = results["results"]["arms"].as_array().expect("arms");
    assert_eq!(arms.len(), 2);
    assert_eq!(arms[1]["name"], "dhc-x4_lr0.001");
}

/// On the corpus that is not the default of a file, so that a setting which is not written back would
/// be seen.
#[test]
fn one_command_chooses_rates_and_confirms_them_on_other_seeds() {
    let place = Place::new(&[]);
    let both = |seeds: &str, confirm: &str, more: &[&str]| {
        let arguments = [
            "lr-sweep",
            "--preset",
            "smoke",
            "--seeds",
            seeds,
            "--confirm",
            confirm,
            "--rates",
            "1e-3,4e-3",
            "--set",
            "train.steps=6",
            "--set",
            "train.warmup=2",
            "--set",
            "train.eval_batches=1",
            "--set",
            "data.builtin=files",
        ];
        place.run(&[&arguments[..], more].concat())
    };
    let text = |output: &Output| words(&String::from_utf8_lossy(&output.stdout));
    let plan = both("2", "3", &["--dry-run"]);
    assert!(text(&plan).contains("then 2 arms at their best rates with 3 seeds"));
    assert!(!place.path("runs").exists());
    let done = both("2", "3", &[]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let said = text(&done);
    let (chosen, confirmed) = said
        .split_once("lr-sweep: best rates of")
        .expect("two tables");
    assert!(
        chosen.contains("EXPLORATORY") && chosen.contains("vertex"),
        "{said}"
    );
    assert!(!chosen.contains("--confirm N"), "{said}");
    assert!(confirmed.contains("seeds: 2 3 4"), "{said}");
    assert!(
        confirmed.contains("not shown")
            || confirmed.contains("better")
            || confirmed.contains("worse")
    );
    // What the file says is what was done; what has been done is kept, and more seeds are added.
    let name = ["--name", "lr-sweep-smoke-best"];
    let file = ["sweep", "runs/lr-sweep-smoke/best.toml"];
    let again = place.run(&[&file[..], &name].concat());
    assert!(
        stderr(&again).contains("6 of 6 runs have ended before"),
        "{}",
        stderr(&again)
    );
    let more = both("2", "4", &[]);
    assert!(
        stderr(&more).contains("6 of 8 runs have ended before"),
        "{}",
        stderr(&more)
    );
    let late = both("3", "4", &[]);
    assert_eq!(late.status.code(), Some(2), "{}", stderr(&late));
    assert!(
        stderr(&late).contains("seed 2 had a part in the choice"),
        "{}",
        stderr(&late)
    );
}
