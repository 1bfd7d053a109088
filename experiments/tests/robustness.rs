//! Whatever ends a run early leaves a state from which it goes on to the same bytes.

#![cfg(unix)]

use engine::skipped::skipped;
use experiments::run_dir::read_metrics;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_experiments");

/// A directory with a text.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let words = ["so ", "it ", "goes ", "and ", "ends. "];
        let text: String = (0..6000).map(|i| words[(i * i + i / 7) % 5]).collect();
        fs::write(directory.path().join("text"), text).expect("a text");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.directory.path()).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("it starts")
    }

    /// Starts `train` and waits until the run has a state to go on from.
    fn begun(&self) -> Child {
        let mut child = self.spawn(&train(&[STEPS]));
        let state = self.path("run").join("state.bin");
        while !state.exists() {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
            thread::sleep(Duration::from_millis(2));
        }
        child
    }

    /// A place with a run that a signal has ended on its way, and what was said. A machine that
    /// looks away meanwhile may let the run come to its end: then another one.
    fn with_run_ended_by(name: &str) -> (Self, Output) {
        for _ in 0..20 {
            let place = Self::new();
            let mut child = place.begun();
            if name == "-HUP" {
                drop(child.stderr.take());
            }
            signal(name, &child);
            let output = child.wait_with_output().expect("a child");
            if output.status.code() != Some(0) {
                return (place, output);
            }
        }
        panic!("{name} ends no run");
    }
}

const SIZES: [&str; 12] = [
    "--data=text",
    "--set=model.dim=16",
    "--set=model.seq=16",
    "--set=model.ffn.hidden=24",
    "--set=train.batch=4",
    "--set=train.micro_batch=1",
    "--set=train.warmup=4",
    "--set=train.eval_every=40",
    "--set=train.eval_batches=2",
    "--set=train.log_every=7",
    "--set=train.checkpoint_every=3",
    "--set=train.record_every=5",
];

fn sized<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [first, &["--preset=smoke"], &SIZES, more].concat()
}

/// `train`, into the directory `run`.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    sized(&["train", "--out=run"], more)
}

const STEPS: &str = "--set=train.steps=400";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Metrics without times, and the bytes of the coefficients and the weights.
fn result(run: &Path) -> (Vec<String>, Vec<u8>) {
    let mut records = read_metrics(run).expect("metrics");
    for record in &mut records {
        record.ms = 0.0;
    }
    let lines = records.iter().map(|record| format!("{record:?}")).collect();
    let mut bytes = fs::read(run.join("coefficients.jsonl")).unwrap_or_default();
    bytes.extend(fs::read(run.join("model.safetensors")).expect("weights"));
    (lines, bytes)
}

/// What an undisturbed `train` leaves.
fn undisturbed() -> (Vec<String>, Vec<u8>) {
    let place = Place::new();
    let output = place.run(&train(&[STEPS]));
    assert!(output.status.success(), "{}", said(&output));
    result(&place.path("run"))
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
}

/// Two runs at a time, killed at moments that have nothing to do with what they are doing.
#[test]
fn a_sweep_killed_again_and_again_ends_in_the_same_bytes() {
    // A machine that looks away for long may let all runs come to their end: then longer ones.
    for steps in ["--set=train.steps=300", "--set=train.steps=1200"] {
        let sweep = sized(
            &["ablation-static", "--name=sweep", "--seeds=1", "--jobs=2"],
            &[steps],
        );
        let place = Place::new();
        let kills = kill_again_and_again(&place, &sweep);
        if kills < 5 {
            continue;
        }
        let alone = Place::new();
        for place in [&place, &alone] {
            let output = place.run(&sweep);
            assert!(output.status.success(), "{}", said(&output));
        }
        for arm in ["pre-norm", "shc-x2", "dhc-x2", "shc-x4", "dhc-x4"] {
            let run = |place: &Place| result(&place.path(&format!("runs/sweep/{arm}/seed0")));
            assert!(run(&place) == run(&alone), "{arm} after {kills} kills");
        }
        return;
    }
    panic!("no sweep could be killed on its way");
}

/// How often a sweep was killed until it ended, sixty times at most.
fn kill_again_and_again(place: &Place, sweep: &[&str]) -> u32 {
    let mut kills = 0;
    let mut moment = 12_345_u64;
    while kills < 60 {
        let mut child = place.spawn(sweep);
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        thread::sleep(Duration::from_millis(15 + (moment >> 40) % 120));
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        child.kill().expect("a child");
        child.wait().expect("a child");
        kills += 1;
    }
    kills
}

/// Ctrl-C, a batch system, a terminal that is closed with all its output.
#[test]
fn every_request_to_end_leaves_a_run_that_says_how_to_go_on_and_does() {
    let expected = undisturbed();
    for name in ["-INT", "-TERM", "-HUP"] {
        let (place, output) = Place::with_run_ended_by(name);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(130), "{name}: {text}");
        assert!(
            name == "-HUP" || text.contains("train --resume run"),
            "{text}"
        );
        let output = place.run(&["train", "--resume=run"]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(
            said(&output).contains("going on from step"),
            "{}",
            said(&output)
        );
        assert!(result(&place.path("run")) == expected, "{name}");
    }
}

#[test]
fn a_second_process_on_a_run_is_turned_away_and_harms_nothing() {
    let expected = undisturbed();
    let place = Place::new();
    let mut first = place.begun();
    let second = place.run(&train(&[STEPS]));
    // The first may have been quicker.
    if first.try_wait().expect("a child").is_none() {
        let holder = format!("process {} on ", first.id());
        assert_eq!(second.status.code(), Some(1), "{}", said(&second));
        assert!(said(&second).contains(&holder), "{}", said(&second));
    }
    assert!(first.wait().expect("a child").success());
    assert!(result(&place.path("run")) == expected);
}

/// `/dev/full` in place of the file that the state is written to.
#[test]
fn a_state_that_cannot_be_written_ends_the_run_and_the_one_before_is_gone_on_from() {
    let expected = undisturbed();
    let (place, _) = Place::with_run_ended_by("-INT");
    symlink("/dev/full", place.path("run/.state.bin.tmp")).expect("a link");
    let output = place.run(&["train", "--resume=run"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("no space left"), "{}", said(&output));
    let output = place.run(&["train", "--resume=run"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(result(&place.path("run")) == expected);
}

/// Runs a shell script in a name space in which it may mount; `None` where that is not allowed.
fn in_name_space(place: &Place, script: &str) -> Option<Output> {
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.current_dir(place.directory.path()).output()
    };
    if !inside("mount -t tmpfs none /mnt").is_ok_and(|output| output.status.success()) {
        skipped("no name space to mount a disk in");
        return None;
    }
    Some(inside(script).expect("unshare"))
}

/// Of a script that says the status of each of its two attempts.
#[track_caller]
fn fails_and_then_succeeds(output: &Output) {
    let statuses: String = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.starts_with("status"))
        .collect();
    assert_eq!(statuses, "status 1status 0", "{}", said(output));
}

/// A real file system that is too small for two states, and larger afterwards.
#[test]
fn a_full_disk_is_reported_and_with_more_space_the_run_goes_on() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).expect("a directory");
    let arguments = sized(&["train", "--out=disk/run"], &[STEPS]).join(" ");
    let script = format!(
        "mount -t tmpfs -o size=256k none disk && {PROGRAM} {arguments}; echo status $?; \
         mount -o remount,size=64m disk && {PROGRAM} {arguments}; echo status $?; cp -r disk/run run"
    );
    let Some(output) = in_name_space(&place, &script) else {
        return;
    };
    fails_and_then_succeeds(&output);
    assert!(said(&output).contains("no space left"), "{}", said(&output));
    assert!(
        said(&output).contains("going on from step"),
        "{}",
        said(&output)
    );
    assert!(result(&place.path("run")) == undisturbed());
}

#[test]
fn a_disk_that_becomes_read_only_ends_the_run_with_its_state_kept() {
    let arguments = sized(&["train", "--out=disk/run"], &[STEPS]).join(" ");
    let script = format!(
        "mount -t tmpfs none disk && {{ {PROGRAM} {arguments} & }}; \
         while ! [ -e disk/run/state.bin ]; do sleep 0.01; done; kill -9 $!; wait; \
         [ -e disk/run/summary.json ] && echo ended; \
         mount -o remount,ro disk && {PROGRAM} {arguments}; echo status $?; \
         mount -o remount,rw disk && {PROGRAM} {arguments}; echo status $?; cp -r disk/run run"
    );
    for _ in 0..20 {
        let place = Place::new();
        fs::create_dir(place.path("disk")).expect("a directory");
        let Some(output) = in_name_space(&place, &script) else {
            return;
        };
        // The run may have been quicker than its killer.
        if String::from_utf8_lossy(&output.stdout).contains("ended") {
            continue;
        }
        fails_and_then_succeeds(&output);
        assert!(said(&output).contains("cannot write"), "{}", said(&output));
        assert!(result(&place.path("run")) == undisturbed());
        return;
    }
    panic!("no run could be killed on its way");
}
