//! `teach` and `graph` as a user of the command line sees them.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary of this package");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("an open pipe");
    drop(stdin);
    child.wait_with_output().expect("its output")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn the_list_has_every_lesson() {
    let listed = run(&["teach", "--list"], "");
    assert!(listed.status.success());
    assert_eq!(text(&listed).lines().count(), 9);
    assert_eq!(text(&run(&["teach"], "")), text(&listed));
}

#[test]
fn a_lesson_through_a_pipe_is_plain_text_with_or_without_steps() {
    let all = run(&["teach", "1"], "");
    assert!(all.status.success());
    assert!(!text(&all).contains('\x1b'));
    assert!(text(&all).contains("Eq. 5"));
    let stepped = run(&["teach", "1", "--step"], &"\n".repeat(20));
    assert_eq!(text(&all), text(&stepped));
    let left = run(&["teach", "1", "--step"], "\nq\n\n\n\n\n");
    assert!(left.status.success());
    assert!(text(&all).starts_with(&text(&left)));
    assert!(text(&left).contains("\n2. ") && !text(&left).contains("\n3. "));
    let seeded = run(&["teach", "1", "--seed", "5"], "");
    assert_ne!(text(&all), text(&seeded));
}

#[test]
fn an_unknown_lesson_is_a_usage_error() {
    for number in ["10", "0", "one"] {
        let refused = run(&["teach", number], "");
        assert_eq!(refused.status.code(), Some(2), "{number}");
        assert!(refused.stdout.is_empty());
    }
    for number in ["10", "0"] {
        let message = String::from_utf8(run(&["teach", number], "").stderr).expect("text");
        assert_eq!(
            message,
            format!("error: there is no lesson {number}: they are 1 to 9, see teach --list\n")
        );
    }
}

#[test]
fn pages_are_written_one_by_one_or_as_a_site() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let file = path("lesson.html");
    let written = run(&["teach", "9", "--html", &file], "");
    assert!(written.status.success());
    assert_eq!(text(&written), format!("{file}\n"));
    let page = std::fs::read_to_string(&file).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.contains("Sinkhorn"));
    assert!(!page.contains("index.html"), "a page alone has no index");

    let site = path("site");
    let written = text(&run(&["teach", "--html", &site], ""));
    assert!(written.lines().count() > 1);
    for file in written.lines() {
        let page = std::fs::read_to_string(file).expect("a page");
        assert!(page.starts_with("<!doctype html>"), "{file}");
    }
    let blocked = format!("{file}/below");
    assert_eq!(
        run(&["teach", "--html", &blocked], "").status.code(),
        Some(1)
    );
    assert_eq!(
        run(&["teach", "1", "--html", &blocked], "").status.code(),
        Some(1)
    );
    assert_eq!(
        run(&["teach", "10", "--html", &file], "").status.code(),
        Some(2)
    );
    assert_eq!(
        run(&["teach", "1", "--step", "--html", &file], "")
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_graph_is_two_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("new");
    let out_text = out.to_str().expect("a plain path");
    assert!(
        run(&["graph", "model", "--out", out_text], "")
            .status
            .success()
    );
    for (file, start) in [("model.svg", "<svg"), ("model.dot", "digraph")] {
        let drawn = std::fs::read_to_string(out.join(file)).expect("a written file");
        assert!(drawn.starts_with(start), "{file}");
    }
    let blocked = out.join("model.svg").join("below");
    let refused = run(
        &["graph", "--out", blocked.to_str().expect("a plain path")],
        "",
    );
    assert_eq!(refused.status.code(), Some(1));
}
