//! Two states: a damaged one never costs the sound one.

use crate::place::{PROGRAM, Place, result, said, undisturbed};
use lab::state::{self, TrainState};
use std::fs;

/// The newest state is damaged, the run goes on from the one before it and is killed while it
/// saves the next.
#[test]
fn a_run_killed_while_it_replaces_a_damaged_state_is_not_lost() {
    let place = Place::interrupted();
    let sound = fs::read(place.path("run/state.previous.bin")).expect("two states");
    place.edit("state.bin", |bytes| bytes[3000] ^= 0x20);
    let output = place.shell(&format!("ulimit -f 40; exec {PROGRAM} train --resume=run"));
    assert!(!output.status.success());
    let kept = fs::read(place.path("run/state.previous.bin")).expect("the one before");
    assert!(kept == sound, "{}", said(&output));
    let said = place.resumed();
    assert!(said.contains("its checksum does not fit"), "{said}");
    assert!(said.contains("going on from the state before it"), "{said}");
    assert!(result(&place.path("run")) == undisturbed());
}

fn some_state(place: &Place) -> TrainState {
    let found = state::load(&place.path("run"))
        .expect("sound")
        .expect("a state");
    found.state
}

#[test]
fn a_damaged_state_does_not_take_the_place_of_the_one_before_it() {
    let place = Place::interrupted();
    let run = place.path("run");
    let mut next = some_state(&place);
    next.step += 1;
    let previous = fs::read(run.join(state::PREVIOUS_STATE_FILE)).expect("two states");
    for damage in [&b""[..], b"HCSTATE\n", b"zeros and worse"] {
        fs::write(run.join(state::STATE_FILE), damage).expect("space");
        state::save(&run, &next).expect("space");
        let kept = fs::read(run.join(state::PREVIOUS_STATE_FILE)).expect("still there");
        assert!(kept == previous, "after {damage:?}");
        assert!(some_state(&place) == next);
    }
    // A sound one does.
    let newest = fs::read(run.join(state::STATE_FILE)).expect("a state");
    next.step += 1;
    state::save(&run, &next).expect("space");
    let kept = fs::read(run.join(state::PREVIOUS_STATE_FILE)).expect("still there");
    assert!(kept == newest);
}

/// Every byte of the file matters: whichever is changed, the state before it is taken.
#[test]
fn a_change_of_any_byte_is_noticed() {
    let place = Place::interrupted();
    let run = place.path("run");
    let whole = fs::read(run.join(state::STATE_FILE)).expect("a state");
    let header = 0..60;
    for at in header.chain((60..whole.len()).step_by(whole.len() / 20)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(run.join(state::STATE_FILE), &damaged).expect("space");
        let found = state::load(&run).expect("the one before").expect("a state");
        assert!(found.fallback.is_some(), "byte {at}");
    }
}

#[test]
fn two_damaged_states_are_refused_with_a_way_out() {
    let place = Place::interrupted();
    for name in [state::STATE_FILE, state::PREVIOUS_STATE_FILE] {
        place.edit(name, |bytes| bytes[3000] ^= 0x20);
    }
    place.refused(&["state.bin is damaged", "no sound one before it", "--force"]);
}
