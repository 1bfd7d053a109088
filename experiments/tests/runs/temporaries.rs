//! Files that are being written: their names, links in their way, and what killed processes leave.

use crate::place::Place;
use lab::run_dir::{RunDir, RunId, remove_stale, write_atomically};
use std::{fs, fs::File, os::unix::fs::symlink, path::Path, process, thread};

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry.expect("an entry")))
        .collect();
    names.sort();
    names
}

#[test]
fn links_in_the_way_of_a_file_are_not_followed() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    fs::write(path("victim"), "precious").expect("a file");
    for name in [
        ".x.tmp".to_owned(),
        format!(".x.{}-0.tmp", process::id()),
        "x".to_owned(),
    ] {
        symlink("victim", path(&name)).expect("a link");
    }
    symlink("nowhere", path(&format!(".x.{}-1.tmp", process::id()))).expect("a link");
    write_atomically(&path("x"), b"new").expect("space");
    assert_eq!(fs::read(path("victim")).expect("still there"), b"precious");
    assert_eq!(fs::read(path("x")).expect("written"), b"new");
    assert!(fs::symlink_metadata(path("x")).expect("there").is_file());
    assert!(!path("nowhere").exists());
}

#[test]
fn many_that_write_one_file_at_once_do_not_disturb_each_other() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("results.json");
    let content = |writer: u8| vec![b'a' + writer; 100_000];
    thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..5 {
                    write_atomically(path, &content(writer)).expect("space");
                    let whole = fs::read(path).expect("always there");
                    assert_eq!(whole, vec![whole[0]; 100_000]);
                    remove_stale(path.parent().expect("a directory")).expect("readable");
                }
            });
        }
    });
    assert_eq!(names(root.path()), ["results.json"]);
}

#[test]
fn what_killed_processes_have_left_is_removed_and_nothing_else() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    for name in [
        ".state.bin.999999999-0.tmp",
        ".results.json.1-12.tmp",
        // Of a living process.
        ".written.7-0.tmp",
        // Of others.
        ".notes.tmp",
        ".a.b-c.tmp",
        "state.bin.999999999-0.tmp",
        ".state.bin.999999999-0.tmp.gz",
    ] {
        fs::write(path(name), "x").expect("a file");
    }
    symlink("nowhere", path(".link.5-0.tmp")).expect("a link");
    let writer = File::open(path(".written.7-0.tmp")).expect("there");
    writer.lock().expect("a lock");
    remove_stale(root.path()).expect("readable");
    assert_eq!(
        names(root.path()),
        [
            ".a.b-c.tmp",
            ".link.5-0.tmp",
            ".notes.tmp",
            ".state.bin.999999999-0.tmp.gz",
            ".written.7-0.tmp",
            "state.bin.999999999-0.tmp",
        ]
    );
}

#[test]
fn a_run_that_goes_on_removes_what_its_killed_process_has_left() {
    let place = Place::interrupted();
    fs::write(place.path("run/.state.bin.999999999-3.tmp"), "half a st").expect("a file");
    let id = RunId {
        arm: "train".to_owned(),
        seed: 0,
        path: place.path("run"),
    };
    RunDir::open(&id).expect("nobody else's");
    assert_eq!(place.temporaries(), Vec::<String>::new());
}
