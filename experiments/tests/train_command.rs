//! `train` and `sample` as a user meets them.

#[cfg(unix)]
#[path = "common/signals.rs"]
mod signals;

use lab::run_dir::{Status, read_metrics, read_summary};
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

fn experiments(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    experiments(arguments).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are UTF-8")
}

fn write_text(path: &Path) {
    let words = ["so ", "it ", "goes ", "and ", "ends. "];
    let text: String = (0..6000).map(|i| words[(i * i + i / 7) % 5]).collect();
    fs::write(path, text).expect("a text");
}

const TINY: [&str; 15] = [
    "train",
    "--preset=smoke",
    "--set=model.dim=16",
    "--set=model.seq=16",
    "--set=model.ffn.hidden=24",
    "--set=model.connection.type=hyper",
    "--set=train.batch=4",
    "--set=train.micro_batch=1",
    "--set=train.shards=2",
    "--set=train.warmup=4",
    "--set=train.eval_every=40",
    "--set=train.eval_batches=2",
    "--set=train.log_every=7",
    "--set=train.checkpoint_every=3",
    "--set=train.record_every=5",
];

fn tiny<'a>(text: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&TINY[..], &["--corpus", text, "--out", out], more].concat()
}

/// Metrics without times, and the bytes of the coefficients and the weights.
fn result(directory: &Path) -> (Vec<String>, Vec<u8>) {
    let mut records = read_metrics(directory).expect("metrics");
    for record in &mut records {
        record.ms = 0.0;
    }
    let lines = records.iter().map(|record| format!("{record:?}")).collect();
    let mut bytes = fs::read(directory.join("coefficients.jsonl")).expect("coefficients");
    bytes.extend(fs::read(directory.join("model.safetensors")).expect("weights"));
    (lines, bytes)
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let text = path("text");
    // A machine that looks away for as long as a run takes kills none: then a longer run.
    for steps in [400, 1600, 6400] {
        let steps = format!("--set=train.steps={steps}");
        let [whole, killed] = ["whole", "killed"].map(|name| path(&format!("{name}{steps}")));
        let arguments = tiny(&text, &killed, &[&steps, "--threads=2"]);
        let kills = kill_on_the_way(&arguments, Path::new(&killed));
        if kills < 3 {
            continue;
        }
        let output = run(&arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        let output = run(&tiny(&text, &whole, &[&steps, "--threads=1"]));
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(result(Path::new(&killed)), result(Path::new(&whole)));
        return;
    }
    panic!("no run could be killed on its way");
}

/// Starts a run again and again, and kills it each time once it has recorded a little more,
/// until it has come to its end; how often it was killed.
fn kill_on_the_way(arguments: &[&str], run: &Path) -> u64 {
    let records = || fs::read(run.join("metrics.jsonl")).map_or(0, |text| lines(&text));
    let mut kills = 0;
    loop {
        // At another place every time: a state is saved every third step, not with a record.
        let goal = records() + 2 + kills * 7 % 5;
        let mut child = experiments(arguments)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        while records() < goal {
            if let Some(status) = child.try_wait().expect("a child") {
                assert!(status.success());
                return kills;
            }
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(700 * (kills % 4)));
        child.kill().expect("a child");
        child.wait().expect("a child");
        kills += 1;
    }
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_does() {
    signals::heed();
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let (text, out) = (path("text"), path("a run"));
    let mut child = experiments(&tiny(&text, &out, &["--set=train.steps=100000000"]))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let metrics = Path::new(&out).join("metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
        assert_eq!(child.try_wait().expect("a child"), None);
        thread::sleep(Duration::from_millis(5));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.expect("kill").success());
    let output = child.wait_with_output().expect("a child");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains(" train --resume '"), "{message}");
    let summary = read_summary(Path::new(&out))
        .expect("readable")
        .expect("written");
    assert_eq!(summary.status, Status::Interrupted);

    // With other settings it is refused, naming the one that differs.
    let output = run(&tiny(&text, &out, &["--set=train.steps=200000000"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("train.steps"),
        "{}",
        stderr(&output)
    );

    let output = run(&["sample", &out, "--tokens=20", "--prompt=so "]);
    assert!(output.status.success(), "{}", stderr(&output));
    let written = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(written.starts_with("so "), "{written}");
}

#[test]
fn a_dry_run_shows_settings_groups_and_costs_and_writes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let (text, out) = (path("text"), path("run"));
    let output = run(&tiny(&text, &out, &["--dry-run"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    let row = |name: &str| {
        let found = shown.lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name} in {shown}"))
    };
    assert!(shown.contains("weight_decay = 0.1"), "{shown}");
    assert!(row("blocks.*.attn_connection.static_alpha").contains("no decay"));
    assert!(!row("blocks.*.attn_connection.dynamic_alpha_fn").contains("no decay"));
    assert!(row("connections").contains('.'));
    assert!(!Path::new(&out).exists());
}

#[test]
fn the_profile_names_operations() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let (text, out) = (path("text"), path("run"));
    let output = run(&tiny(&text, &out, &["--profile"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    for name in ["linear", "cross_entropy", "everything else"] {
        assert!(shown.contains(name), "{shown}");
    }
}

/// Runs with these arguments after a good text and directory; expects one clear line.
fn refused(more: &[&str], status: i32, message: &str) {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let (text, out) = (path("text"), path("run"));
    let output = run(&tiny(&text, &out, more));
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{more:?}: {error}");
    assert!(error.contains(message), "{more:?}: {error}");
    assert!(error.starts_with("error: "), "{more:?}: {error}");
    assert!(!error.contains("panicked"), "{more:?}: {error}");
}

#[test]
fn impossible_settings_are_refused_with_status_2() {
    for (setting, message) in [
        (
            "--set=model.dim=18",
            "model.dim 18 over heads 2 gives heads of width 9",
        ),
        (
            "--set=model.heads=3",
            "model.dim 16 is not divisible by heads 3",
        ),
        ("--set=model.connection.rate=0", "rate is 0"),
        ("--set=model.dimm=8", "did you mean model.dim?"),
        ("--set=model.dim=big", "model.dim: expected a whole number"),
        ("--set=model.dim", "there is no ="),
        ("--set=model.vocab_size=100", "model.vocab_size is 100"),
        ("--set=train.steps=0", "train.steps is 0"),
    ] {
        refused(&[setting], 2, message);
    }
    let output = run(&["train", "--presett", "smoke"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--preset"), "{}", stderr(&output));
}

#[test]
fn unusable_texts_are_refused_with_status_1() {
    let root = tempfile::tempdir().expect("a directory");
    let given = |name: &str, content: &[u8]| {
        let path = root.path().join(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    };
    let missing = root.path().join("missing").display().to_string();
    for (path, message) in [
        (missing, "does not exist"),
        (given("empty", b""), "is empty"),
        (given("binary", b"caf\0 au lait"), "is not text"),
        (given("short", b"short"), "is too short"),
    ] {
        let output = run(&["train", "--preset=smoke", "--corpus", &path, "--dry-run"]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_with_status_1() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("file");
    fs::write(&file, "in the way").expect("a file");
    let below = file.join("run").display().to_string();
    let text = root.path().join("text");
    write_text(&text);
    let output = run(&tiny(&text.display().to_string(), &below, &[]));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot write"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_diverging_run_is_a_result() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let (text, out) = (path("text"), path("run"));
    let wild = [
        "--set=train.learning_rate=1e30",
        "--set=train.warmup=0",
        "--set=optim.clip=0",
    ];
    let output = run(&tiny(&text, &out, &wild));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("diverged at step"),
        "{}",
        stderr(&output)
    );
    let summary = read_summary(Path::new(&out))
        .expect("readable")
        .expect("written");
    assert_eq!(summary.status, Status::Diverged);
    assert!(!read_metrics(Path::new(&out)).expect("metrics").is_empty());
}

/// Uniform reads never let streams separate.
#[test]
fn a_run_writes_down_what_it_was_warned_of() {
    let root = tempfile::tempdir().expect("a directory");
    let [corpus, out] = ["text", "run"].map(|name| root.path().join(name).display().to_string());
    write_text(Path::new(&corpus));
    let uniform = "--set=model.connection={type=\"hyper\",read_init=\"uniform\",dynamic=false}";
    let short = ["--set=train.steps=12", "--set=train.warmup=2"];
    let place = ["--data", &corpus, "--out", &out, uniform];
    let trained = run(&[&["train", "--preset=smoke"][..], &place, &short].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    let noted = fs::read_to_string(Path::new(&out).join("warnings.txt")).expect("warnings");
    assert!(noted.contains("identical"), "{noted}");
    let said = stderr(&trained);
    assert!(noted.lines().all(|line| said.contains(line)), "{said}");
    let reported = run(&["report", &out]).stdout;
    assert!(String::from_utf8_lossy(&reported).contains("identical"));
}

#[test]
fn the_precision_is_part_of_the_configuration() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).display().to_string();
    write_text(&root.path().join("text"));
    let (text, steps) = (path("text"), "--set=train.steps=4");
    let [single, half] = ["single", "half"].map(path);
    for (out, precision) in [(&single, "f32"), (&half, "bf16")] {
        let output = run(&tiny(&text, out, &[steps, "--precision", precision]));
        assert!(output.status.success(), "{}", stderr(&output));
        let config = fs::read_to_string(Path::new(out).join("config.toml")).expect("settings");
        // As it was written before there was a choice, so that earlier runs go on.
        let named = config.contains("precision = \"bf16\"");
        assert_eq!(named, precision == "bf16", "{config}");
        assert_eq!(config.contains("precision"), named, "{config}");
        let weights = Path::new(out).join("model.safetensors");
        assert!(weights.exists());
    }
    assert_ne!(result(Path::new(&single)), result(Path::new(&half)));
    let other = run(&tiny(&text, &half, &[steps]));
    assert!(stderr(&other).contains("precision"), "{}", stderr(&other));
    assert!(!other.status.success());
    for device in ["wgpu", "auto"] {
        let arguments = [steps, "--precision=bf16", "--backend", device];
        let refused = run(&tiny(&text, &path("refused"), &arguments));
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("bf16"), "{}", stderr(&refused));
        assert!(!Path::new(&path("refused")).exists());
    }
}
