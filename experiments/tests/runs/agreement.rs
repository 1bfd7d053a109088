//! State, logs, weights and summary of a run are held to each other.

use crate::place::{Place, files, result, said, signal, undisturbed};
use lab::{
    run_dir::{Ended, RunError, read_summary},
    state,
    trained::Trained,
};
use sha2::{Digest, Sha256};
use std::fs;

fn text_of(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path("run").join(name)).expect("text")
}

/// Replaces a text that is in the file.
fn replace(place: &Place, name: &str, from: &str, to: &str) {
    let text = text_of(place, name);
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(place.path("run").join(name), text.replacen(from, to, 1)).expect("space");
}

/// Makes the state what the first version of the program wrote.
fn make_state_old(place: &Place) {
    let run = place.path("run");
    let mut state = state::load(&run).expect("sound").expect("a state").state;
    state.logs = None;
    let mut payload =
        bincode::serde::encode_to_vec(&state, bincode::config::standard()).expect("plain data");
    assert_eq!(payload.pop(), Some(0));
    let mut bytes = b"HCSTATE\n\x01\0\0\0".to_vec();
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(&payload));
    bytes.extend(payload);
    fs::write(run.join(state::STATE_FILE), bytes).expect("space");
}

#[test]
fn a_log_that_does_not_reach_the_state_is_refused_and_put_back_it_goes_on() {
    let place = Place::interrupted();
    for log in ["metrics.jsonl", "coefficients.jsonl"] {
        let path = place.path("run").join(log);
        let whole = fs::read(&path).expect("a log");
        fs::remove_file(&path).expect("removed");
        place.refused(&[log, "state.bin", "does not reach step"]);
        let line = whole.iter().position(|&byte| byte == b'\n').expect("lines") + 1;
        for part in [&whole[..whole.len() - 1], &whole[..line], &whole[line..]] {
            fs::write(&path, part).expect("space");
            place.refused(&[log, "state.bin", "disagree"]);
        }
        fs::write(&path, whole).expect("space");
    }
    place.resumed();
    assert!(result(&place.path("run")) == undisturbed());
}

#[test]
fn a_record_that_was_changed_is_refused() {
    let place = Place::interrupted();
    for (from, to) in [("\"lr\":0.", "\"lr\":1."), ("\"step\":1,", "\"step\":2,")] {
        replace(&place, "metrics.jsonl", from, to);
        place.refused(&["metrics.jsonl", "was changed"]);
        replace(&place, "metrics.jsonl", to, from);
    }
    // Out of order: seen by every reader.
    let place = Place::ended();
    replace(&place, "metrics.jsonl", "\"step\":1,", "\"step\":90,");
    let error = lab::run_dir::read_metrics(&place.path("run")).expect_err("out of order");
    assert!(
        matches!(error, RunError::Damaged { line: 2, .. }),
        "{error}"
    );
}

/// Runs that were begun before states had checksums of the logs.
#[test]
fn an_old_state_goes_on_and_of_its_logs_the_steps_are_checked() {
    let place = Place::interrupted();
    make_state_old(&place);
    fs::remove_file(place.path("run/state.previous.bin")).expect("two states");
    let whole = text_of(&place, "metrics.jsonl");
    let path = place.path("run/metrics.jsonl");
    fs::remove_file(&path).expect("removed");
    place.refused(&["metrics.jsonl", "has no record of step 1"]);
    let first = whole.find('\n').expect("lines") + 1;
    fs::write(&path, &whole[first..]).expect("space");
    place.refused(&["metrics.jsonl", "has no record of step 1"]);
    fs::write(&path, &whole[..first]).expect("space");
    place.refused(&["metrics.jsonl", "has no record of step 2"]);
    fs::write(&path, whole).expect("space");
    let said = place.resumed();
    assert!(said.contains("earlier version"), "{said}");
    assert!(result(&place.path("run")) == undisturbed());
}

#[test]
fn a_run_whose_state_is_gone_is_not_begun_again_in_silence() {
    let place = Place::interrupted();
    for name in ["state.bin", "state.previous.bin"] {
        fs::remove_file(place.path("run").join(name)).expect("two states");
    }
    place.refused(&["its state is gone", "--force"]);
    // Killed, but long after the first state.
    let place = Place::ended();
    for name in ["state.bin", "state.previous.bin", "summary.json"] {
        fs::remove_file(place.path("run").join(name)).expect("there");
    }
    place.refused(&["its state is gone", "--force"]);
}

#[test]
fn a_summary_that_was_changed_is_not_believed() {
    let place = Place::ended();
    let run = place.path("run");
    let whole = text_of(&place, "summary.json");
    let summary = read_summary(&run).expect("sound").expect("ended");
    let loss = summary.final_val_loss.expect("measured").to_string();
    assert!(Ended::read(&run).expect("sound").is_some());

    // Any value, by its own checksum.
    replace(
        &place,
        "summary.json",
        "\"wall_seconds\": ",
        "\"wall_seconds\": 1",
    );
    let error = Ended::read(&run).expect_err("changed").to_string();
    assert!(
        error.contains("summary.json and its checksum disagree"),
        "{error}"
    );
    place.refused(&["summary.json and its checksum disagree"]);

    // The results, by the metrics, whatever the checksums are.
    let old: String = whole
        .lines()
        .filter(|line| !line.contains("sha256"))
        .collect();
    let old = old.replace(",}", "}");
    fs::write(run.join("summary.json"), &old).expect("space");
    assert!(
        Ended::read(&run)
            .expect("as earlier versions wrote it")
            .is_some()
    );
    let better = old.replace(
        &format!("\"final_val_loss\":{loss}"),
        "\"final_val_loss\":1.3",
    );
    let better = better.replace(
        &format!("\"final_val_loss\": {loss}"),
        "\"final_val_loss\": 1.3",
    );
    assert_ne!(better, old);
    fs::write(run.join("summary.json"), better).expect("space");
    let error = Ended::read(&run).expect_err("changed").to_string();
    assert!(error.contains("final_val_loss is 1.3 there"), "{error}");

    // The report leaves the run out and says why.
    fs::create_dir_all(place.path("sweep/arm")).expect("a directory");
    fs::rename(&run, place.path("sweep/arm/seed0")).expect("moved");
    let output = place.run(&["report", "sweep"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned() + &said(&output);
    assert!(shown.contains("disagree"), "{shown}");
    assert!(!shown.contains("1.3000"), "{shown}");
    fs::rename(place.path("sweep/arm/seed0"), &run).expect("moved");

    // Without a summary the run makes it again from its other files.
    fs::remove_file(run.join("summary.json")).expect("removed");
    place.resumed();
    let again = read_summary(&run).expect("sound").expect("ended");
    assert_eq!(again.final_val_loss, summary.final_val_loss);
}

#[test]
fn a_summary_laid_out_anew_is_still_the_same() {
    let place = Place::ended();
    let values: serde_json::Value =
        serde_json::from_str(&text_of(&place, "summary.json")).expect("JSON");
    fs::write(place.path("run/summary.json"), values.to_string()).expect("space");
    assert!(Ended::read(&place.path("run")).expect("sound").is_some());
}

#[test]
fn metrics_that_were_changed_after_the_end_are_noticed() {
    let place = Place::ended();
    replace(&place, "metrics.jsonl", "\"grad_norm\":", "\"grad_norm\":1");
    let error = Ended::read(&place.path("run"))
        .expect_err("changed")
        .to_string();
    assert!(error.contains("metrics.jsonl disagree"), "{error}");
}

/// Without them the run counts as one of an earlier version.
#[test]
fn losses_of_windows_that_were_changed_after_the_end_are_noticed() {
    let place = Place::ended();
    let run = place.path("run");
    let units = || Ended::read(&run).map(|ended| ended.expect("ended").units);
    assert!(units().expect("sound").is_some());
    let whole = text_of(&place, "validation.csv");
    replace(&place, "validation.csv", "\n0,text,", "\n0,text,1");
    let error = units().expect_err("changed").to_string();
    assert!(error.contains("validation.csv disagree"), "{error}");
    fs::write(run.join("validation.csv"), "unit,file,loss\n0,text\n").expect("space");
    let error = units().expect_err("damaged").to_string();
    assert!(error.contains("damaged at line 2"), "{error}");
    fs::remove_file(run.join("validation.csv")).expect("it was there");
    assert_eq!(units().expect("sound"), None);
    // A copy put back counts.
    fs::write(run.join("validation.csv"), whole).expect("space");
    assert!(units().expect("sound").is_some());
}

/// Only what is left can be said: nothing makes these weights again.
#[test]
fn weights_that_are_lost_with_their_state_are_said() {
    let place = Place::ended();
    for name in ["model.safetensors", "state.bin"] {
        fs::remove_file(place.path("run").join(name)).expect("a file");
    }
    let said = place.resumed();
    assert!(said.contains("model.safetensors"), "{said}");
    assert!(said.contains("no saved state"), "{said}");
}

/// Weights of a network that learnt on, from the state and from the file.
#[test]
fn the_newer_of_state_and_weights_is_taken_and_it_is_said() {
    let place = Place::interrupted();
    let run = place.path("run");
    let weights = fs::read(run.join("model.safetensors")).expect("weights");
    let stopped_at = read_summary(&run).expect("sound").expect("stopped").steps;
    let output = place.run(&["sample", "run", "--tokens=3"]);
    assert!(
        output.status.success() && said(&output).is_empty(),
        "{}",
        said(&output)
    );

    // Gone on, then killed: the state is newer.
    let mut child = place.spawn(&["train", "--resume=run"]);
    let step = || {
        state::load(&run)
            .expect("sound")
            .expect("a state")
            .state
            .step
    };
    while step() == stopped_at && child.try_wait().expect("a child").is_none() {}
    signal("-KILL", &child);
    child.wait().expect("a child");
    if fs::read(run.join("model.safetensors")).expect("weights") != weights {
        return println!("it ended before it could be killed");
    }
    let expected = format!("taking the saved state of step {}", step());
    for command in [
        &["sample", "run", "--tokens=3"][..],
        &["inspect", "run", "--windows=1"],
    ] {
        let output = place.run(command);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains(&expected), "{}", said(&output));
        let older = format!("of step {stopped_at}");
        assert!(said(&output).contains(&older), "{}", said(&output));
    }
    // The weights of an earlier version, which do not say their step.
    let mut old = weights.clone();
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().expect("8 bytes")) as usize;
    let text = String::from_utf8(weights[8..header].to_vec()).expect("JSON");
    let from = text.find(",\"step\":").expect("a step");
    let to = text.find("},\"").expect("the end of the metadata");
    let text = format!("{}{}", &text[..from], &text[to..]);
    old.splice(8..header, text.bytes());
    old[..8].copy_from_slice(&(text.len() as u64).to_le_bytes());
    fs::write(run.join("model.safetensors"), old).expect("space");
    let trained = Trained::open(&run).expect("sound");
    assert!(
        trained
            .remarks()
            .iter()
            .any(|text| text.contains(&expected))
    );
}

#[test]
fn where_the_state_is_older_the_weights_are_taken_and_training_says_what_is_done_again() {
    let place = Place::interrupted();
    let run = place.path("run");
    place.edit("state.bin", |bytes| bytes[3000] ^= 1);
    let output = place.run(&["sample", "run", "--tokens=3"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("the saved state is older"),
        "{}",
        said(&output)
    );
    let text = place.resumed();
    assert!(text.contains("the steps between are done again"), "{text}");
    assert!(result(&run) == undisturbed());
}

#[test]
fn damaged_weights_are_refused_and_written_again_from_the_state() {
    let place = Place::ended();
    let run = place.path("run");
    let before = files(&run);
    place.edit("model.safetensors", |bytes| {
        let last = bytes.len() - 3;
        bytes[last] ^= 0x40;
    });
    for from in ["run", "run/model.safetensors"] {
        let output = place.run(&["sample", from, "--tokens=3"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("checksum does not fit"),
            "{}",
            said(&output)
        );
    }
    let text = place.resumed();
    assert!(
        text.contains("written again from the saved state"),
        "{text}"
    );
    let after = files(&run);
    for (name, content) in before {
        if name != "command.txt" {
            let same = after
                .iter()
                .any(|file| *file == (name.clone(), content.clone()));
            assert!(same, "{name}");
        }
    }
}
