//! `sweep`, `lr-sweep`, and runs done one by one, as a user sees them.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

struct Place {
    directory: TempDir,
}

/// Two arms that differ in a number and two that differ in their connection.
const GRID: &str = r#"
preset = "smoke"
seeds = 2
baseline = { model.connection = { type = "pre_norm" } }
[set]
train.steps = 12
train.warmup = 2
train.eval_batches = 2
[grid]
train.learning_rate = [1e-3, 3e-3]
model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }]
"#;

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text: String = (0..4000)
            .map(|i| format!("{} times {} is {}.\n", i % 61, i % 53, (i % 61) * (i % 53)))
            .collect();
        fs::write(directory.path().join("text.txt"), text).expect("it is writable");
        fs::write(directory.path().join("grid.toml"), GRID).expect("it is writable");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        command.current_dir(self.directory.path()).args(arguments);
        command.output().expect("the program can be started")
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn results(&self, sweep: &str) -> Value {
        let path = self.path("runs").join(sweep).join("results.json");
        let text = fs::read_to_string(path).expect("results are written");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

const SWEEP: [&str; 4] = ["sweep", "grid.toml", "--data", "text.txt"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SWEEP[..], more].concat()
}

/// Metrics without times, and the bytes of the weights.
fn result(run: &Path) -> (Vec<Value>, Vec<u8>) {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let timeless = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        record.as_object_mut().expect("a record").remove("ms");
        record
    };
    let weights = fs::read(run.join("model.safetensors")).expect("weights");
    (metrics.lines().map(timeless).collect(), weights)
}

#[test]
fn every_combination_of_a_file_is_an_arm_of_the_table() {
    let place = Place::new();
    let text = place.done(&with(&[]));
    for label in [
        "sweep grid: 4 arms",
        "pre-norm, learning_rate 0.001 ",
        "DHC x2, learning_rate 0.003 ",
    ] {
        assert!(text.contains(label), "{label}: {text}");
    }
    let results = place.results("grid");
    let arms = results["results"]["arms"].as_array().expect("arms");
    for (index, baseline) in [(2, "0.001"), (3, "0.003")] {
        let baseline = format!("pre-norm_learning_rate-{baseline}");
        assert_eq!(arms[index]["baseline"], baseline.as_str());
        assert!(arms[index]["delta"]["mean"].is_number());
    }
    let again = place.run(&with(&[]));
    assert!(stderr(&again).contains("8 of 8 runs have ended before"));
}

/// A batch system does the runs one by one, in any order; the table comes from their files.
#[test]
fn runs_done_one_by_one_are_those_of_the_whole_sweep() {
    let whole = Place::new();
    whole.done(&with(&[]));
    let place = Place::new();
    let list = place.done(&with(&["--list"]));
    assert_eq!(list.lines().count(), 8);
    assert!(!place.path("runs").exists(), "a list touches nothing");
    for (number, line) in list
        .lines()
        .enumerate()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let cells: Vec<&str> = line.split('\t').collect();
        assert_eq!((cells[0], cells[1]), (&*number.to_string(), "new"));
        place.done(&with(&["--task", cells[0]]));
        assert_eq!(result(&place.path(cells[4])), result(&whole.path(cells[4])));
    }
    let list = place.done(&with(&["--list"]));
    assert_eq!(list.matches("\tdone\t").count(), 8, "{list}");
    let table = place.run(&with(&[]));
    assert!(stderr(&table).contains("8 of 8 runs have ended before"));
    let losses = |place: &Place| -> Vec<Value> {
        let results = place.results("grid");
        let arms = results["results"]["arms"].as_array().expect("arms").clone();
        arms.into_iter()
            .map(|mut arm| arm["delta"].take())
            .collect()
    };
    assert_eq!(losses(&place), losses(&whole));
    let again = place.run(&with(&["--task", "3"]));
    assert!(stderr(&again).contains("has ended before and is kept"));
}

#[test]
fn an_ablation_has_tasks_too_and_a_script_for_slurm() {
    let place = Place::new();
    let script = place.done(&[
        "--threads",
        "3",
        "ablation-static",
        "--preset",
        "smoke",
        "--emit",
        "slurm",
        "--data",
        "my text.txt",
    ]);
    for line in [
        "#SBATCH --array=0-14",
        "#SBATCH --requeue",
        "ablation-static --preset smoke --data 'my text.txt' --task \"$number\" &",
    ] {
        assert!(script.contains(line), "{line}: {script}");
    }
    assert!(!script.contains("emit") && !script.contains("--threads 3"));
    assert!(!place.path("runs").exists());
}

#[test]
fn each_arm_is_compared_at_its_best_rate_and_confirmed_on_other_seeds() {
    let place = Place::new();
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
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("sweep runs/lr-sweep-smoke/best.toml --name lr-sweep-smoke-best"));
    assert!(words.contains("a seed diverged at 1000000000"), "{text}");
    assert!(
        words.contains("intervals do not know of the choice"),
        "{text}"
    );
    place.done(&["sweep", "runs/lr-sweep-smoke/best.toml", "--name", "best"]);
    let results = place.results("best");
    assert_eq!(results["results"]["seeds"], serde_json::json!([3, 4, 5]));
    let arms = results["results"]["arms"].as_array().expect("arms");
    assert_eq!(arms.len(), 2);
    assert_eq!(arms[1]["name"], "dhc-x4_lr0.001");
}

#[test]
fn mistakes_have_status_2_and_say_what_was_meant() {
    let place = Place::new();
    let file = |text: &str| fs::write(place.path("wrong.toml"), text).expect("it is writable");
    for (text, said) in [
        ("[grid]\ntrain.stepps = [1]", "did you mean train.steps?"),
        (
            "preset = \"smoky\"\n[grid]\ntrain.steps = [1]",
            "did you mean smoke?",
        ),
        ("[gird]\ntrain.steps = [1]", "did you mean grid?"),
        ("[grid]\nmodel.heads = [3]", "not divisible by heads"),
        ("[grid]\ndata.path = [\"a\", \"b\"]", "same data"),
    ] {
        file(text);
        let output = place.run(&["sweep", "wrong.toml"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    for (arguments, said) in [
        (
            &["sweep", "grid.toml", "--set", "train.learning_rate=1"][..],
            "differ in it",
        ),
        (&["sweep", "grid.toml", "--task", "8"], "there are 8 runs"),
        (
            &["lr-sweep", "--arms", "pre-norm,dhc-x44"],
            "did you mean dhc-x4?",
        ),
        (&["lr-sweep", "--rates", "0"], "no learning rate"),
        (&["lr-sweep", "--set", "train.learning_rate=1"], "--rates"),
        (
            &["sweep", "grid.toml", "--emit", "slurm", "--force"],
            "cannot be used with",
        ),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    let output = place.run(&["sweep", "missing.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
