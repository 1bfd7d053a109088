//! Several processes at one sweep, signals that are ignored, and disks that cannot be written.

#![cfg(unix)]

#[path = "common/signals.rs"]
mod signals;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const SWEEP: &str = r#"
preset = "smoke"
seeds = 2
baseline = { model.connection = { type = "pre_norm" } }
[set]
train.warmup = 2
train.eval_batches = 2
model.dim = 16
model.ffn.hidden = 24
[grid]
model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }]
"#;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        signals::heed();
        let directory = tempfile::tempdir().expect("a directory");
        let text: String = (0..4000)
            .map(|i| format!("{} by {}. ", i % 61, i % 53))
            .collect();
        fs::write(directory.path().join("text"), text).expect("space");
        fs::write(directory.path().join("sweep.toml"), SWEEP).expect("space");
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        command.current_dir(self.directory.path()).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn sweep(&self, steps: usize, more: &[&str]) -> Command {
        let steps = format!("train.steps={steps}");
        let usual = ["sweep", "sweep.toml", "--data", "text", "--set", &steps];
        self.command(&[&usual, more].concat())
    }

    /// Waits until a file is there.
    fn wait_for(&self, file: &str, process: &mut Child) {
        while !self.path(file).exists() {
            assert!(
                process.try_wait().expect("a child").is_none(),
                "it has ended"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn said(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const FIRST_RUN: &str = "runs/sweep/pre-norm/seed0/metrics.jsonl";
/// Until it is stopped.
const LONG: usize = 100_000_000;
const SHORT: usize = 200;

/// Returns whether with more jobs, other settings or `--force`: the first goes on as if alone.
#[test]
fn a_second_start_of_a_sweep_is_turned_away_and_the_first_goes_on() {
    let place = Place::new();
    let mut first = place
        .sweep(LONG, &["--jobs", "1"])
        .spawn()
        .expect("it starts");
    place.wait_for(FIRST_RUN, &mut first);
    let process = format!("process {} on ", first.id());
    for more in [
        &["--jobs", "4"][..],
        &["--force"],
        &["--set", "train.learning_rate=0.01"],
    ] {
        let second = place.sweep(LONG, more).output().expect("it starts");
        let said = said(&second);
        assert_eq!(second.status.code(), Some(1), "{more:?}: {said}");
        assert!(
            said.contains(&process) && said.contains("is working on the sweep"),
            "{said}"
        );
        assert!(
            first.try_wait().expect("a child").is_none(),
            "{more:?} ended the first"
        );
    }
    kill("-TERM", &first);
    let first = first.wait_with_output().expect("it ends");
    assert_eq!(first.status.code(), Some(130), "{}", said(&first));
    assert!(
        said(&first).contains("everything is saved"),
        "{}",
        said(&first)
    );
}

/// A task and the whole sweep take the runs in turn, each of which is done once.
#[test]
fn a_task_beside_the_sweep_waits_for_its_run_and_keeps_what_it_finds() {
    let place = Place::new();
    let mut sweep = place
        .sweep(SHORT, &["--jobs", "1"])
        .spawn()
        .expect("it starts");
    place.wait_for(FIRST_RUN, &mut sweep);
    // The run that the sweep works on, and the one that it comes to last.
    let mut tasks = ["0", "3"].map(|task| place.sweep(SHORT, &["--task", task]).spawn());
    for task in &mut tasks {
        let task = task.as_mut().expect("it starts");
        assert_eq!(task.wait().expect("a child").code(), Some(0));
    }
    let sweep = sweep.wait_with_output().expect("it ends");
    done(&sweep);
    assert!(said(&sweep).contains("4 of 4 runs"), "{}", said(&sweep));
}

#[test]
fn a_finished_table_is_printed_by_many_at_once_and_where_nothing_can_be_written() {
    let place = Place::new();
    let table = done(&place.sweep(6, &[]).output().expect("it starts"));
    let again: Vec<Child> = (0..6)
        .map(|_| place.sweep(6, &[]).spawn().expect("it starts"))
        .collect();
    for one in again {
        assert_eq!(done(&one.wait_with_output().expect("it ends")), table);
    }
    let hidden = |name: &str| name.starts_with('.') && name.ends_with(".tmp");
    let names = fs::read_dir(place.path("runs/sweep")).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    assert_eq!(
        names.filter(|name| hidden(&name.to_string_lossy())).count(),
        0
    );

    let runs = ["", "/pre-norm", "/pre-norm/seed0", "/pre-norm/seed1"];
    let mode = |mode| {
        for run in runs {
            let path = place.path(&format!("runs/sweep{run}"));
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its own");
        }
    };
    mode(0o555);
    if fs::write(place.path("runs/sweep/probe"), "").is_ok() {
        // Nothing is read-only for root but a file system that is.
        let mounted = Command::new("unshare").args(["-m", "true"]).status();
        if !mounted.is_ok_and(|status| status.success()) {
            mode(0o755);
            println!("skipped: root, and no mounts of its own");
            return;
        }
        let sweep = place.sweep(6, &[]);
        let program = sweep.get_program().to_owned();
        let script =
            "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && exec \"$0\" \"$@\"";
        let read_only = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(program)
            .args(sweep.get_args())
            .current_dir(place.directory.path())
            .output()
            .expect("unshare");
        assert_eq!(done(&read_only), table);
        assert!(
            said(&read_only).contains("remark: "),
            "{}",
            said(&read_only)
        );
    } else {
        let read_only = place.sweep(6, &[]).output().expect("it starts");
        assert_eq!(done(&read_only), table);
        assert!(
            said(&read_only).contains("remark: "),
            "{}",
            said(&read_only)
        );
    }
    mode(0o755);
}

fn kill(signal: &str, process: &Child) {
    let told = Command::new("kill")
        .args([signal, &process.id().to_string()])
        .status();
    assert!(told.expect("kill").success());
}

/// `nohup` ignores SIGHUP, and shells start what is in the background without SIGINT.
#[test]
fn signals_that_are_ignored_at_the_start_stay_ignored() {
    for (number, name) in [
        (libc::SIGHUP, "-HUP"),
        (libc::SIGINT, "-INT"),
        (libc::SIGTERM, "-TERM"),
    ] {
        let place = Place::new();
        let run = |ignored: bool| {
            let steps = if ignored { SHORT } else { LONG };
            let mut command = place.sweep(steps, &["--task", "0"]);
            if ignored {
                // SAFETY: `signal` is one of the calls that are allowed between fork and exec.
                unsafe {
                    command.pre_exec(move || {
                        libc::signal(number, libc::SIG_IGN);
                        Ok(())
                    });
                }
            }
            let mut child = command.spawn().expect("it starts");
            place.wait_for(FIRST_RUN, &mut child);
            kill(name, &child);
            let ended = child.wait_with_output().expect("it ends");
            fs::remove_dir_all(place.path("runs")).expect("its own");
            ended.status.code()
        };
        assert_eq!(run(true), Some(0), "{name} was to be ignored");
        assert_eq!(run(false), Some(130), "{name} was to be heeded");
    }
}
