//! `inspect` as a user of the command line meets it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A run of a few steps on a small text; returns the text.
fn train(root: &Path, name: &str, settings: &[&str]) -> String {
    let words = ["so ", "it ", "goes ", "and ", "ends. "];
    let text: String = (0..6000).map(|i| words[(i * i + i / 7) % 5]).collect();
    let corpus = root.join("text");
    fs::write(&corpus, text).expect("a text");
    let (corpus, out) = (corpus.display().to_string(), place(root, name));
    let mut arguments = vec![
        "train",
        "--preset=smoke",
        "--corpus",
        &corpus,
        "--out",
        &out,
    ];
    arguments.extend(["--set=train.steps=20", "--set=train.record_every=10"]);
    arguments.extend(settings);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    corpus.clone()
}

fn place(root: &Path, name: &str) -> String {
    root.join(name).display().to_string()
}

#[test]
fn a_run_is_shown_in_80_columns_and_written_into_files() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    let hyper = "--set=model.connection.type=hyper";
    let corpus = train(root, "first", &[hyper]);
    train(root, "second", &[hyper, "--seed=1"]);
    let (first, second, out) = (
        place(root, "first"),
        place(root, "second"),
        place(root, "out"),
    );
    let arguments = [
        "inspect", &first, "--text", &corpus, "--with", &second, "--out", &out,
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.lines()
            .all(|line| line.chars().count() <= 80 || line.contains(&place(root, ""))),
        "{text}"
    );
    for part in [
        "row = source stream, column = destination stream",
        "C(0)",
        "Lambda shape",
        "stream 4 removed",
        "mix frozen to identity",
        "its streams",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'));
    let csv = fs::read_to_string(root.join("out/matrices.csv")).expect("a table");
    assert!(csv.contains("\nblocks_1_ffn_static,write,4,"), "{csv}");
    let json = fs::read(root.join("out/inspection.json")).expect("JSON");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["training"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["layers"].as_array().map(Vec::len), Some(4));
    assert!(root.join("out/npy/unfolded_0.npy").exists());
    for picture in [
        "unfolded_4",
        "similarity",
        "gain_training",
        "blocks_1_ffn_mean",
    ] {
        let file = root.join(format!("out/pictures/{picture}.svg"));
        assert!(
            fs::read_to_string(file)
                .expect("a picture")
                .starts_with("<svg")
        );
    }
}

#[test]
fn one_sublayer_is_shown_in_its_parts() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    train(root, "run", &["--set=model.connection.type=mhc"]);
    let weights = place(root, "run/model.safetensors");
    let text = place(root, "text");
    let output = run(&["inspect", &weights, "--text", &text, "--layer=2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    for part in ["mean", "static", "dynamic", "spread", "change"] {
        assert!(stdout(&output).contains(part), "{part}");
    }
    let refused = run(&["inspect", &weights, "--layer=5"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(stderr(&refused), "error: --layer is 5, expected 1 to 4\n");
}

#[test]
fn weights_in_their_run_directory_are_shown_the_data_of_the_run() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    train(root, "run", &[]);
    let weights = place(root, "run/model.safetensors");
    let at_home = run(&["inspect", &weights]);
    assert!(at_home.status.success(), "{}", stderr(&at_home));
    let said = stdout(&at_home);
    assert!(said.contains("nats per byte on"), "{said}");
    assert!(said.contains("bytes of validation part of text"), "{said}");
    // Elsewhere they know their network but no data.
    fs::copy(&weights, root.join("model.safetensors")).expect("a copy");
    let away = run(&["inspect", &place(root, "model.safetensors")]);
    let said = stdout(&away);
    assert!(said.contains("validation part of built-in"), "{said}");
}

#[test]
fn a_network_without_streams_is_shown_as_far_as_it_goes() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    for connection in ["pre_norm", "post_norm", "frac", "altup", "value_residual"] {
        let setting = format!("--set=model.connection.type={connection}");
        let text = train(root, connection, &[&setting]);
        let run_directory = place(root, connection);
        let output = run(&["inspect", &run_directory, "--text", &text]);
        assert!(output.status.success(), "{connection}: {}", stderr(&output));
        let said = stdout(&output);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("nothing to unfold"), "{connection}");
        assert!(stdout(&output).contains("cosine"), "{connection}");
    }
    let refused = run(&["inspect", &place(root, "pre_norm"), "--layer=1"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn what_is_not_there_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let missing = place(root.path(), "missing");
    let output = run(&["inspect", &missing]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&missing), "{}", stderr(&output));
    assert!(stderr(&output).contains("check the path"));
    assert_eq!(
        run(&["inspect", &missing, "--windows=0"]).status.code(),
        Some(2)
    );
}

#[test]
fn records_whose_coefficients_have_other_sizes_are_left_out_of_the_training() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    let text = train(root, "run", &["--set=model.connection.type=hyper"]);
    let log = root.join("run/coefficients.jsonl");
    let whole = fs::read_to_string(&log).expect("coefficients");
    let steps = |name: &str| {
        let (run_dir, json) = (place(root, "run"), root.join(name).join("inspection.json"));
        let output = run(&[
            "inspect",
            &run_dir,
            "--text",
            &text,
            "--out",
            &place(root, name),
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(json).expect("a file")).expect("JSON");
        let training = json["training"].as_array().expect("a list");
        training
            .iter()
            .map(|view| view["step"].clone())
            .collect::<Vec<_>>()
    };
    let all = steps("whole");
    assert!(all.len() > 1, "{all:?}");
    for (number, damage) in [("beta", "[]"), ("alpha", "[0.5]"), ("mean", "[]")]
        .iter()
        .enumerate()
    {
        let mut lines = whole.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut record: serde_json::Value = serde_json::from_str(&lines[1]).expect("a record");
        let value = serde_json::from_str(damage.1).expect("JSON");
        match damage.0 {
            "mean" => record["mean"] = value,
            field => record["mean"][0][field] = value,
        }
        lines[1] = record.to_string();
        fs::write(&log, lines.join("\n") + "\n").expect("a log");
        let mut left = all.clone();
        left.remove(1);
        assert_eq!(steps(&format!("damaged{number}")), left, "{damage:?}");
    }
}
