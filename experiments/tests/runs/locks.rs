//! One process at a time writes to a run, whatever is done to its lock.

use crate::place::{ENDLESS, Place, STEPS, result, said, train, undisturbed};
use lab::run_dir::{Ended, RunDir, RunError, RunId, check_config};
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

fn open(path: &Path) -> Result<RunDir, RunError> {
    RunDir::open(&RunId {
        arm: "train".to_owned(),
        seed: 0,
        path: path.to_owned(),
    })
}

#[test]
fn a_removed_lock_lets_no_second_process_in() {
    let place = Place::new();
    let mut first = place.begun(&[ENDLESS]);
    for second in [train(&[STEPS, "--force"]), train(&[ENDLESS])] {
        // The second time it is gone already: who is turned away makes no new one.
        let _ = fs::remove_file(place.path("run/.lock"));
        let output = place.run(&second);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("is working on run"),
            "{}",
            said(&output)
        );
        assert!(
            first.try_wait().expect("a child").is_none(),
            "the first goes on"
        );
    }
    first.kill().expect("a child");
    first.wait().expect("a child");
}

#[test]
fn a_run_that_was_moved_away_writes_nothing_where_it_was() {
    let place = Place::new();
    // The next state is far away.
    let first = place.begun(&[ENDLESS, "--set=train.checkpoint_every=50"]);
    fs::rename(place.path("run"), place.path("moved")).expect("moved");
    fs::create_dir(place.path("run")).expect("a directory");
    let output = first.wait_with_output().expect("a child");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("was moved or its lock"),
        "{}",
        said(&output)
    );
    assert_eq!(
        fs::read_dir(place.path("run"))
            .expect("a directory")
            .count(),
        0
    );
    // The moved run is whole: under its old name it goes on.
    fs::remove_dir(place.path("run")).expect("empty");
    fs::rename(place.path("moved"), place.path("run")).expect("moved");
    assert!(open(&place.path("run")).is_ok());
}

/// A run that is read, or read-only, keeps nobody from reading it.
#[test]
fn an_ended_run_is_read_without_its_lock() {
    let place = Place::ended();
    let run = place.path("run");
    let held = open(&run).expect("free");
    let config = fs::read_to_string(run.join("config.toml")).expect("readable");
    let config: toml::Table = config.parse().expect("TOML");
    assert!(Ended::read(&run).expect("sound").is_some());
    assert!(check_config(&run, &config).expect("the same"));
    drop(held);
    fs::remove_file(run.join(".lock")).expect("a lock");
    assert!(Ended::read(&run).expect("sound").is_some());
    assert!(!run.join(".lock").exists());
    assert!(result(&run) == undisturbed());
}

#[test]
fn links_pipes_and_files_of_others_in_place_of_a_lock_are_refused() {
    let place = Place::new();
    let run = place.path("run");
    fs::create_dir(&run).expect("a directory");
    fs::write(place.path("victim"), "precious").expect("a file");
    let lock = run.join(".lock");
    let attempts: [&dyn Fn(); 4] = [
        &|| symlink("../victim", &lock).expect("a link"),
        &|| symlink("../nowhere", &lock).expect("a link"),
        &|| {
            let made = Command::new("mkfifo").arg(&lock).status();
            assert!(made.expect("mkfifo").success());
        },
        &|| fs::write(&lock, "of another program").expect("a file"),
    ];
    for attempt in attempts {
        attempt();
        let output = place.run(&train(&[STEPS]));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(".lock"), "{}", said(&output));
        assert_eq!(fs::read(place.path("victim")).expect("there"), b"precious");
        assert!(!place.path("nowhere").exists());
        fs::remove_file(&lock).expect("there");
    }
}

#[test]
fn a_log_that_is_a_link_is_not_followed() {
    let place = Place::interrupted();
    fs::rename(place.path("run/metrics.jsonl"), place.path("victim")).expect("moved");
    symlink("../victim", place.path("run/metrics.jsonl")).expect("a link");
    let before = fs::read(place.path("victim")).expect("there");
    place.refused(&["metrics.jsonl is no ordinary file"]);
    assert!(fs::read(place.path("victim")).expect("there") == before);
}

#[test]
fn the_lock_of_a_killed_process_keeps_its_name_and_bars_nobody() {
    let (place, _) = Place::with_run_ended_by("-KILL");
    place.resumed();
    let lock = File::open(place.path("run/.lock")).expect("a lock");
    assert_eq!(lock.metadata().expect("a file").len(), 0);
    assert!(result(&place.path("run")) == undisturbed());
}
