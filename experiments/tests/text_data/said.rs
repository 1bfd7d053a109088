//! What commands say of the data, and what they do with them.

use super::*;

#[test]
fn a_run_says_what_it_read_on_the_terminal_and_in_its_files() {
    let dir = directory();
    let data = dir.path().join("data");
    write(&data, "a.txt", prose("play", 20_000));
    write(&data, "b.md", utf16(&prose("note", 4000)));
    write(&data, "logo.png", b"\x89PNG\r\n\x1a\n\0");
    let run = dir.path().join("run");
    let arguments = [
        "train",
        "--preset",
        "smoke",
        "--set",
        "train.steps=2",
        "--data",
        path(&data),
    ];
    let dry = experiments(&[&arguments[..], &["--dry-run"]].concat());
    let trained = experiments(&[&arguments[..], &["--out", path(&run)]].concat());
    assert!(
        dry.status.success() && trained.status.success(),
        "{}",
        stderr(&trained)
    );
    let joined = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [joined(stdout(&dry)), joined(stderr(&trained))] {
        for words in [
            "left out: logo.png (a PNG image)",
            "read: b.md as UTF-16",
            "trained on: 2 files",
            "validating: a.txt from",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
    }
    let json = |name: &str| -> serde_json::Value {
        let text = fs::read_to_string(run.join(name)).expect(name);
        serde_json::from_str(&text).expect("JSON")
    };
    let environment = json("env.json");
    assert_eq!(environment["data"]["left_out"][0]["name"], "logo.png");
    assert_eq!(environment["data"]["files"][1]["name"], "b.md");
    assert_eq!(json("summary.json")["data"]["reasons"]["a PNG image"], 1);
    let reported = experiments(&["report", path(&run)]);
    assert!(reported.status.success(), "{}", stderr(&reported));
    let page = fs::read_to_string(run.join("report/report.html")).expect("a page");
    assert!(page.contains("<h2>Data</h2>") && page.contains("logo.png (a PNG image)"));
}

#[test]
fn a_text_to_look_at_is_read_by_the_same_rule() {
    let dir = directory();
    let text = write(dir.path(), "text.gz", gzip(prose("text", 20_000)));
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=1"];
    let trained =
        experiments(&[&smoke[..], &["--data", path(&text), "--out", path(&run)]].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    let look = |text: &Path| experiments(&["inspect", path(&run), "--text", path(text)]);
    assert!(look(&text).status.success());
    let zeros = write(dir.path(), "zeros", [0; 900]);
    let refused = look(&zeros);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("0x00"), "{}", stderr(&refused));
}

#[test]
fn a_run_whose_data_have_changed_does_not_go_on_in_silence() {
    let dir = directory();
    let data = write(dir.path(), "data.txt", prose("text", 20_000));
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=1"];
    let trained =
        experiments(&[&smoke[..], &["--data", path(&data), "--out", path(&run)]].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    // As if it had been stopped before its end, by a version that cut the text in another way.
    fs::remove_file(run.join("summary.json")).expect("remove");
    write(dir.path(), "data.txt", prose("next", 20_000));
    let resumed = experiments(&["train", "--resume", path(&run)]);
    assert_eq!(resumed.status.code(), Some(1));
    assert!(
        stderr(&resumed).contains("other data"),
        "{}",
        stderr(&resumed)
    );
}

#[test]
fn mixup_is_for_images_and_refused_for_text() {
    let refused = experiments(&[
        "train",
        "--preset",
        "smoke",
        "--set",
        "data.mixup=0.2",
        "--dry-run",
    ]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("text is not mixed"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_partial_set_is_of_images_and_refused_for_text() {
    let smoke = ["train", "--preset", "smoke", "--dry-run"];
    let refused = experiments(&[&smoke[..], &["--set", "data.partial=true"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("data.partial is true"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_refused_with_the_reason() {
    use std::os::unix::ffi::OsStrExt;
    let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(["train", "--preset", "smoke", "--dry-run", "--data"])
        .arg(std::ffi::OsStr::from_bytes(b"caf\xe9.txt"))
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(
        said.contains("not UTF-8") && said.contains("rename"),
        "{said}"
    );
}

/// As a directory that is named like an option, and has a control character in its name.
#[test]
fn what_a_run_suggests_can_be_pasted_and_gives_the_terminal_no_orders() {
    let dir = directory();
    let run = |out: &str| {
        Command::new(env!("CARGO_BIN_EXE_experiments"))
            .current_dir(dir.path())
            .args(["train", "--preset", "smoke", "--set", "train.steps=1", out])
            .output()
            .expect("the program starts")
    };
    let said = stdout(&run("--out=--force"));
    assert!(said.ends_with(" sample ./--force\n"), "{said}");
    let said = stdout(&run("--out=red\u{1b}[31m"));
    assert!(said.contains(r"red\u{1b}[31m"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_run_worse_than_guessing_says_so_with_the_likely_reason() {
    let dir = tokens(&[1; 9000], &[2; 3000], Some(65));
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=60"];
    let place = ["--data", path(dir.path()), "--out", path(&run)];
    let trained = experiments(&[&smoke[..], &place].concat());
    let joined = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = joined(stderr(&trained));
    let words = "is worse than guessing (4.174): the training loss is";
    assert!(said.contains(words), "{said}");
    let summary = fs::read_to_string(run.join("summary.json")).expect("a summary");
    assert!(summary.contains(words), "{summary}");
    let reported = joined(stdout(&experiments(&["report", path(&run)])));
    assert_eq!(reported.matches(words).count(), 1, "{reported}");
}

#[test]
fn an_empty_path_is_not_the_built_in_text() {
    let output = experiments(&["train", "--preset", "smoke", "--dry-run", "--data", ""]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("an empty path"),
        "{said}"
    );
    let both = experiments(&["train", "--dry-run", "--data", "a", "--set", "data.path=b"]);
    let said = String::from_utf8_lossy(&both.stderr);
    assert!(said.contains("data.path is set beside it"), "{said}");
}

#[cfg(unix)]
#[test]
fn names_of_files_give_the_terminal_no_orders() {
    let dir = directory();
    for name in ["a\u{1b}[31m.txt", "b\n.txt"] {
        write(dir.path(), name, prose(name, 4000));
    }
    let path = dir.path().to_str().expect("UTF-8");
    let run =
        |path: &str| experiments(&["train", "--preset", "smoke", "--dry-run", "--data", path]);
    let said = stdout(&run(path));
    assert!(
        said.contains(r"a\u{1b}[31m.txt") && said.contains(r"b\n.txt"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said}");
    let missing = run(&format!("{path}/none\u{1b}[2J"));
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(
        said.contains(r"none\u{1b}[2J") && !said.contains('\u{1b}'),
        "{said}"
    );
}

#[test]
fn a_short_text_is_told_what_both_of_its_parts_need() {
    let dir = directory();
    let run = |bytes: usize| {
        let path = write(dir.path(), "short.txt", "x".repeat(bytes));
        let path = path.to_str().expect("UTF-8");
        let output = experiments(&["train", "--preset", "smoke", "--dry-run", "--data", path]);
        stderr(&output)
    };
    let needed = |said: &str| -> usize {
        let (_, rest) = said.split_once("at least ").expect("a number");
        let (number, _) = rest.split_once(" bytes").expect("a unit");
        number.parse().expect("a number")
    };
    let enough = needed(&run(1));
    for bytes in [20, 330, enough - 50] {
        assert_eq!(needed(&run(bytes)), enough);
    }
    assert_eq!(run(enough), "");
}
