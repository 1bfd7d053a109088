//! Dynamic coefficients: a text and what a trained network makes of it.

use crate::{
    node::{assert_close, numbers, value},
    record::rounded,
    seen, with_node,
};
use engine::{
    ops::{layer_norm, matmul},
    params::Params,
    rng::Key,
    tape::Tape,
};
use lab::inspect::{InspectedNetwork, Trace};
use nn::connection::{
    PredictorNorm,
    hyper::ops::coefficients,
    streams::predictor::{Predictor, PredictorForm},
};
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};
use std::{env, fs, path::Path};

/// Writes `recorded/dynamic.json` into the temporary directory: `RECORD_RUN` is the run directory of
/// the command that the record names, `RECORD_TEXT` a file with its text.
#[test]
#[ignore = "needs a trained run"]
fn record_a_run() {
    let place = |name: &str| env::var_os(name).expect("a path");
    let (run, text) = (place("RECORD_RUN"), place("RECORD_TEXT"));
    let network = InspectedNetwork::open(Path::new(&run), Some(Path::new(&text)), 2);
    let network = network.expect("a run");
    let trace = Trace::of(&network);
    let (letters, window) = network.text().expect("letters");
    let sites: Vec<Value> = trace
        .layers
        .iter()
        .map(|layer| {
            let hidden = layer.hidden.as_ref().expect("streams");
            let name = format!("{}_connection", layer.site);
            site(&network.params, &name, hidden, trace.dim)
        })
        .collect();
    let now = json!({ "text": String::from_utf8_lossy(letters), "window": window, "sites": sites });
    let file = env::temp_dir().join("dynamic.json");
    fs::write(file, now.to_string()).expect("space");
}

fn site(params: &Params, name: &str, hidden: &[f32], d: usize) -> Value {
    let of = |what: &str| -> Vec<f32> {
        let part = params.part(&format!("{name}.{what}")).expect("a parameter");
        params.slab()[part.range.clone()].to_vec()
    };
    let tape = Tape::new();
    let rows = hidden.len() / d;
    let constant = |what: &str, shape: &[usize]| tape.constant(shape, &of(what));
    let norm = [constant("norm.weight", &[d]), constant("norm.bias", &[d])];
    let normed = layer_norm(
        tape.constant([rows, d], hidden),
        Some(norm[0]),
        Some(norm[1]),
        1e-12,
    );
    let z = matmul(normed, constant("dynamic_alpha_fn", &[d, 3])).value();
    let zb = matmul(normed, constant("dynamic_beta_fn", &[d, 1])).value();
    let short = |x: Vec<f32>| -> Vec<f64> { x.into_iter().map(|x| rounded(x, 4)).collect() };
    json!({
        "A": of("static_alpha"), "B": of("static_beta"),
        "sa": of("dynamic_alpha_scale")[0], "sb": of("dynamic_beta_scale")[0],
        "z": short(z), "zb": short(zb),
    })
}

const SHOWN: &str = "input.settings.map(settings => input.tokens.map((_, at) => { const { alpha, beta } = coefficients(input.site, at, settings); return [alpha, beta]; }))";

#[test]
fn coefficients_are_those_of_the_engine_for_any_scale_and_with_and_without_tanh() {
    const TOKENS: usize = 5;
    const D: usize = 8;
    with_node(|| {
        let normal = |name: &str, count: usize| -> Vec<f32> {
            let mut rng = Key::new(2).named(name).rng();
            (0..count)
                .map(|_| StandardNormal.sample(&mut rng))
                .collect()
        };
        let [state, w, wb, a, b] = [
            ("state", TOKENS * 2 * D),
            ("W", D * 3),
            ("W_beta", D),
            ("A", 6),
            ("B", 2),
        ]
        .map(|(name, count)| normal(name, count));
        let tape = Tape::new();
        let normed = layer_norm(tape.constant([TOKENS * 2, D], &state), None, None, 1e-5);
        let z = matmul(normed, tape.constant([D, 3], &w)).value();
        let zb = matmul(normed, tape.constant([D, 1], &wb)).value();
        let settings = [
            (1.0_f32, 1.0_f32, true),
            (3.0, 0.5, true),
            (0.2, 20.0, true),
            (3.0, 2.0, false),
        ];
        let input = json!({
            "site": { "A": a, "B": b, "sa": 0.3, "sb": -0.2, "z": z, "zb": zb },
            "tokens": [0, 0, 0, 0, 0],
            "settings": settings.map(|(predictors, scales, tanh)| json!({ "predictors": predictors, "scales": scales, "tanh": tanh })),
        });
        let page = value(&["dynamic"], SHOWN, &input);
        for (at, (predictors, scales, tanh)) in settings.into_iter().enumerate() {
            let times = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| x * predictors).collect() };
            let predictor = Predictor {
                form: PredictorForm {
                    norm: PredictorNorm::LayerNorm,
                    eps: 1e-5,
                    tanh,
                },
                static_alpha: tape.constant([2, 3], &a),
                static_beta: tape.constant([2], &b),
                alpha_fn: tape.constant([D, 3], &times(&w)),
                beta_fn: tape.constant([D], &times(&wb)),
                alpha_scale: tape.constant([1], &[0.3 * scales]),
                beta_scale: tape.constant([1], &[-0.2 * scales]),
                norm_weight: Some(tape.constant([D], &[1.0; D])),
                norm_bias: Some(tape.constant([D], &[0.0; D])),
            };
            let engine = coefficients(tape.constant([TOKENS, 2, D], &state), &predictor);
            let (alpha, beta) = (engine.alpha.value(), engine.beta.value());
            let expected: Vec<f64> = (0..TOKENS)
                .flat_map(|t| [&alpha[t * 6..][..6], &beta[t * 2..][..2]].concat())
                .map(f64::from)
                .collect();
            assert_close(&numbers(&page[at]), &expected, &format!("setting {at}"));
        }
    });
}

const DRIVE: &str = r##"
const all = selector => [...document.querySelectorAll(selector)].map(td => Number(td.dataset.value));
const slide = (id, x) => { const e = document.getElementById(id); e.value = x; e.dispatchEvent(new Event('input')); };
document.querySelectorAll('#text button')[40].click();
seen.token = all('#hc [data-value]');
seen.c = all('#unfolded [data-value]');
slide('scales', 0);
seen.off = all('#hc [data-value]');
document.querySelectorAll('#text button')[50].click();
seen.other = all('#hc [data-value]');
"##;

#[test]
fn the_page_shows_the_token_that_was_chosen() {
    let Some(seen) = seen("dynamic.html", DRIVE) else {
        return;
    };
    let recorded = include_str!("../../lessons/pages/recorded/dynamic.json");
    let recorded: Value = serde_json::from_str(recorded).expect("JSON");
    let site = &recorded["sites"][0];
    let part = |name: &str| numbers(&site[name]);
    let [(a, z), (b, zb)] = [("A", "z"), ("B", "zb")].map(|(a, z)| (part(a), part(z)));
    let scale = |name: &str| site[name].as_f64().expect("a scale");
    let hc = |token: usize, on: f64| -> Vec<f64> {
        let alpha = |at: usize| a[at] + on * scale("sa") * z[token * 6 + at].tanh();
        let beta = (0..2).map(|at| b[at] + on * scale("sb") * zb[token * 2 + at].tanh());
        beta.chain((0..6).map(alpha)).collect()
    };
    assert_close(&numbers(&seen["token"]), &hc(40, 1.0), "a token");
    assert_close(
        &numbers(&seen["off"]),
        &hc(40, 0.0),
        "without its dynamic part",
    );
    assert_close(&numbers(&seen["other"]), &hc(50, 0.0), "another token");
    assert_eq!(numbers(&seen["c"]).len(), 9 * 10 / 2);
}
