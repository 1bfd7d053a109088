//! Probes of runs: at the end of training, of runs that ended without them, in tables.

use lab::run_dir::{ProbeScores, read_probes};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A directory with some source code in which the program is run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let function = |i: usize| {
            format!(
                "fn f{i}(input: &[u8; {i}]) {{\n    let list{i} = [input[{i}], value(first, {i})];\n    \
                 for item in list {{\n        call(item, Point {{ x: {i}, y: 0 }});\n    }}\n    \
                 done(&[1, 2, {i}, four])\n}}\n"
            )
        };
        let code: String = (0..1500).map(function).collect();
        fs::write(directory.path().join("code.rs"), code).expect("a text");
        let prose: String = (0..4000)
            .map(|i| format!(" Line {i} of some prose .\n"))
            .collect();
        fs::write(directory.path().join("prose.txt"), prose).expect("a text");
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        let command = command.current_dir(self.0.path()).args(arguments);
        command.output().expect("the program starts")
    }

    /// What the program prints when it has succeeded.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn probes(&self, run: &str) -> Vec<ProbeScores> {
        read_probes(&self.path(run))
            .expect("sound")
            .expect("probed")
    }
}

const SIZES: [&str; 9] = [
    "--set=model.dim=16",
    "--set=model.seq=48",
    "--set=model.ffn.hidden=24",
    "--set=train.steps=30",
    "--set=train.warmup=4",
    "--set=train.batch=4",
    "--set=train.micro_batch=2",
    "--set=train.eval_batches=2",
    "--set=train.eval_every=15",
];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    train_on("--data=code.rs", out, more)
}

fn train_on<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let first = ["train", "--preset=smoke", data, out];
    [&first[..], &SIZES, more].concat()
}

/// A text without its line breaks.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Name and content of every file of a run but its lock.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(directory).expect("a directory").map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read(path).expect("readable"))
    });
    let mut files: Vec<_> = files.filter(|(name, _)| name != ".lock").collect();
    files.sort();
    files
}

#[test]
fn a_run_that_ended_without_probes_is_probed_to_the_same_bytes_and_nothing_else_changes() {
    let place = Place::new();
    for more in [
        &["--set=model.connection.type=hyper"][..],
        &["--set=model.ffn.type=moe", "--set=train.precision=bf16"],
    ] {
        let said = place.done(&train(
            "--out=runs/arm/seed0",
            &[more, &["--force"]].concat(),
        ));
        assert!(
            said.contains("probes, % right (by chance): last 4 bytes"),
            "{said}"
        );
        let run = place.path("runs/arm/seed0");
        let before = files(&run);
        fs::remove_file(run.join("probes.json")).expect("probes");
        let tables = place.done(&["probe", "runs"]);
        assert!(tables.contains("Probe brackets: "), "{tables}");
        assert_eq!(files(&run), before, "{more:?}");
        // What is there is kept.
        assert_eq!(place.done(&["probe", "runs"]), tables);
        assert_eq!(files(&run), before);
    }
}

#[test]
fn probes_do_not_depend_on_threads_and_their_items_not_on_seed_or_arm() {
    let place = Place::new();
    place.done(&train("--out=one", &["--threads=1"]));
    place.done(&train("--out=two", &["--threads=2"]));
    assert_eq!(place.probes("one"), place.probes("two"));
    place.done(&train(
        "--out=other",
        &["--seed=1", "--set=model.connection.type=mhc"],
    ));
    let (one, other) = (place.probes("one"), place.probes("other"));
    assert_ne!(one, other);
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(
            (&one.name, &one.items_sha256),
            (&other.name, &other.items_sha256)
        );
        assert_eq!(
            (one.chance, one.items().count()),
            (other.chance, other.items().count())
        );
    }
}

#[test]
fn prose_has_no_brackets_and_it_is_said() {
    let place = Place::new();
    let said = place.done(&train_on("--data=prose.txt", "--out=runs/arm/seed0", &[]));
    assert!(
        said.contains("no such positions in this text: brackets, indentation"),
        "{said}"
    );
    let said = place.done(&["report", "runs"]);
    assert!(
        said.contains("Probe copying: ") && !said.contains("Probe brackets"),
        "{said}"
    );
    assert!(
        words(&said).contains("too few, for the probes: brackets, indentation."),
        "{said}"
    );
    // Nothing is compared.
    let (_, table) = said.split_once("Probe copying").expect("a table");
    assert!(
        !table.split("\n\n").next().expect("a table").contains('Δ'),
        "{said}"
    );
}

/// Probes are believed as any other file of a run.
#[test]
fn probes_that_were_changed_or_are_of_another_run_are_not_used_and_can_be_made_anew() {
    let place = Place::new();
    place.done(&train("--out=runs/arm/seed0", &[]));
    place.done(&train("--out=runs/arm/seed1", &["--seed=1"]));
    let path = |seed: u64| place.path(&format!("runs/arm/seed{seed}/probes.json"));
    let [first, second] = [0, 1].map(|seed| fs::read_to_string(path(seed)).expect("probes"));
    let changed = first.replacen("\"chance\": 0.", "\"chance\": 0.1", 1);
    let unsealed = first.replacen('1', "x", 1);
    for (content, reason) in [
        (&changed, "changed after it was written"),
        (&second, "probes of another run"),
        (&unsealed, "probes.json"),
        (&"{}".to_owned(), "damaged"),
    ] {
        fs::write(path(0), content).expect("space");
        let said = place.done(&["report", "runs"]);
        let said = words(&said);
        assert!(
            said.contains("note: arm seed 0: ") && said.contains(reason),
            "{said}"
        );
        place.done(&["probe", "runs"]);
        assert_eq!(fs::read_to_string(path(0)).expect("probes"), first);
    }
    assert!(!place.done(&["report", "runs"]).contains("note: arm seed 0"));
}

#[test]
fn runs_that_have_not_ended_and_other_data_are_not_probed() {
    let place = Place::new();
    place.done(&train("--out=runs/arm/seed0", &[]));
    let run = place.path("runs/arm/seed0");
    fs::remove_file(run.join("probes.json")).expect("probes");
    let summary = fs::read(run.join("summary.json")).expect("a summary");
    fs::remove_file(run.join("summary.json")).expect("a summary");
    let output = place.run(&["probe", "runs"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("has not ended"),
        "{said}"
    );
    fs::write(run.join("summary.json"), summary).expect("space");
    let prose = fs::read(place.path("prose.txt")).expect("a text");
    fs::write(place.path("code.rs"), prose).expect("space");
    let output = place.run(&["probe", "runs"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("other data") && said.contains("one run was not probed"),
        "{said}"
    );
    assert!(!run.join("probes.json").exists());
}

/// Tables of a comparison, on the terminal and in its files, and of a run of an earlier version.
#[test]
fn a_comparison_shows_probes_and_names_runs_without_them() {
    let place = Place::new();
    let arms = "preset = \"smoke\"\nbaseline = \"pre-norm\"\n\
        [[arm]]\nconnection = { type = \"pre_norm\" }\n\
        [[arm]]\nconnection = { type = \"hyper\", rate = 2 }\n";
    fs::write(place.path("two.toml"), arms).expect("space");
    let sweep = [
        &["sweep", "two.toml", "--data=code.rs", "--seeds=3"],
        &SIZES[..],
    ]
    .concat();
    let shown = place.done(&sweep);
    for name in [
        "last 4 bytes",
        "last 6 bytes",
        "brackets",
        "indentation",
        "copying",
    ] {
        assert!(shown.contains(&format!("Probe {name}: ")), "{shown}");
    }
    let csv = || fs::read_to_string(place.path("runs/two/probes.csv")).expect("a table");
    assert_eq!(csv().lines().count(), 1 + 2 * 5);
    let row = csv()
        .lines()
        .find(|row| row.starts_with("copying,dhc-x2"))
        .map(str::to_owned);
    let row = row.expect("a row");
    assert!(
        row.starts_with("copying,dhc-x2,pre-norm,3,0,1472,64,0.0384615"),
        "{row}"
    );
    assert!(!shown.contains("not probed"), "{shown}");
    fs::remove_file(place.path("runs/two/dhc-x2/seed1/probes.json")).expect("probes");
    let shown = place.done(&sweep);
    assert!(
        shown.contains("1 of 6 runs that have ended are not probed"),
        "{shown}"
    );
    let row = csv()
        .lines()
        .find(|row| row.starts_with("copying,dhc-x2"))
        .map(str::to_owned);
    assert!(
        row.expect("a row")
            .starts_with("copying,dhc-x2,pre-norm,2,0,"),
        "{}",
        csv()
    );
    place.done(&["report", "runs/two"]);
    let page = fs::read_to_string(place.path("runs/two/report/report.html")).expect("a page");
    assert!(
        page.contains("Probe indentation: "),
        "no probes on the page"
    );
    assert!(place.path("runs/two/report/probes.csv").is_file());
}
