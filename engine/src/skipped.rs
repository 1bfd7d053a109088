//! Message of a test that cannot run where it is.
//!
//! Public, as [`check`](crate::check) is: tests of every crate need a browser, a device or a
//! right that a machine may not have.

use std::{
    env,
    fs::OpenOptions,
    io::{self, Write},
    thread,
};

/// The variable that names a file to which [`skipped`] appends its lines.
pub const SKIPPED_TESTS: &str = "SKIPPED_TESTS";

/// Says on standard error that the test of this thread is skipped, and why: in one line that
/// `cargo test` shows although the test passes, and once more in the file of
/// [`SKIPPED_TESTS`], for the end of a long run.
pub fn skipped(reason: impl std::fmt::Display) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("skipped: {test}: {reason}\n");
    // Only what the macros print is captured.
    let _ = io::stderr().write_all(line.as_bytes());
    if let Some(path) = env::var_os(SKIPPED_TESTS) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    /// Set in the process that the next test starts.
    const INSIDE: &str = "SKIPPED_INSIDE";

    #[test]
    fn a_skipped_test_is_seen_although_it_passes() {
        if env::var_os(INSIDE).is_some() {
            eprintln!("what a test prints is captured");
            return skipped("there is no unicorn");
        }
        let list = env::temp_dir().join(format!("skipped-{}", std::process::id()));
        let output = Command::new(env::current_exe().expect("this test"))
            .args([
                "a_skipped_test_is_seen_although_it_passes",
                "--test-threads=2",
            ])
            .env(INSIDE, "1")
            .env(SKIPPED_TESTS, &list)
            .output()
            .expect("a second process");
        let listed = fs::read_to_string(&list);
        fs::remove_file(&list).expect("the list");
        assert!(output.status.success());
        let seen = String::from_utf8_lossy(&output.stderr);
        let line = "skipped::tests::a_skipped_test_is_seen_although_it_passes: there is no unicorn";
        assert_eq!(seen, format!("skipped: {line}\n"));
        assert_eq!(listed.expect("the list"), seen);
    }
}
