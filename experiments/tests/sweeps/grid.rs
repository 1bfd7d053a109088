//! `sweep`, and runs done one by one.

use crate::place::{Place, stderr};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

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

fn new_place() -> Place {
    Place::new(&[]).with("grid.toml", GRID)
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
    let place = new_place();
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
    let whole = new_place();
    whole.done(&with(&[]));
    let place = new_place();
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
    let place = new_place();
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
fn mistakes_have_status_2_and_say_what_was_meant() {
    let place = new_place();
    let file = |text: &str| fs::write(place.path("wrong.toml"), text).expect("it is writable");
    for (text, said) in [
        ("[grid]\ntrain.stepps = [1]", "did you mean train.steps?"),
        (
            "preset = \"smoky\"\n[grid]\ntrain.steps = [1]",
            "did you mean smoke?",
        ),
        ("[gird]\ntrain.steps = [1]", "did you mean grid?"),
        ("[grid]\nmodel.heads = [3]", "not divisible by heads"),
        (
            "[[arm]]\nconnection = { type = \"pre_norm\" }\n[[contrast]]\nstatement = \"so\"\n\
             expect = \"lower\"\narm = \"pre-norm\"\nagainst = \"pre-nor\"",
            "contrast 1, arms: there is no arm pre-nor: did you mean pre-norm?",
        ),
        ("[grid]\ndata.path = [\"a\", \"b\"]", "same data"),
        (
            "preset = \"vit-smoke\"\n[grid]\ntrain.eval_batches = [1, 2]",
            "it is for text",
        ),
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
        (
            &["ablation-vit", "--set", "train.eval_batches=1"],
            "it is for text",
        ),
        (&["lr-sweep", "--arms", "pre-norm,pre-norm"], "given twice"),
        (&["lr-sweep", "--rates", "0"], "no learning rate"),
        (&["lr-sweep", "--rates", "much"], "expected a number"),
        (
            &["train", "--seed", "-1"],
            "expected a whole number, 0 or more",
        ),
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

/// `train.schedule` and `train.min_lr_ratio` had other names when this run was begun.
#[test]
fn a_run_begun_under_the_first_names_of_settings_goes_on() {
    let place = new_place();
    let text: String = (0..400)
        .map(|i| format!("{} times {} is {}.\n", i % 61, i % 53, (i % 61) * (i % 53)))
        .collect();
    fs::write(place.path("text.txt"), text).expect("it is writable");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run_of_first_names");
    fs::create_dir(place.path("run")).expect("it is writable");
    for file in ["config.toml", "metrics.jsonl", "state.bin"] {
        fs::copy(fixture.join(file), place.path("run").join(file)).expect("it is writable");
    }
    place.done(&["train", "--resume", "run"]);
    let read = |path: PathBuf| fs::read_to_string(path).expect("a file");
    let config = read(place.path("run/config.toml"));
    assert!(config.contains("\ndecline = \"cosine\"\n"), "{config}");
    let last = |path: PathBuf| -> Value {
        let metrics = read(path);
        let last = metrics.lines().last().expect("a record");
        serde_json::from_str(last).expect("JSON")
    };
    let [ended, undisturbed] =
        [place.path("run"), fixture].map(|run| last(run.join("metrics.jsonl")));
    assert_eq!(ended["step"], 8);
    let [ended, undisturbed] = [ended, undisturbed].map(|record| record["train_loss"].as_f64());
    let difference = ended.expect("a loss") - undisturbed.expect("a loss");
    assert!(difference.abs() < 1e-4, "{difference}");
}

#[test]
fn a_sweep_begun_under_the_first_names_of_settings_goes_on() {
    let place = new_place();
    place.done(&with(&["--seeds", "1"]));
    let list = place.done(&with(&["--seeds", "1", "--list"]));
    for line in list.lines() {
        let run = place.path(line.split('\t').nth(4).expect("a directory"));
        let path = run.join("config.toml");
        let config = fs::read_to_string(&path).expect("a configuration");
        // In the order of the alphabet, as they were.
        let config = config.replace("schedule = \"cosine\"\n", "");
        let config = config.replace("min_lr_ratio = 0.1\n", "");
        let first = "decline = \"cosine\"\nfinal_fraction = 0.1\n";
        fs::write(
            &path,
            config.replace("[train]\n", &format!("[train]\n{first}")),
        )
        .expect("space");
    }
    let again = place.run(&with(&["--seeds", "1", "--set", "train.decline=cosine"]));
    assert!(
        stderr(&again).contains("4 of 4 runs have ended before"),
        "{}",
        stderr(&again)
    );
    let other = place.run(&with(&["--seeds", "1", "--set", "train.decline=constant"]));
    assert!(
        stderr(&other).contains("train.schedule"),
        "{}",
        stderr(&other)
    );
}

/// Neither doing the runs again nor leaving a statement out of the file makes another one declared.
#[test]
fn a_statement_that_comes_after_the_first_result_is_exploratory() {
    let place = new_place();
    let file = |contrasts: &str| {
        let arms = "preset = \"smoke\"\nbaseline = \"pre-norm\"\n\
            [[arm]]\nconnection = { type = \"pre_norm\" }\n\
            [[arm]]\nconnection = { type = \"hyper\", rate = 2 }\n";
        fs::write(place.path("say.toml"), arms.to_owned() + contrasts).expect("it is writable");
    };
    let quick = ["train.steps=2", "train.warmup=1", "train.eval_batches=1"];
    let run = |more: &[&str]| {
        let command = ["sweep", "say.toml", "--data", "text.txt", "--seeds", "1"];
        let settings: Vec<&str> = quick.into_iter().flat_map(|one| ["--set", one]).collect();
        place.run(&[&command[..], &settings, more].concat())
    };
    let recorded = || fs::read_to_string(place.path("runs/say/contrasts.toml")).ok();
    let rows = || {
        let csv = fs::read_to_string(place.path("runs/say/contrasts.csv")).expect("a table");
        let rows = csv.lines().skip(1).map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            format!("{} {} {}", cells[0], cells[5], cells[6])
        });
        rows.collect::<Vec<_>>()
    };
    let lower = "[[contrast]]\nstatement = \"two help\"\nsource = \"us\"\nexpect = \"lower\"\n\
        arm = \"dhc-x2\"\nagainst = \"pre-norm\"\n";
    file(lower);
    for look in ["--list", "--dry-run"] {
        let output = run(&[look]);
        let said = stderr(&output).to_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("declared: two help (us): dhc-x2 − pre-norm"),
            "{said}"
        );
        assert!(!place.path("runs").exists());
    }
    assert!(run(&[]).status.success());
    let first = recorded().expect("a record");
    assert!(first.contains("declared = true"), "{first}");
    assert_eq!(rows(), ["two help true few seeds"]);
    file(&lower.replace("lower", "higher"));
    let said = run(&["--list"]);
    assert!(
        stderr(&said).contains("exploratory: two help"),
        "{}",
        stderr(&said)
    );
    let both = ["two help true few seeds", "two help false exploratory"];
    for more in [&[][..], &["--force"], &["--task", "0", "--force"], &[]] {
        assert!(run(more).status.success());
        assert_eq!(rows(), both, "{more:?}");
    }
    file("");
    assert!(run(&[]).status.success());
    assert_eq!(rows(), both);
    let shown = place.done(&["report", "runs/say"]);
    assert!(
        shown.contains("EXPLORATORY") && shown.contains("few seeds"),
        "{shown}"
    );
    let page = fs::read_to_string(place.path("runs/say/report/report.html")).expect("a page");
    assert!(page.contains("Statements declared before the runs"));
    // Without statements there is no record of any.
    assert!(run(&["--name", "silent"]).status.success());
    assert!(!place.path("runs/silent/contrasts.toml").exists());
    assert!(!place.path("runs/silent/contrasts.csv").exists());
}

/// The steps of docs/experiments.md.
#[test]
fn an_ablation_is_added_as_the_page_says() {
    let place = new_place();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/experiments.md");
    let page = fs::read_to_string(page).expect("a page");
    let (_, section) = page.split_once("## Adding an ablation").expect("a section");
    let mut blocks = section.split("```").skip(1).step_by(2);
    let mut block = || {
        blocks
            .next()
            .and_then(|block| block.strip_prefix("toml"))
            .expect("a file")
    };
    let (whole, table) = (block(), block());
    // Smaller than the page has it.
    let quick = whole.replace(
        "preset = \"small\"\nseeds = 3",
        "preset = \"smoke\"\nseeds = 1",
    );
    let quick = quick.replace(
        "   preset = \"small\"\n   seeds = 3",
        "preset = \"smoke\"\nseeds = 1",
    );
    assert_ne!(quick, whole);
    let own = quick.replace("paper = \"Table 1\"", "") + table;
    let less = ["train.steps=2", "train.warmup=1", "train.eval_batches=1"];
    for (name, text, columns) in [
        (
            "streams",
            quick,
            &["paper Δ V2", "paper Δ V3", "−0.030", "PAPER (Table 1)"][..],
        ),
        (
            "own",
            own,
            &["paper Δ C4", "−0.009", "PAPER (Table 2 of Somebody"][..],
        ),
    ] {
        let file = format!("{name}.toml");
        fs::write(place.path(&file), text).expect("it is writable");
        let settings = less.iter().flat_map(|setting| ["--set", setting]);
        let command = ["sweep", &file, "--data", "text.txt"]
            .into_iter()
            .chain(settings);
        let command: Vec<&str> = command.collect();
        place.done(&[&command[..], &["--dry-run"]].concat());
        place.done(&command);
        let shown = fs::read_to_string(place.path(&format!("runs/{name}/results.md")));
        let shown = shown.expect("a table");
        for column in columns
            .iter()
            .chain(&["DHC x4 matched", "four streams are better"])
        {
            assert!(shown.contains(column), "{column}: {shown}");
        }
        let arms = place.results(name)["results"]["arms"].clone();
        let extra = |arm: usize| {
            arms[arm]["extra_parameters_fraction"]
                .as_f64()
                .expect("a number")
        };
        assert!(extra(3).abs() < 0.01 && extra(2) > extra(3).abs(), "{arms}");
        // A report reads the columns back from the files.
        place.done(&["report", &format!("runs/{name}")]);
        let report = fs::read_to_string(place.path(&format!("runs/{name}/report/report.md")));
        let report = report.expect("a report");
        assert!(report.contains(columns[0]), "{report}");
    }
}
