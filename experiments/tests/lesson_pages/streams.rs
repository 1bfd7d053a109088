//! Why streams separate: the recorded training.

use crate::{
    node::numbers,
    record::{assert_recorded, rounded},
    seen,
};
use engine::{rng::Key, tape::Var};
use lessons::teach::symmetry::{connection, train};
use nn::{connection::hyper::ReadInit, hooks};
use serde_json::{Value, json};

/// Mean over the tokens of values `[tokens, len]`.
fn mean(values: &[f32], len: usize) -> Vec<f64> {
    let tokens = (values.len() / len) as f64;
    let entry = |at: usize| values[at..].iter().step_by(len).map(|&x| f64::from(x));
    (0..len)
        .map(|at| rounded(entry(at).sum::<f64>() / tokens, 4))
        .collect()
}

/// Mean cosine of the two streams of the tokens.
fn cosine(hidden: Var<'_>) -> f64 {
    let d = hidden.shape().width();
    let values: Vec<f64> = hidden.value().into_iter().map(f64::from).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let of_token = |token: &[f64]| {
        let (a, b) = token.split_at(d);
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let tokens = values.chunks(2 * d);
    let count = tokens.len() as f64;
    rounded(tokens.map(of_token).sum::<f64>() / count, 5)
}

/// Loss, and of every sublayer the cosine of its streams and its mean HC.
fn step(_: usize, loss: f32, probes: &[(String, Var<'_>)]) -> Value {
    let of = |what: &str| -> Vec<Var<'_>> {
        let named = probes
            .iter()
            .filter(|(name, _)| hooks::scope_of(name, what).is_some());
        named.map(|(_, var)| *var).collect()
    };
    let (alphas, betas) = (of(hooks::ALPHA), of(hooks::BETA));
    let hidden = of(hooks::HIDDEN);
    let sublayers = hidden.iter().zip(&alphas).zip(&betas);
    let sublayers: Vec<Value> = sublayers
        .map(|((hidden, alpha), beta)| {
            json!({ "cosine": cosine(*hidden), "alpha": mean(&alpha.value(), 6), "beta": mean(&beta.value(), 2) })
        })
        .collect();
    json!({ "loss": rounded(loss, 4), "sublayers": sublayers })
}

#[test]
fn the_recorded_training_is_that_of_the_engine() {
    let run = |read_init| train(Key::new(0), connection(read_init), step);
    let now = json!({ "uniform": run(ReadInit::Uniform), "one_hot": run(ReadInit::OneHot) });
    // Sixty steps of Adam part by rounding on other processors.
    assert_recorded("streams.json", &now, 0.1);
    let now = now.as_object().expect("runs");
    for run in now.values() {
        assert_eq!(run.as_array().expect("steps").len(), 61);
        assert_eq!(run[0]["sublayers"].as_array().expect("sublayers").len(), 4);
    }
    let cosines = |run: &str, step: usize| -> Vec<f64> {
        let sublayers = now[run][step]["sublayers"].as_array().expect("sublayers");
        sublayers
            .iter()
            .map(|s| s["cosine"].as_f64().expect("a number"))
            .collect()
    };
    assert!((0..61).all(|at| cosines("uniform", at).iter().all(|&x| x > 0.99999)));
    assert!(cosines("one_hot", 0).iter().all(|&x| x > 0.99999));
    // More than five degrees.
    assert!(cosines("one_hot", 60)[3] < 0.996);
}

const DRIVE: &str = r##"
const numbers = selector => [...document.querySelectorAll(selector)].map(td => Number(td.dataset.value));
const slide = x => { const e = document.getElementById('step'); e.value = x; e.dispatchEvent(new Event('input')); };
seen.steps = [0, 30, 60].map(x => { slide(x); return { uniform: numbers('#uniform [data-value]'), one_hot: numbers('#one-hot [data-value]') }; });
seen.ratios = numbers('#one-stream [data-ratio]');
seen.one = [...document.querySelectorAll('#one-stream [data-ratio]')].map(td => Number(td.dataset.ratio));
seen.two = [...document.querySelectorAll('#two-streams [data-ratio]')].map(td => Number(td.dataset.ratio));
"##;

#[test]
fn the_page_shows_the_step_that_the_slider_is_at() {
    let Some(seen) = seen("streams.html", DRIVE) else {
        return;
    };
    let recorded = include_str!("../../lessons/pages/recorded/streams.json");
    let recorded: Value = serde_json::from_str(recorded).expect("JSON");
    for (at, step) in [0, 30, 60].into_iter().enumerate() {
        for run in ["uniform", "one_hot"] {
            let shown = numbers(&seen["steps"][at][run]);
            let mut expected = Vec::new();
            for sublayer in recorded[run][step]["sublayers"].as_array().expect("four") {
                let (alpha, beta) = (numbers(&sublayer["alpha"]), numbers(&sublayer["beta"]));
                expected.extend(numbers(&sublayer["cosine"]));
                expected.extend(beta);
                expected.extend(alpha);
            }
            assert_eq!(shown, expected, "{run}, step {step}");
        }
    }
    let spread = |ratios: &Value| {
        let ratios = numbers(ratios);
        assert!(ratios.len() >= 3);
        ratios
            .iter()
            .fold(0.0_f64, |m, x| m.max((x - ratios[0]).abs()))
    };
    assert!(spread(&seen["one"]) < 1e-9 && spread(&seen["two"]) > 1e-3);
}
