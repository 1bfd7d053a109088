use super::*;
use crate::{
    data::{Corpus, DataAccount},
    run_dir::ProbeScores,
};
use std::collections::HashMap;

const SEQ: usize = 48;

/// Functions with all kinds of brackets, every line of its own.
fn code(functions: usize) -> String {
    let function = |i: usize| {
        format!(
            "fn number_{i}(input: &[u8; {i}]) {{\n    let list{i} = [input[{i}], value(first, {i})];\n    \
             for item in list {{\n        call(item, Point {{ x: {i}, y: 0 }});\n    }}\n    \
             done(&[1, 2, {i}, four])\n}}\n\n"
        )
    };
    (0..functions).map(function).collect()
}

fn corpus(train: &str, validation: &str) -> Corpus {
    let half = validation[..validation.len() / 2]
        .rfind('\n')
        .map_or(0, |at| at + 1);
    Corpus {
        train: train.as_bytes().to_vec().into(),
        validation: validation.as_bytes().to_vec().into(),
        validation_files: vec![("a.rs".into(), 0), ("b.rs".into(), half)],
        vocabulary: 256,
        vocabulary_from: String::new(),
        account: DataAccount::default(),
    }
}

fn probes() -> Probes {
    Probes::of(&corpus("train", &code(200)), SEQ).expect("bytes")
}

/// Results of a predictor of the byte after each position of a window, a few windows at a time.
fn results(probes: &Probes, predict: impl Fn(usize, &[u8], usize) -> u8) -> Vec<ProbeScores> {
    const VOCABULARY: usize = 260;
    let mut answers = Vec::new();
    let mut first = 0;
    while first < probes.windows() {
        let here = first..(first + 7).min(probes.windows());
        let inputs: Vec<u8> = probes
            .inputs(here.clone())
            .iter()
            .map(|&x| x as u8)
            .collect();
        let mut logits = vec![-1.0; inputs.len() * VOCABULARY];
        for (row, inputs) in inputs.chunks_exact(SEQ).enumerate() {
            for at in 0..SEQ {
                let byte = predict(first + row, inputs, at);
                logits[(row * SEQ + at) * VOCABULARY + usize::from(byte)] = 1.0;
            }
        }
        answers.extend(probes.answers(here.clone(), &logits));
        first = here.end;
    }
    probes.results(&answers)
}

fn share(results: &[ProbeScores], name: &str) -> f64 {
    let found = results.iter().find(|probe| probe.name == name);
    found.and_then(ProbeScores::share).expect("items")
}

const OF_TEXT: [&str; 4] = ["last 4 bytes", "last 6 bytes", "brackets", "indentation"];

/// Predicts the byte that the text has after a position of a window.
fn knowing(text: &str) -> impl Fn(usize, &[u8], usize) -> u8 {
    let bytes = text.as_bytes();
    let places = bytes.windows(SEQ).enumerate();
    let places: HashMap<&[u8], usize> = places.map(|(place, window)| (window, place)).collect();
    move |_, inputs, at| {
        places
            .get(inputs)
            .map_or(b'?', |place| bytes[place + at + 1])
    }
}

#[test]
fn who_knows_the_text_is_always_right_and_who_copies_copies() {
    let (text, probes) = (code(200), probes());
    let known = results(&probes, knowing(&text));
    for name in OF_TEXT {
        assert_eq!(share(&known, name), 1.0, "{name}");
    }
    assert!(share(&known, "copying") < 0.1);
    let copied = results(&probes, |_, inputs, at| inputs[(at + 1) % (SEQ / 2)]);
    assert_eq!(share(&copied, "copying"), 1.0);
    assert_eq!(share(&copied, "last 6 bytes"), 0.0);
}

/// Right in every other window is right in half of the items.
#[test]
fn the_share_is_that_of_the_items_that_are_right() {
    let (text, probes) = (code(200), probes());
    let knows = knowing(&text);
    let half = results(&probes, |window, inputs, at| match window % 2 {
        0 => knows(window, inputs, at),
        _ => b'?',
    });
    for name in &OF_TEXT[..2] {
        assert!((share(&half, name) - 0.5).abs() < 0.01, "{name}");
    }
    let half = results(&probes, |window, inputs, at| {
        let next = inputs[(at + 1) % (SEQ / 2)];
        match window % 2 {
            0 => next,
            _ if next == b'z' => b'a',
            _ => next.saturating_add(1),
        }
    });
    assert_eq!(share(&half, "copying"), 0.5);
    // One wrong byte of the end of a line is the whole end.
    let torn = results(&probes, |window, inputs, at| match at + 4 < SEQ {
        true => b'?',
        false => knows(window, inputs, at),
    });
    assert_eq!(share(&torn, "last 4 bytes"), 1.0);
    assert_eq!(share(&torn, "last 6 bytes"), 0.0);
}

#[test]
fn who_does_not_look_is_right_by_chance() {
    let probes = probes();
    for bracket in CLOSING {
        let found = results(&probes, |_, _, _| bracket);
        assert!((share(&found, "brackets") - 1.0 / 3.0).abs() < 1e-12);
    }
    // Blanks of the line before, as many lines with more, fewer and as many.
    let as_before = results(&probes, |_, inputs, at| {
        let lines: Vec<&[u8]> = inputs[..=at].split(|&byte| byte == b'\n').collect();
        let [.., before, now] = &lines[..] else {
            return b'?';
        };
        let blanks = before.iter().take_while(|&&byte| byte == b' ').count();
        if now.len() < blanks { b' ' } else { b'x' }
    });
    assert!((share(&as_before, "indentation") - 1.0 / 3.0).abs() < 1e-12);
    let letter = results(&probes, |_, _, _| b'e');
    assert!((share(&letter, "copying") - 1.0 / 26.0).abs() < 0.02);
    // No byte for all positions is better than chance says.
    for byte in *b" \n;)]}{x1" {
        for probe in &results(&probes, |_, _, _| byte)[..OF_TEXT.len()] {
            let found = probe.share().expect("items");
            assert!(found <= probe.chance + 1e-12, "{} {byte}", probe.name);
        }
    }
}

/// Lines end in `;` and a break, or in `,`, as 3 to 1.
#[test]
fn the_chance_is_that_of_the_most_frequent_answer() {
    let line = |i: usize| match i % 4 {
        0 => format!("some other line {i} same,\n"),
        _ => format!("some other line {i} same;\n"),
    };
    let text: String = (1000..3000).map(line).collect();
    let probes = Probes::of(&corpus("", &text), SEQ).expect("bytes");
    let results = results(&probes, |_, _, _| b' ');
    assert!(
        (results[0].chance - 0.75).abs() < 0.05,
        "{}",
        results[0].chance
    );
}

#[test]
fn items_are_of_held_out_text_and_of_nothing_else() {
    let text = code(200);
    let probes = probes();
    let other = Probes::of(&corpus(&code(3), &text), SEQ).expect("bytes");
    assert_eq!(other, probes);
    let mut of_text = 0;
    for window in &probes.windows {
        let inputs: Vec<u8> = window.inputs.iter().map(|&byte| byte as u8).collect();
        let inputs = String::from_utf8(inputs).expect("ASCII");
        if window.source.starts_with("sequence") {
            continue;
        }
        of_text += 1;
        let place = text.find(&inputs).expect("held out");
        let file = if place + SEQ < text[..text.len() / 2].rfind('\n').expect("a line") + 1 {
            "a.rs"
        } else {
            "b.rs"
        };
        assert_eq!(window.source, file);
    }
    assert!(of_text > 500, "{of_text}");
    let first = results(&probes, |_, _, _| b' ');
    let again = results(&other, |_, _, _| b'x');
    let digests = |all: &[ProbeScores]| -> Vec<String> {
        all.iter().map(|probe| probe.items_sha256.clone()).collect()
    };
    assert_eq!(digests(&first), digests(&again));
    let longer = Probes::of(&corpus("", &text), SEQ + 1).expect("bytes");
    assert_ne!(longer.windows[0].inputs.len(), SEQ);
}

/// Kinds of brackets and of lines are there as often as each other, and every bracket is decided by
/// its context.
#[test]
fn kinds_are_balanced_and_brackets_decided_by_their_context() {
    let probes = probes();
    let mut counts = [0; 3];
    for window in &probes.windows {
        for Question { answer, .. } in &window.questions {
            if let Answer::Bracket(bracket) = answer {
                counts[CLOSING.iter().position(|one| one == bracket).expect("one")] += 1;
                let open = b"([{"[CLOSING.iter().position(|one| one == bracket).expect("one")];
                let near = &window.inputs[SEQ - 7..];
                assert!(window.inputs.contains(&u32::from(open)));
                let depth = near.iter().fold(0, |depth, &byte| match byte as u8 {
                    b'(' | b'[' | b'{' => depth + 1,
                    b')' | b']' | b'}' => depth - 1,
                    _ => depth,
                });
                assert!(depth <= 0);
            }
        }
    }
    assert!(counts[0] > 16 && counts == [counts[0]; 3], "{counts:?}");
}

#[test]
fn text_without_positions_and_short_contexts_have_no_items() {
    let prose: String = (0..3000)
        .map(|i| format!(" It is line {i} of (plain) prose .\n"))
        .collect();
    let probes = Probes::of(&corpus("", &prose), SEQ).expect("bytes");
    let found = results(&probes, |_, _, _| b')');
    let without: Vec<&str> = found
        .iter()
        .filter(|probe| probe.share().is_none())
        .map(|probe| &*probe.name)
        .collect();
    assert_eq!(without, ["brackets", "indentation"]);
    let short = Probes::of(&corpus("", &code(200)), 15).expect("bytes");
    assert_eq!(short.windows(), 0);
    assert!(
        short
            .results(&[])
            .iter()
            .all(|probe| probe.share().is_none())
    );
    for text in ["", "\n", "(", "no line break", "\n\n\n"] {
        let probes = Probes::of(&corpus("", text), SEQ).expect("bytes");
        assert_eq!(probes.windows(), 64, "{text:?}");
    }
    let mut tokens = corpus("", "text");
    tokens.validation = crate::data::Tokens::Ids(vec![1, 2]);
    assert_eq!(Probes::of(&tokens, SEQ), None);
}
