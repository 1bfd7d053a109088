//! `report`: everything from the files of runs.

#[path = "common/browser.rs"]
mod browser;

use browser::{chromium, shown, width_in};
use engine::skipped::skipped;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const LOSSES: [(&str, [f64; 3]); 3] = [
    ("pre-norm", [2.0, 2.2, 2.1]),
    ("dhc-x4", [1.951, 2.149, 2.050]),
    ("dhc-x8", [1.9, 2.3, 2.1]),
];

/// A run of 100 steps as `train` and the ablations leave it, without weights.
fn write_run(directory: &Path, loss: f64, ms: f64) {
    fs::create_dir_all(directory).expect("a directory");
    let lines: String = (1..=10)
        .map(|i| {
            let record = json!({
                "step": 10 * i, "tokens": 1000 * i, "train_loss": loss + 1.0 / f64::from(i),
                "val_loss": loss + 0.5 * f64::from(10 - i) / 10.0, "lr": 1e-3, "grad_norm": 1.0,
                "ms": ms,
            });
            format!("{record}\n")
        })
        .collect();
    let summary = json!({
        "status": "ok", "diverged_at_step": null, "steps": 100, "tokens": 10_000,
        "final_train_loss": loss, "final_val_loss": loss, "best_val_loss": loss,
        "parameters": 1000, "flops_per_token": 2000, "wall_seconds": 1.0, "median_step_ms": ms,
        "corpus": "text", "corpus_fingerprint": "0123456789abcdef0123",
    });
    for (name, text) in [
        (
            "config.toml",
            "[train]\nsteps = 100\nwarmup = 10\n".to_owned(),
        ),
        (
            "command.txt",
            "experiments ablation-rate --name <test>\n".to_owned(),
        ),
        ("metrics.jsonl", lines),
        ("summary.json", summary.to_string()),
    ] {
        fs::write(directory.join(name), text).expect("a file");
    }
}

fn write_sweep(root: &Path) {
    for (arm, losses) in LOSSES {
        for (seed, loss) in losses.into_iter().enumerate() {
            let ms = if arm == "pre-norm" { 10.0 } else { 12.5 };
            write_run(&root.join(arm).join(format!("seed{seed}")), loss, ms);
        }
    }
}

fn report(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .arg("report")
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    let sweep = root.path().join("sweep");
    write_sweep(&sweep);
    (root, sweep)
}

#[test]
fn what_runs_were_warned_of_is_listed_once_for_all_seeds() {
    let (_root, sweep) = made();
    for seed in [0, 2] {
        let path = sweep.join(format!("dhc-x4/seed{seed}/warnings.txt"));
        fs::write(path, "all 4 streams are still identical\n").expect("a file");
    }
    let output = report(&[sweep.to_str().expect("a path")]);
    let note = "note: dhc-x4 seed 0, 2: warning: all 4 streams are still identical";
    assert!(
        text(&output.stdout).contains(note),
        "{}",
        text(&output.stdout)
    );
    let page = fs::read_to_string(sweep.join("report/report.html")).expect("a page");
    assert!(
        page.contains("<li>dhc-x4 seed 0, 2: warning: all 4 streams"),
        "{page}"
    );
}

/// The table of an older sweep does not pretend that its times can be compared.
#[test]
fn step_times_of_a_sweep_without_a_calibration_are_called_that() {
    let (_root, sweep) = made();
    let output = report(&[sweep.to_str().expect("a path")]);
    assert!(
        text(&output.stdout).contains("NOT CALIBRATED"),
        "{output:?}"
    );
    let times = json!({"cpu": "a processor", "threads": 1,
        "rounds_ms": {"pre-norm": [10.0, 10.1, 9.9], "dhc-x4": [12.0, 12.1, 15.9]}});
    fs::write(sweep.join("step_times.json"), times.to_string()).expect("a file");
    let shown = text(&report(&[sweep.to_str().expect("a path")]).stdout);
    assert!(
        shown.contains("12.1 (32 %)!") && shown.contains("10.0 (2 %)"),
        "{shown}"
    );
    let joined = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        joined.contains("differ by more than a tenth for DHC x4"),
        "{shown}"
    );
    assert!(joined.contains("not calibrated: DHC x8"), "{shown}");
}

#[test]
fn everything_is_rebuilt_from_the_files_of_runs() {
    let (_root, sweep) = made();
    let output = report(&[sweep.to_str().expect("a path")]);
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    // The name and the paper's table come from the command line of the runs.
    assert!(
        shown.contains("ablation-rate:") && shown.contains("PAPER (Table 1)"),
        "{shown}"
    );
    let row = shown.lines().find(|line| line.starts_with("DHC x4"));
    assert!(
        row.is_some_and(|row| row.contains("−0.0500") && row.contains("better")),
        "{shown}"
    );
    let row = shown.lines().find(|line| line.starts_with("DHC x8"));
    assert!(row.is_some_and(|row| row.contains("not shown")), "{shown}");
    assert!(!shown.contains("note:"), "{shown}");
    for line in shown.lines().filter(|line| !line.starts_with("written:")) {
        let width = unicode_width::UnicodeWidthStr::width(line);
        assert!(width <= 80 || line.contains('/'), "{line}");
    }
    for name in [
        "report.md",
        "report.csv",
        "report.html",
        "differences.svg",
        "losses.svg",
    ] {
        assert!(sweep.join("report").join(name).is_file(), "{name}");
    }
}

#[test]
fn the_page_has_the_numbers_of_the_csv_and_needs_no_network() {
    let (_root, sweep) = made();
    assert!(report(&[sweep.to_str().expect("a path")]).status.success());
    let read = |name| fs::read_to_string(sweep.join("report").join(name)).expect(name);
    let (page, csv) = (read("report.html"), read("report.csv"));
    for outside in ["http://", "https://", "url(", "src=", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("experiments ablation-rate --name &lt;test&gt;"));
    assert!(page.contains("train.steps = 100"));
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let column = |name| header.iter().position(|h| *h == name).expect(name);
    let mut compared = 0;
    for row in lines {
        let loss: f64 = row[column("val_loss")].parse().expect("a loss");
        assert!(page.contains(&format!(">{loss:.4}</td>")), "{row:?}");
        let Ok(delta) = row[column("delta")].parse::<f64>() else {
            continue;
        };
        let [low, high] = ["delta_low", "delta_high"].map(|name| {
            let end: f64 = row[column(name)].parse().expect("an end");
            end
        });
        let signed = |x: f64| match format!("{x:+.4}").replace('-', "−") {
            // What is rounded to zero has no sign.
            zero if zero.ends_with("0.0000") => "0.0000".to_owned(),
            other => other,
        };
        let shown = format!("{} [{}, {}]", signed(delta), signed(low), signed(high));
        assert!(page.contains(&shown), "{shown}");
        compared += 1;
    }
    assert_eq!(compared, 2);
}

#[test]
fn unfinished_missing_and_damaged_runs_are_named_and_the_others_reported() {
    let (_root, sweep) = made();
    let of = |arm: &str, seed: u64| sweep.join(arm).join(format!("seed{seed}"));
    fs::remove_file(of("dhc-x4", 2).join("summary.json")).expect("it was there");
    fs::write(of("dhc-x8", 0).join("summary.json"), "{ torn").expect("a file");
    fs::write(of("dhc-x8", 1).join("config.toml"), "= nothing").expect("a file");
    fs::remove_dir_all(of("pre-norm", 1)).expect("it was there");
    fs::write(sweep.join("sweep.toml"), "also = torn = ").expect("a file");
    let output = report(&[sweep.to_str().expect("a path")]);
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout).replace("\n  ", " ");
    for said in [
        "dhc-x4 seed 2: not finished, at step 100 of 100",
        "dhc-x8 seed 0:",
        "dhc-x8 seed 1: config.toml is damaged",
        "pre-norm seed 1: no such run",
        "sweep.toml is damaged",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    assert!(
        shown.lines().any(|line| line.starts_with("DHC x4")),
        "{shown}"
    );
}

#[test]
fn the_directory_of_a_single_run_is_reported_too() {
    let root = tempfile::tempdir().expect("a directory");
    let run = root.path().join("mine");
    write_run(&run, 1.5, 10.0);
    fs::remove_file(run.join("command.txt")).expect("it was there");
    let output = report(&[run.to_str().expect("a path")]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        shown
            .lines()
            .any(|l| l.starts_with("mine") && l.contains("1.5000")),
        "{shown}"
    );
}

#[test]
fn a_folder_of_single_runs_compares_them_and_settings_of_another_version_are_named() {
    let root = tempfile::tempdir().expect("a directory");
    for (name, loss) in [("pre-norm", 1.5), ("mine", 1.4)] {
        let run = root.path().join(name);
        write_run(&run, loss, 10.0);
        let config = "[train]\nsteps = 100\nwarmup = 10\n[data]\nno_longer_known = 1\n";
        fs::write(run.join("config.toml"), config).expect("a file");
    }
    let output = report(&[root.path().to_str().expect("a path")]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let row = shown.lines().find(|line| line.starts_with("mine"));
    assert!(
        row.is_some_and(|row| row.contains("−0.1000 (n=1)")),
        "{shown}"
    );
    assert!(shown.contains("another version of the program"), "{shown}");
}

#[test]
fn runs_that_nothing_is_compared_with_are_nobodys_baseline() {
    let root = tempfile::tempdir().expect("a directory");
    for (name, loss) in [("yesterday", 1.5), ("today", 1.4)] {
        write_run(&root.path().join(name), loss, 10.0);
    }
    let output = report(&[root.path().to_str().expect("a path")]);
    let shown = text(&output.stdout);
    assert!(shown.contains("no baseline is known"), "{shown}");
    let row = shown.lines().find(|line| line.starts_with("today"));
    assert!(row.is_some_and(|row| !row.contains("baseline")), "{shown}");
    // Nor is there a column of differences, or of verdicts on them.
    assert!(
        !shown.contains("Δ ours") && !shown.contains("verdict"),
        "{shown}"
    );
}

#[test]
fn no_difference_has_no_sign_in_a_plot() {
    let (_root, sweep) = made();
    for (seed, loss) in LOSSES[0].1.into_iter().enumerate() {
        write_run(&sweep.join(format!("dhc-x4/seed{seed}")), loss, 12.5);
    }
    assert!(report(&[sweep.to_str().expect("a path")]).status.success());
    let plot = fs::read_to_string(sweep.join("report/differences.svg")).expect("a plot");
    assert!(plot.contains(">0.0000 [0.0000, 0.0000]<"), "{plot}");
    assert!(
        !plot.contains("+0.0000") && !plot.contains("−0.0000"),
        "{plot}"
    );
}

#[test]
fn watch_prints_once_into_a_pipe() {
    let (_root, sweep) = made();
    fs::remove_file(sweep.join("dhc-x8/seed2/summary.json")).expect("it was there");
    let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .arg("watch")
        .arg(&sweep)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("8 of 9 runs have ended"), "{shown}");
    assert!(
        shown.contains("100/100") && !shown.contains('\x1b'),
        "{shown}"
    );
    for line in shown.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
}

#[test]
fn another_baseline_can_be_named_and_a_wrong_one_is_refused() {
    let (_root, sweep) = made();
    let path = sweep.to_str().expect("a path");
    let shown = text(&report(&[path, "--baseline", "dhc-x8"]).stdout);
    let row = shown.lines().find(|line| line.starts_with("DHC x8"));
    assert!(row.is_some_and(|row| row.contains("baseline")), "{shown}");
    let output = report(&[path, "--baseline", "dhc-x9"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("dhc-x9") && said.contains("dhc-x4, dhc-x8, pre-norm"),
        "{said}"
    );
}

#[test]
fn a_place_without_runs_says_what_was_expected() {
    let root = tempfile::tempdir().expect("a directory");
    for path in [root.path().to_owned(), root.path().join("nowhere")] {
        let output = report(&[path.to_str().expect("a path")]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!output.stderr.is_empty());
    }
    let said = text(&report(&[root.path().to_str().expect("a path")]).stderr);
    assert!(said.contains("ARM/seedN/config.toml"), "{said}");
}

#[cfg(not(feature = "png-plots"))]
#[test]
fn png_without_the_feature_says_how_to_build_it() {
    let (_root, sweep) = made();
    let output = report(&[sweep.to_str().expect("a path"), "--png"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--features png-plots"));
}

#[test]
fn a_browser_shows_the_page_without_complaint() {
    let Some(chromium) = chromium() else {
        skipped("there is no chromium");
        return;
    };
    let (root, sweep) = made();
    assert!(report(&[sweep.to_str().expect("a path")]).status.success());
    let file = sweep.join("report/report.html");
    let output = shown(&chromium, root.path(), &file);
    let (page, said) = (
        text(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(page.contains("<h1>ablation-rate:"), "{said}");
    assert!(page.matches("<svg").count() >= 4, "{said}");
    assert!(!said.contains("CONSOLE"), "{said}");

    // A fingerprint is the longest word there is.
    let page = fs::read_to_string(file).expect("the page");
    let page = page.replacen(
        "<li>",
        &format!("<li>data, SHA-256 {}, ", "0a".repeat(32)),
        1,
    );
    for window in [390, 1280] {
        let width = width_in(&chromium, root.path(), &page, window);
        assert!(width <= window, "{width} of {window} pixels");
    }
}
