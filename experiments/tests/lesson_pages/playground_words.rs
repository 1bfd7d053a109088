//! What the playground says in words, beside its numbers.

use crate::{node::value, with_node};
use lessons::pages::page_of;
use serde_json::{Value, json};

fn page() -> String {
    let page = page_of(7).expect("the playground");
    page.alone().expect("memory")
}

/// The closing answer names the reads and writes that give no parallel block; the page recognises one
/// for all others.
#[test]
fn the_closing_answer_agrees_with_what_is_recognised() {
    const FOUND: &str = "input.map(([read, write]) => recognised(unfold([
        sublayer(read, identity(2), [1, 0]), sublayer([0, 1], identity(2), write)
    ])).some(said => said[0] === 'parallel'))";
    with_node(|| {
        let numbers = [-1.0, -0.5, 0.0, 0.5, 1.0];
        let pairs: Vec<[f64; 2]> = numbers
            .iter()
            .flat_map(|&a| numbers.map(|b| [a, b]))
            .collect();
        let cases: Vec<[[f64; 2]; 2]> = pairs
            .iter()
            .flat_map(|&read| pairs.iter().map(move |&write| [read, write]))
            .collect();
        let expected: Vec<bool> = cases
            .iter()
            .map(|case| case.iter().all(|[a, b]| a + b != 0.0))
            .collect();
        let modules = ["network", "presets", "patterns"];
        let found = value(&modules, FOUND, &json!(cases));
        assert_eq!(found, json!(expected));
        assert!(page().contains(
            "The entries of B<sup>(2)</sup> must not add up to 0, or the final sum, which adds the \
             streams, has nothing of T<sub>2</sub>; those of A<sub>m</sub><sup>(1)</sup> neither"
        ));
    });
}

#[test]
fn what_is_said_of_the_trained_networks_is_so() {
    let recorded = include_str!("../../lessons/pages/recorded/trained.json");
    let runs: Value = serde_json::from_str(recorded).expect("JSON");
    let html = page();
    for (at, run) in runs.as_array().expect("runs").iter().enumerate() {
        let gain = run["gains"][0].as_f64().expect("a number");
        let said = format!("<span data-gain=\"{at}\">{gain:.1}</span>");
        assert!(html.contains(&said), "{said}");
        let c = &run["unfolded"];
        assert_eq!(c.as_array().expect("rows").len(), 8 + 1);
        for attention in [2, 4, 6] {
            let of_x = |k: usize| c[k][0].as_f64().expect("a number");
            assert!(of_x(attention) > of_x(attention + 1), "{at}, {attention}");
        }
    }
    with_node(|| {
        const FADING: &str =
            "input.map(run => run.unfolded.filter((_, j) => fades(run.unfolded, j, 1)).length)";
        assert_eq!(value(&["patterns"], FADING, &runs), json!([0, 0]));
    });
}

/// Both ways round: either stream may be the one that fades.
#[test]
fn the_fourth_puzzle_takes_either_stream_as_the_memory() {
    const SOLVED: &str = "[[0.5, 1], [1, 0.5]].map(([a, b]) => start(5, 2).map(() =>
        sublayer([1, 1], [[a, 0], [0, b]], [Number(a < b), Number(b < a)])))
        .map(network => PUZZLES[3].checks.every(check => check.holds(unfold(network))))";
    with_node(|| {
        let modules = ["network", "presets", "puzzles"];
        assert_eq!(value(&modules, SOLVED, &json!(0)), json!([true, true]));
    });
}

#[test]
fn mixes_of_mhc_have_gains_of_one() {
    with_node(|| {
        let gains = "gains(composed(mhc(8, 4, 1)))";
        let gains = value(&["network", "presets"], gains, &json!(0));
        for way in ["forward", "backward"] {
            let gain = gains[way].as_f64().expect("a number");
            assert!((gain - 1.0).abs() < 1e-4, "{way} {gain}");
        }
    });
}
