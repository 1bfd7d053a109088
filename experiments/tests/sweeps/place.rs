//! A directory with a text, in which the program runs sweeps.

use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

/// A directory with a text to train on, `text.txt`.
pub struct Place {
    directory: TempDir,
    usual: &'static [&'static str],
}

impl Place {
    /// For commands that begin with the `usual` arguments.
    pub fn new(usual: &'static [&'static str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text: String = (0..4000)
            .map(|i| format!("{} times {} is {}.\n", i % 61, i % 53, (i % 61) * (i % 53)))
            .collect();
        fs::write(directory.path().join("text.txt"), text).expect("it is writable");
        Self { directory, usual }
    }

    /// With one more file.
    pub fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).expect("it is writable");
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The program, to be started here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_experiments"));
        command.current_dir(self.directory.path());
        command.args(self.usual).args(arguments);
        command.env("COLUMNS", "120");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output();
        output.expect("the program can be started")
    }

    /// What the program prints when it succeeds.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_done(&output);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub fn results(&self, sweep: &str) -> Value {
        serde_json::from_str(&self.read(&format!("runs/{sweep}/results.json"))).expect("JSON")
    }
}

pub fn assert_done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

/// A text without its line breaks.
pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
