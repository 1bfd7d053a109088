//! One token, forward and backward.

use crate::{
    node::{assert_close, numbers, value},
    seen, with_node,
};
use engine::{
    params::{Builder, Gradients},
    rng::Key,
    tape::{Tape, Var},
};
use lessons::teach::token::{Token, gradient_from_above};
use serde_json::{Value, json};

/// The token as the page has it.
fn as_json(token: &Token, g: &[f32]) -> Value {
    let [h, a, b, w, wb, sa, sb, l] = &token.parts;
    let rows =
        |x: &[f32], width: usize| -> Value { x.chunks(width).map(|row| json!(row)).collect() };
    json!({
        "parts": {
            "H": rows(h, 4), "A": rows(a, 3), "B": b, "W": rows(w, 3), "Wb": wb,
            "sa": sa[0], "sb": sb[0], "L": rows(l, 4),
        },
        "G": rows(g, 4),
    })
}

/// Values and gradients on the tape under the page's names.
type Named = Vec<(&'static str, Vec<f64>)>;

fn on_tape(token: &Token, g: &[f32]) -> (Named, Named) {
    let mut tape = Tape::new();
    tape.set_keeping();
    let here = token.on_tape(&tape);
    let mut gradients = Gradients::new(&Builder::new(Key::new(0)).finish());
    tape.backward_from(&[(here.next, g)], &mut gradients);
    let exact = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<f64>>();
    let (alpha, beta) = (here.coefficients.alpha, here.coefficients.beta);
    let between = [
        ("alpha", alpha),
        ("beta", beta),
        ("h0", here.input),
        ("mixed", here.mixed),
        ("output", here.output),
    ];
    let gradient = |(name, var): (&'static str, Var<'_>)| (name, exact(tape.grad(var)));
    let names = ["H", "A", "B", "W", "Wb", "sa", "sb", "L"];
    let leaves = names.into_iter().zip(here.leaves);
    let mut values: Named = between.map(|(name, var)| (name, exact(var.value()))).into();
    values.push(("next", exact(here.next.value())));
    (
        values,
        between.into_iter().chain(leaves).map(gradient).collect(),
    )
}

const ALL: &str = "({ values: forward(input.parts), gradients: backward(input.parts, input.G),
    differences: Object.fromEntries(Object.keys(backward(input.parts, input.G)).map(name => [name, differences(input.parts, input.G, name)])) })";

#[test]
fn values_and_gradients_are_those_of_the_tape_for_random_tokens() {
    with_node(|| {
        for seed in 0..20 {
            let key = Key::new(seed);
            let (token, g) = (Token::new(key.named("token")), gradient_from_above(key));
            let page = value(&["token"], ALL, &as_json(&token, &g));
            let (values, gradients) = on_tape(&token, &g);
            for (name, engine) in values {
                let what = format!("seed {seed}: {name}");
                assert_close(&numbers(&page["values"][name]), &engine, &what);
            }
            for (name, engine) in gradients {
                let what = format!("seed {seed}: gradient of {name}");
                assert_close(&numbers(&page["gradients"][name]), &engine, &what);
                let slopes = numbers(&page["differences"][name]);
                assert_close(&slopes, &engine, &format!("{what}, by differences"));
            }
        }
    });
}

#[test]
fn the_page_begins_with_the_token_of_the_lesson() {
    let key = Key::new(0);
    let lesson = as_json(&Token::new(key.named("token")), &gradient_from_above(key));
    let recorded = include_str!("../../lessons/pages/recorded/token.json");
    let recorded: Value = serde_json::from_str(recorded).expect("JSON");
    for (name, part) in lesson["parts"].as_object().expect("parts") {
        assert_close(&numbers(&recorded["parts"][name]), &numbers(part), name);
    }
    assert_close(&numbers(&recorded["G"]), &numbers(&lesson["G"]), "G");
}

const DRIVE: &str = r##"
const all = name => [...document.querySelectorAll(`[data-key^="${name}."]`)].map(td => Number(td.dataset.value));
const read = () => ({ next: all('next'), H: all('gradient.H'), W: all('gradient.W'), L: all('gradient.L'), sa: all('gradient.sa'), differences: all('difference.W') });
seen.lesson = read();
const type = (key, x) => { const e = document.querySelector(`input[data-key="${key}"]`); e.value = x; e.dispatchEvent(new Event('input')); };
type('H.1.2', -0.7); type('A.0.1', 0.35); type('sa.0.0', 0.8); type('G.1.0', 2);
seen.changed = read();
document.querySelector('[data-key="next.0.0"]').dispatchEvent(new Event('pointerenter'));
seen.how = document.getElementById('how').textContent;
document.getElementById('start').click();
seen.start = all('gradient.sa');
document.getElementById('random').click();
seen.agreement = document.getElementById('agreement').textContent;
"##;

#[test]
fn the_page_shows_what_the_tape_computes() {
    let Some(seen) = seen("token.html", DRIVE) else {
        return;
    };
    let key = Key::new(0);
    let (mut token, mut g) = (Token::new(key.named("token")), gradient_from_above(key));
    let check = |shown: &Value, token: &Token, g: &[f32]| {
        let (values, gradients) = on_tape(token, g);
        let of = |list: &Named, name: &str| {
            list.iter()
                .find(|(n, _)| *n == name)
                .expect("a name")
                .1
                .clone()
        };
        assert_close(&numbers(&shown["next"]), &of(&values, "next"), "next");
        for name in ["H", "W", "L", "sa"] {
            assert_close(&numbers(&shown[name]), &of(&gradients, name), name);
        }
        assert_close(
            &numbers(&shown["differences"]),
            &of(&gradients, "W"),
            "differences",
        );
    };
    check(&seen["lesson"], &token, &g);
    token.parts[0][6] = -0.7;
    token.parts[1][1] = 0.35;
    token.parts[5][0] = 0.8;
    g[4] = 2.0;
    check(&seen["changed"], &token, &g);
    assert!(
        seen["how"]
            .as_str()
            .expect("text")
            .starts_with("Ĥ₁, channel 1 = B₁ × output")
    );
    // W = 0 leaves s_alpha without a gradient.
    assert_eq!(numbers(&seen["start"]), [0.0]);
    assert!(
        seen["agreement"]
            .as_str()
            .expect("text")
            .contains("gradients; they")
    );
}
