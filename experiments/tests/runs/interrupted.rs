//! Whatever ends a run early leaves a state from which it goes on to the same bytes.

use crate::place::{PROGRAM, Place, STEPS, result, said, sized, train, train_into, undisturbed};
use engine::skipped::skipped;
use std::{
    fs,
    process::{Command, Output},
    thread,
    time::Duration,
};

/// Two runs at a time, killed at moments that have nothing to do with what they are doing.
#[test]
fn a_sweep_killed_again_and_again_ends_in_the_same_bytes() {
    // A machine that looks away for long may let all runs come to their end: then longer ones.
    for steps in ["--set=train.steps=300", "--set=train.steps=1200"] {
        let sweep = sized(
            &["ablation-static", "--name=sweep", "--seeds=1", "--jobs=2"],
            &[steps],
        );
        let place = Place::new();
        let kills = kill_again_and_again(&place, &sweep);
        if kills < 5 {
            continue;
        }
        let alone = Place::new();
        for place in [&place, &alone] {
            let output = place.run(&sweep);
            assert!(output.status.success(), "{}", said(&output));
        }
        for arm in ["pre-norm", "shc-x2", "dhc-x2", "shc-x4", "dhc-x4"] {
            let run = |place: &Place| result(&place.path(&format!("runs/sweep/{arm}/seed0")));
            assert!(run(&place) == run(&alone), "{arm} after {kills} kills");
        }
        return;
    }
    panic!("no sweep could be killed on its way");
}

/// Number of times that a sweep was killed until it ended, sixty at most.
fn kill_again_and_again(place: &Place, sweep: &[&str]) -> u32 {
    let mut kills = 0;
    let mut moment = 12_345_u64;
    while kills < 60 {
        let mut child = place.spawn(sweep);
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        thread::sleep(Duration::from_millis(15 + (moment >> 40) % 120));
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        child.kill().expect("a child");
        child.wait().expect("a child");
        kills += 1;
    }
    kills
}

/// Ctrl-C, a batch system, a terminal that is closed with all its output.
#[test]
fn every_request_to_end_leaves_a_run_that_says_how_to_go_on_and_does() {
    let expected = undisturbed();
    for name in ["-INT", "-TERM", "-HUP"] {
        let (place, output) = Place::with_run_ended_by(name);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(130), "{name}: {text}");
        assert!(
            name == "-HUP" || text.contains("train --resume run"),
            "{text}"
        );
        let output = place.run(&["train", "--resume=run"]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(
            said(&output).contains("going on from step"),
            "{}",
            said(&output)
        );
        assert!(result(&place.path("run")) == expected, "{name}");
    }
}

#[test]
fn a_second_process_on_a_run_is_turned_away_and_harms_nothing() {
    let expected = undisturbed();
    let place = Place::new();
    let mut first = place.begun(&[STEPS]);
    let second = place.run(&train(&[STEPS]));
    // The first may have been quicker.
    if first.try_wait().expect("a child").is_none() {
        let holder = format!("process {} on ", first.id());
        assert_eq!(second.status.code(), Some(1), "{}", said(&second));
        assert!(said(&second).contains(&holder), "{}", said(&second));
    }
    assert!(first.wait().expect("a child").success());
    assert!(result(&place.path("run")) == expected);
}

/// A limit on the size of files in place of a disk that is full: the state is larger.
#[test]
fn a_state_that_cannot_be_written_ends_the_run_and_the_one_before_is_gone_on_from() {
    let expected = undisturbed();
    let place = Place::interrupted();
    let resume = format!("trap '' XFSZ; ulimit -f 40; exec {PROGRAM} train --resume=run");
    let output = place.shell(&resume);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("cannot write run/state.bin"),
        "{}",
        said(&output)
    );
    assert_eq!(place.temporaries(), Vec::<String>::new());
    let output = place.run(&["train", "--resume=run"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(result(&place.path("run")) == expected);
}

/// Runs a shell script in a name space in which it may mount; `None` where that is not allowed.
fn in_name_space(place: &Place, script: &str) -> Option<Output> {
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.current_dir(place.path("")).output()
    };
    if !inside("mount -t tmpfs none /mnt").is_ok_and(|output| output.status.success()) {
        skipped("no name space to mount a disk in");
        return None;
    }
    Some(inside(script).expect("unshare"))
}

/// Of a script that says the status of each of its two attempts.
#[track_caller]
fn fails_and_then_succeeds(output: &Output) {
    let statuses: String = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.starts_with("status"))
        .collect();
    assert_eq!(statuses, "status 1status 0", "{}", said(output));
}

/// A real file system that is too small for two states, and larger afterwards.
#[test]
fn a_full_disk_is_reported_and_with_more_space_the_run_goes_on() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).expect("a directory");
    let arguments = train_into("--out=disk/run", &[STEPS]).join(" ");
    let script = format!(
        "mount -t tmpfs -o size=256k none disk && {PROGRAM} {arguments}; echo status $?; \
         mount -o remount,size=64m disk && {PROGRAM} {arguments}; echo status $?; cp -r disk/run run"
    );
    let Some(output) = in_name_space(&place, &script) else {
        return;
    };
    fails_and_then_succeeds(&output);
    assert!(said(&output).contains("no space left"), "{}", said(&output));
    assert!(
        said(&output).contains("going on from step"),
        "{}",
        said(&output)
    );
    assert!(result(&place.path("run")) == undisturbed());
}

#[test]
fn a_disk_that_becomes_read_only_ends_the_run_with_its_state_kept() {
    let arguments = train_into("--out=disk/run", &[STEPS]).join(" ");
    let script = format!(
        "mount -t tmpfs none disk && {{ {PROGRAM} {arguments} & }}; \
         while ! [ -e disk/run/state.bin ]; do sleep 0.01; done; kill -9 $!; wait; \
         [ -e disk/run/summary.json ] && echo ended; \
         mount -o remount,ro disk && {PROGRAM} {arguments}; echo status $?; \
         mount -o remount,rw disk && {PROGRAM} {arguments}; echo status $?; cp -r disk/run run"
    );
    for _ in 0..20 {
        let place = Place::new();
        fs::create_dir(place.path("disk")).expect("a directory");
        let Some(output) = in_name_space(&place, &script) else {
            return;
        };
        // The run may have been quicker than its killer.
        if String::from_utf8_lossy(&output.stdout).contains("ended") {
            continue;
        }
        fails_and_then_succeeds(&output);
        assert!(said(&output).contains("cannot write"), "{}", said(&output));
        assert!(result(&place.path("run")) == undisturbed());
        return;
    }
    panic!("no run could be killed on its way");
}
