//! A directory with a text, in which the program trains small networks.

use crate::signals;
use lab::run_dir::read_metrics;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_experiments");

/// A directory with a text.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new() -> Self {
        signals::heed();
        let directory = tempfile::tempdir().expect("a directory");
        let words = ["so ", "it ", "goes ", "and ", "ends. "];
        let text: String = (0..6000).map(|i| words[(i * i + i / 7) % 5]).collect();
        fs::write(directory.path().join("text"), text).expect("a text");
        Self { directory }
    }

    /// A place with a run in `run` that was asked to end after some steps.
    pub fn interrupted() -> Self {
        let (place, output) = Self::with_run_ended_by("-INT");
        assert_eq!(output.status.code(), Some(130), "{}", said(&output));
        place
    }

    /// A place with a run that a signal has ended on its way, and what was said. A machine that
    /// looks away meanwhile may let the run come to its end: then another one.
    pub fn with_run_ended_by(name: &str) -> (Self, Output) {
        for _ in 0..20 {
            let place = Self::new();
            let mut child = place.begun(&[STEPS]);
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

    /// Starts `train` and waits until the run has a state to go on from.
    pub fn begun(&self, more: &[&str]) -> Child {
        let mut child = self.spawn(&train(more));
        let state = self.path("run").join("state.bin");
        while !state.exists() {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none_or(|status| status.success()), "{ended:?}");
            thread::sleep(Duration::from_millis(2));
        }
        child
    }

    /// A place with a run in `run` that has ended.
    pub fn ended() -> Self {
        let place = Self::new();
        let output = place.run(&train(&[STEPS]));
        assert!(output.status.success(), "{}", said(&output));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.directory.path()).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it starts")
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("it starts")
    }

    pub fn shell(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.current_dir(self.directory.path());
        command.args(["-c", script]).output().expect("a shell")
    }

    /// Goes on with the run, which is refused with these words and leaves its files as they were,
    /// but for what says who tried.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) {
        let before = files(&self.path("run"));
        let output = self.run(&["train", "--resume=run"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        for word in words {
            assert!(said(&output).contains(word), "{word}: {}", said(&output));
        }
        let after = files(&self.path("run"));
        let who = ["command.txt", "env.json"];
        for (name, content) in before.into_iter().filter(|file| !who.contains(&&*file.0)) {
            let same = after
                .iter()
                .any(|file| *file == (name.clone(), content.clone()));
            assert!(same, "{name} was changed");
        }
    }

    /// Goes on with the run to the end; what the program says.
    #[track_caller]
    pub fn resumed(&self) -> String {
        let output = self.run(&["train", "--resume=run"]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// Changes a file of the run.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path("run").join(name);
        let mut bytes = fs::read(&path).expect("a file");
        change(&mut bytes);
        fs::write(path, bytes).expect("space");
    }

    /// Unfinished files in the run.
    pub fn temporaries(&self) -> Vec<String> {
        let names = files(&self.path("run")).into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(".tmp")).collect()
    }
}

/// Name and content of every file in a directory but its lock.
pub fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_file() && name != ".lock" {
            files.push((name, fs::read(path).expect("readable")));
        }
    }
    files.sort();
    files
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
    "--set=train.log_every=2",
    "--set=train.checkpoint_every=3",
    "--set=train.record_every=2",
];

pub fn sized<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [first, &["--preset=smoke"], &SIZES, more].concat()
}

/// `train`, into the directory `run`.
pub fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    train_into("--out=run", more)
}

/// `train`, with a flag that says where.
pub fn train_into<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    sized(&["train", out, "--set=model.connection.type=hyper"], more)
}

pub const STEPS: &str = "--set=train.steps=400";
/// More than a test waits for.
pub const ENDLESS: &str = "--set=train.steps=100000000";

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Metrics without times, and the bytes of the coefficients and the weights.
pub type Result = (Vec<String>, Vec<u8>);

/// Files that a run has left.
pub fn result(run: &Path) -> Result {
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
pub fn undisturbed() -> Result {
    static RESULT: OnceLock<Result> = OnceLock::new();
    let result = RESULT.get_or_init(|| result(&Place::ended().path("run")));
    result.clone()
}

pub fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill").success());
}
