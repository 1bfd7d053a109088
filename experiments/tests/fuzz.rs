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
