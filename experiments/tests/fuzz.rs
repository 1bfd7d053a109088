//! Some damaged files of every kind, always the same; `examples/fuzz` reads as many as are asked
//! for.

#[path = "../examples/fuzz/kinds.rs"]
mod kinds;
#[path = "../examples/fuzz/mutate.rs"]
mod mutate;
#[path = "../examples/fuzz/originals.rs"]
mod originals;
#[path = "../examples/fuzz/reading.rs"]
mod reading;

use reading::{LONGEST, Outcome, Place};
use std::path::Path;

/// Damaged files of each kind.
const EACH: u64 = 6;

#[test]
fn no_damaged_file_makes_the_program_panic_abort_or_hang() {
    let kept = tempfile::tempdir().expect("a directory");
    let program = Path::new(env!("CARGO_BIN_EXE_experiments"));
    let place = Place::new(program, "HC_FUZZ_READER", kept.path().to_owned());
    let files = 0..EACH * kinds::KINDS.len() as u64;
    let outcomes: Vec<Outcome> = files.map(|file| place.read_one(20_261_127, file)).collect();
    let count = |wanted| {
        outcomes
            .iter()
            .filter(|outcome| **outcome == wanted)
            .count()
    };
    // Files that are refused at their first byte would show nothing.
    assert!(
        count(Outcome::Taken) > 20 && count(Outcome::Refused) > 20,
        "{outcomes:?}"
    );
    let failures: Vec<&Outcome> = outcomes.iter().filter(|one| one.is_failure()).collect();
    assert!(
        failures.is_empty(),
        "{failures:?} (a hang: over {} s)",
        LONGEST.as_secs()
    );
}

/// A driver that calls everything refused would find nothing.
#[cfg(unix)]
#[test]
fn a_reader_that_panics_or_is_ended_by_a_signal_is_a_failure_and_its_file_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let here = tempfile::tempdir().expect("a directory");
    for (end, expected) in [
        ("echo thread panicked at here >&2; exit 1", Outcome::Panic),
        ("exit 101", Outcome::Panic),
        ("kill -ABRT $$", Outcome::Abort),
        ("exit 1", Outcome::Refused),
        ("exit 0", Outcome::Taken),
    ] {
        // Sound files are made by the program itself, and damaged texts read with `--dry-run`.
        let program = here.path().join("program");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--dry-run*) {end};; esac\nexec '{}' \"$@\"\n",
            env!("CARGO_BIN_EXE_experiments")
        );
        std::fs::write(&program, script).expect("space");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("ours");
        let kept = here.path().join(format!("{expected:?}"));
        let place = Place::new(&program, "HC_FUZZ_READER", kept.clone());
        assert_eq!(place.read_one(1, 0), expected, "{end}");
        assert_eq!(kept.exists(), expected.is_failure(), "{end}");
    }
}
