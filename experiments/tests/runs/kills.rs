//! Runs killed at moments that have nothing to do with what they are doing.

use crate::place::{Place, STEPS, result, said, train, undisturbed};
use std::{env, thread, time::Duration};

/// How often, unless this variable says otherwise.
const KILLS: u32 = 20;
const VARIABLE: &str = "HC_KILLS";

#[test]
fn runs_killed_at_random_moments_end_in_the_same_bytes() {
    let wanted = match env::var(VARIABLE) {
        Ok(text) => text.parse().expect("a number of kills"),
        Err(_) => KILLS,
    };
    let expected = undisturbed();
    let arguments = train(&[STEPS, "--threads=1"]);
    let (mut kills, mut runs, mut differences) = (0, 0, 0);
    let mut moment = 12_345_u64;
    // On a busy machine a process needs longer to come to its next checkpoint.
    let mut patience = 150;
    while kills < wanted {
        let place = Place::new();
        let mut done = Vec::new();
        loop {
            let mut child = place.spawn(&arguments);
            moment = moment
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            thread::sleep(Duration::from_millis((moment >> 33) % patience));
            if kills == wanted || child.try_wait().expect("a child").is_some() {
                let output = child.wait_with_output().expect("a child");
                assert!(output.status.success(), "{}", said(&output));
                break;
            }
            child.kill().expect("a child");
            child.wait().expect("a child");
            kills += 1;
            let state = std::fs::read(place.path("run/state.bin")).unwrap_or_default();
            if state == done {
                patience += patience / 4;
            }
            done = state;
        }
        runs += 1;
        differences += u32::from(result(&place.path("run")) != expected);
        assert_eq!(place.temporaries(), Vec::<String>::new());
    }
    println!("{kills} kills of {runs} runs: {differences} differences");
    assert_eq!(differences, 0);
}
