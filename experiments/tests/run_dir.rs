//! Run directories as a user of the crate sees them, crashes included.

use lab::{
    config::RunConfig,
    run_dir::{
        CONFIG_FILE, Environment, METRICS_FILE, MetricsLog, MetricsRecord, RunDir, RunError, RunId,
        SUMMARY_FILE, Status, Summary, read_metrics, read_summary, write_atomically,
    },
};
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

fn run_id(root: &Path) -> RunId {
    RunId::new(root, "rate", "dhc-x4", 3).expect("plain names")
}

fn open(root: &Path) -> RunDir {
    RunDir::open(&run_id(root)).expect("a fresh directory")
}

/// The metrics of a run that goes on from a step.
fn metrics_at(run: &RunDir, step: u64) -> Result<MetricsLog, RunError> {
    let path = run.path().join(METRICS_FILE);
    MetricsLog::open_at(&path, step, None, std::iter::empty())
}

fn metrics(run: &RunDir) -> Result<MetricsLog, RunError> {
    metrics_at(run, u64::MAX)
}

fn record(step: u64) -> MetricsRecord {
    MetricsRecord {
        step,
        tokens: step * 768,
        train_loss: 5.0 / (step as f64 + 0.3),
        val_loss: step.is_multiple_of(2).then(|| 4.0 / (step as f64 + 0.7)),
        val_accuracy: step.is_multiple_of(2).then(|| 1.0 / (step as f64 + 0.7)),
        val_loss_by_noise_level: step.is_multiple_of(4).then(|| {
            let loss = |level: usize| 1.0 / (step as f64 + level as f64 + 0.7);
            std::array::from_fn(|level| (level != 3).then(|| loss(level)))
        }),
        lr: 1e-3,
        grad_norm: 0.1 + step as f64,
        ms: 12.5,
    }
}

fn summary() -> Summary {
    Summary {
        status: Status::Ok,
        diverged_at_step: None,
        steps: 100,
        tokens: 76_800,
        final_train_loss: Some(1.1 + f64::EPSILON),
        final_val_loss: Some(0.1 + 0.2),
        best_val_loss: Some(0.3),
        final_val_accuracy: None,
        final_val_loss_by_noise_level: None,
        routers: Vec::new(),
        parameters: 800_000,
        flops_per_token: 1_600_000,
        wall_seconds: 60.0,
        median_step_ms: 12.5,
        backend: "cpu".to_owned(),
        corpus: "built-in".to_owned(),
        corpus_fingerprint: "00ff".to_owned(),
        data: None,
        remarks: Vec::new(),
    }
}

#[test]
fn a_run_lives_below_sweep_arm_and_seed() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    assert_eq!(run.path(), root.path().join("rate/dhc-x4/seed3"));
    assert!(run.path().is_dir());
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    for name in [
        "",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "dhc x4",
        &"x".repeat(101),
    ] {
        for (sweep, arm) in [(name, "arm"), ("sweep", name)] {
            let error = RunId::new(Path::new("runs"), sweep, arm, 0).expect_err(name);
            assert!(matches!(error, RunError::BadName { .. }));
        }
    }
}

#[test]
fn all_runs_of_a_sweep_are_found_in_order_of_arm_and_seed_number() {
    let root = tempfile::tempdir().expect("directory");
    for (arm, seed) in [("b", 10), ("a", 1), ("b", 9)] {
        let id = RunId::new(root.path(), "sweep", arm, seed).expect("plain names");
        RunDir::open(&id).expect("a fresh directory");
    }
    fs::create_dir_all(root.path().join("sweep/report/figures")).expect("create");
    fs::write(root.path().join("sweep/notes.txt"), "x").expect("write");
    let found: Vec<(String, u64)> = RunId::find_all(&root.path().join("sweep"))
        .expect("readable")
        .into_iter()
        .map(|run| (run.arm, run.seed))
        .collect();
    assert_eq!(found, [("a".into(), 1), ("b".into(), 9), ("b".into(), 10)]);
}

#[test]
fn metrics_come_back_to_the_last_bit() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let mut log = metrics(&run).expect("log");
    let records: Vec<MetricsRecord> = (1..200).map(record).collect();
    for record in &records {
        log.append(*record).expect("space");
    }
    assert_eq!(read_metrics(run.path()).expect("readable"), records);
    drop(log);
    assert_eq!(metrics(&run).expect("again").records(), records);
}

#[test]
fn a_loss_that_is_not_a_number_survives_as_such() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let mut log = metrics(&run).expect("log");
    let diverged = MetricsRecord {
        train_loss: f64::NAN,
        val_loss: Some(f64::INFINITY),
        grad_norm: f64::INFINITY,
        ..record(1)
    };
    log.append(diverged).expect("space");
    log.append(record(3)).expect("space");
    let read = read_metrics(run.path()).expect("readable");
    assert!(read[0].train_loss.is_nan() && read[0].grad_norm.is_nan());
    assert!(read[0].val_loss.expect("measured").is_nan());
    assert_eq!(read[1], record(3));
}

#[test]
fn a_line_torn_anywhere_is_cut_off_and_the_log_goes_on() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let path = run.path().join(METRICS_FILE);
    let mut log = metrics(&run).expect("log");
    (1..=3).for_each(|step| log.append(record(step)).expect("space"));
    let whole = fs::read(&path).expect("readable");
    let last_line = whole[..whole.len() - 1]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .expect("three lines")
        + 1;
    for length in last_line..whole.len() {
        fs::write(&path, &whole[..length]).expect("write");
        assert_eq!(read_metrics(run.path()).expect("readable").len(), 2);
        let mut log = metrics(&run).expect("recovers");
        assert_eq!(log.records(), [record(1), record(2)]);
        log.append(record(3)).expect("space");
        assert_eq!(fs::read(&path).expect("readable"), whole);
    }
}

#[test]
fn a_last_line_of_zeros_is_cut_off_but_damage_in_the_middle_is_named() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let path = run.path().join(METRICS_FILE);
    let mut log = metrics(&run).expect("log");
    log.append(record(1)).expect("space");
    let mut file = fs::File::options().append(true).open(&path).expect("open");
    file.write_all(b"\0\0\0\0\n").expect("write");
    assert_eq!(metrics(&run).expect("recovers").records(), [record(1)]);

    let line = fs::read_to_string(&path).expect("readable");
    fs::write(&path, format!("{line}oops\n{line}")).expect("write");
    let error = metrics(&run).expect_err("damage");
    assert!(
        matches!(error, RunError::Damaged { line: 2, .. }),
        "{error}"
    );
}

#[test]
fn rewinding_and_repeating_gives_the_bytes_of_an_uninterrupted_run() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let path = run.path().join(METRICS_FILE);
    let mut log = metrics(&run).expect("log");
    (1..=9).for_each(|step| log.append(record(step)).expect("space"));
    let whole = fs::read(&path).expect("readable");
    for checkpoint in 0..=9 {
        let mut log = metrics_at(&run, checkpoint).expect("cut");
        assert_eq!(log.records().len() as u64, checkpoint);
        (checkpoint + 1..=9).for_each(|step| log.append(record(step)).expect("space"));
        log.sync().expect("synced");
        assert_eq!(fs::read(&path).expect("readable"), whole);
    }
}

#[test]
fn a_summary_comes_back_and_is_absent_before() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    assert_eq!(run.summary().expect("readable"), None);
    run.set_summary(&summary()).expect("space");
    assert_eq!(run.summary().expect("readable"), Some(summary()));
    let text = fs::read_to_string(run.path().join(SUMMARY_FILE)).expect("readable");
    assert!(text.contains(r#""status": "ok""#), "{text}");
    fs::write(run.path().join(SUMMARY_FILE), "{\n\"status\": \"good\"}").expect("write");
    let error = read_summary(run.path()).expect_err("damage");
    assert!(
        matches!(error, RunError::Damaged { line: 2, .. }),
        "{error}"
    );
}

#[test]
fn an_interrupted_run_is_the_only_one_with_work_left() {
    assert!(Status::Ok.is_final() && Status::Diverged.is_final());
    assert!(!Status::Interrupted.is_final());
}

#[test]
fn another_configuration_is_refused_by_the_key_that_differs() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let config = |text: &str| text.parse::<toml::Table>().expect("TOML");
    let first = config("steps = 10\n[model]\ndim = 64\nheads = 4\n");
    run.set_config(&first).expect("written");
    run.set_config(&first).expect("the same");
    let stored = fs::read_to_string(run.path().join(CONFIG_FILE)).expect("readable");
    assert_eq!(config(&stored), first);

    let complaint = |text: &str| match run.set_config(&config(text)) {
        Err(RunError::ConfigMismatch {
            key,
            stored,
            wanted,
            ..
        }) => (key, stored, wanted),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        complaint("steps = 10\n[model]\ndim = 128\nheads = 4\n"),
        ("model.dim".into(), Some("64".into()), Some("128".into()))
    );
    assert_eq!(
        complaint("[model]\ndim = 64\nheads = 4\n"),
        ("steps".into(), Some("10".into()), None)
    );
    assert_eq!(
        complaint("steps = 10\n[model]\ndim = 64\nheads = 4\nrate = 2\n"),
        ("model.rate".into(), None, Some("2".into()))
    );
}

#[test]
fn a_run_begun_afresh_is_empty_and_locked() {
    let root = tempfile::tempdir().expect("directory");
    let config = RunConfig::default().to_table();
    let run = open(root.path());
    run.set_config(&config).expect("space");
    run.set_summary(&summary()).expect("space");
    drop(run);
    let run = RunDir::open_afresh(&run_id(root.path())).expect("a run");
    assert_eq!(run.summary().expect("readable"), None);
    assert!(!run.path().join(CONFIG_FILE).exists());
    RunDir::open(&run_id(root.path())).expect_err("still locked");
}

#[test]
fn the_environment_names_code_and_machine_but_no_user_and_no_host() {
    experiments::BUILD.declare();
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let environment = Environment::current(2, &engine::backend::CpuBackend);
    run.set_environment(&environment).expect("space");
    let text = fs::read_to_string(run.path().join("env.json")).expect("readable");
    let read: Environment = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, environment);
    assert!(read.rustc.starts_with("rustc 1."), "{}", read.rustc);
    assert_eq!(read.threads, 2);
    assert!(read.crates.contains_key("rayon") && !read.crates.contains_key("experiments"));
    assert!(!read.cpu.is_empty() && !read.os.is_empty() && !read.target.is_empty());
    if let Ok(host) = fs::read_to_string("/etc/hostname")
        && host.trim().len() > 6
    {
        assert!(!text.contains(host.trim()));
    }
    if let Some(home) = env::home_dir().filter(|home| home.components().count() > 1) {
        assert!(!text.contains(&home.display().to_string()));
    }
}

#[test]
fn the_command_can_be_pasted() {
    let root = tempfile::tempdir().expect("directory");
    let run = open(root.path());
    let args = ["target/release/experiments", "train", "--set", "a = 'b'"].map(str::to_owned);
    run.set_command(&args).expect("space");
    assert_eq!(
        fs::read_to_string(run.path().join("command.txt")).expect("readable"),
        "experiments train --set 'a = '\\''b'\\'''\n"
    );
}

#[test]
fn a_failed_replacement_keeps_the_old_file_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("directory");
    let path = root.path().join("state.bin");
    write_atomically(&path, b"old").expect("space");
    write_atomically(&path, b"new").expect("space");
    assert_eq!(fs::read(&path).expect("readable"), b"new");
    // A directory in the way: the rename fails after the temporary file was written.
    let blocked = root.path().join("blocked");
    fs::create_dir_all(blocked.join("inside")).expect("create");
    let error = write_atomically(&blocked, b"x").expect_err("a directory");
    assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    let mut names: Vec<_> = fs::read_dir(root.path())
        .expect("readable")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["blocked", "state.bin"]);
}

#[test]
fn an_output_directory_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().expect("directory");
    let file = root.path().join("runs");
    fs::write(&file, "not a directory").expect("write");
    let error = RunDir::open(&run_id(&file)).expect_err("a file in the way");
    assert!(matches!(error, RunError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("dhc-x4"), "{error}");
}

#[test]
fn a_lock_is_free_again_once_its_holder_is_gone() {
    let root = tempfile::tempdir().expect("directory");
    let first = open(root.path());
    match RunDir::open(&run_id(root.path())) {
        Err(RunError::Locked { holder, .. }) => {
            // Where locks are mandatory the holder's name cannot be read.
            let process = format!("process {}", std::process::id());
            assert!(holder.is_none_or(|holder| holder.starts_with(&process)));
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    open(root.path());
}

/// Set in the child process of the next test: the root in which it holds a run.
const HOLD: &str = "HOLD_A_RUN_IN";

#[test]
fn the_lock_of_a_killed_process_does_not_bar_the_next() {
    if let Some(root) = env::var_os(HOLD) {
        let _run = open(Path::new(&root));
        println!("\nheld");
        // Until it is killed, or whoever started it has ended.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let root = tempfile::tempdir().expect("directory");
    let mut child = Command::new(env::current_exe().expect("this test"))
        .args(["the_lock_of_a_killed_process_does_not_bar_the_next"])
        .args(["--exact", "--nocapture"])
        .env(HOLD, root.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    assert!(
        output
            .lines()
            .any(|line| line.is_ok_and(|line| line == "held"))
    );
    let refused = RunDir::open(&run_id(root.path()));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(matches!(refused, Err(RunError::Locked { .. })));
    open(root.path());
}
