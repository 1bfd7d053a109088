//! `--force`: what it removes and what it never touches.

use crate::place::{Place, STEPS, files, result, said, train, undisturbed};
use std::{fs, os::unix::fs::symlink};

const FORCE: &str = "--force";

#[test]
fn a_directory_that_is_no_run_and_not_empty_is_refused_and_stays_as_it_is() {
    for name in ["run", "linked to"] {
        let place = Place::new();
        let home = place.path(name);
        fs::create_dir_all(home.join("sub")).expect("a directory");
        fs::write(home.join("thesis.txt"), "years of work").expect("a file");
        fs::write(home.join("sub/notes"), "more").expect("a file");
        if name != "run" {
            symlink(name, place.path("run")).expect("a link");
        }
        let output = place.run(&train(&[STEPS, FORCE]));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let text = said(&output);
        assert!(text.contains("is no run of this program"), "{text}");
        let text = |name: &str| fs::read_to_string(home.join(name)).expect("still there");
        let texts = [text("thesis.txt"), text("sub/notes")];
        assert_eq!(texts, ["years of work", "more"]);
        assert_eq!(fs::read_dir(&home).expect("a directory").count(), 2);
    }
}

/// Nobody else's file is appended to, cut or replaced because it has the name of one of ours.
#[test]
fn files_of_others_under_the_names_of_ours_are_refused_with_and_without_force() {
    for (name, content) in [
        ("metrics.jsonl", "my notes, without a line break"),
        ("config.toml", "[train]\nsteps = 3\n"),
        ("config.toml", ""),
        ("env.json", "{}"),
        ("model.safetensors", "a network of others"),
        ("state.bin", "another program's"),
        ("summary.json", "{}"),
        ("validation.csv", "mine\n"),
        ("probes.json", "{}"),
    ] {
        for force in [&[FORCE][..], &[]] {
            let place = Place::new();
            fs::create_dir(place.path("run")).expect("a directory");
            fs::write(place.path("run").join(name), content).expect("a file");
            let output = place.run(&train(&[&[STEPS], force].concat()));
            assert_eq!(output.status.code(), Some(1), "{name}: {}", said(&output));
            assert!(said(&output).contains(name), "{name}: {}", said(&output));
            let left = files(&place.path("run"));
            assert_eq!(left, [(name.to_owned(), content.as_bytes().to_vec())]);
        }
    }
}

#[test]
fn of_a_run_the_programs_own_files_are_removed_and_nothing_else() {
    let place = Place::interrupted();
    let run = place.path("run");
    fs::create_dir_all(run.join("figures")).expect("a directory");
    fs::create_dir_all(place.path("elsewhere")).expect("a directory");
    fs::write(run.join("figures/one.svg"), "a figure").expect("a file");
    fs::write(run.join("notes.txt"), "a note").expect("a file");
    fs::write(place.path("elsewhere/data"), "far away").expect("a file");
    symlink("../elsewhere", run.join("link")).expect("a link");
    // A file of the run that was moved away and linked to.
    fs::rename(run.join("env.json"), place.path("elsewhere/env.json")).expect("moved");
    symlink("../elsewhere/env.json", run.join("env.json")).expect("a link");
    let output = place.run(&train(&[STEPS, FORCE]));
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("going on"), "{}", said(&output));
    assert!(result(&run) == undisturbed());
    let text = |name: &str| fs::read_to_string(place.path(name)).expect("still there");
    assert_eq!(text("run/notes.txt"), "a note");
    assert_eq!(text("run/figures/one.svg"), "a figure");
    assert_eq!(text("run/link/data"), "far away");
    assert!(text("elsewhere/env.json").contains("rustc"));
}

#[test]
fn a_directory_in_place_of_a_file_of_the_run_is_not_removed() {
    let place = Place::interrupted();
    let run = place.path("run");
    fs::remove_file(run.join("state.previous.bin")).expect("a state");
    fs::create_dir(run.join("state.previous.bin")).expect("a directory");
    fs::write(run.join("state.previous.bin/precious"), "x").expect("a file");
    let output = place.run(&train(&[STEPS, FORCE]));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(run.join("state.previous.bin/precious").exists());
}

#[test]
fn an_empty_directory_and_one_that_was_only_begun_may_be_used() {
    let place = Place::new();
    fs::create_dir(place.path("run")).expect("a directory");
    fs::write(place.path("run/.lock"), "").expect("a file");
    fs::write(place.path("run/.config.toml.999999999-0.tmp"), "[tr").expect("a file");
    let output = place.run(&train(&[STEPS, FORCE]));
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(place.temporaries(), Vec::<String>::new());
}
