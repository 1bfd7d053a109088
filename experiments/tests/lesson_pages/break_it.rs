//! Known bugs and their measurements.

use crate::{
    node::{assert_close, numbers},
    record::assert_recorded,
    seen,
};
use engine::rng::Key;
use lessons::teach::break_it::{CASES, DIAGNOSTICS, examine};
use serde_json::{Value, json};

fn readings(readings: Vec<(f64, bool)>) -> Value {
    let reading = |(value, fires): (f64, bool)| {
        // Two digits; rounding errors are all alike.
        let value = if value.abs() < 1e-5 { 0.0 } else { value };
        let value: f64 = format!("{value:.2e}").parse().expect("a number");
        json!({ "value": value, "fires": fires })
    };
    readings.into_iter().map(reading).collect()
}

#[test]
fn recorded_readings_are_those_of_the_engine() {
    let diagnostics: Vec<Value> = DIAGNOSTICS
        .iter()
        .map(|d| json!({ "name": d.name, "about": d.about }))
        .collect();
    let of_bug = |bug| readings(examine(Key::new(0), bug));
    let bugs: Vec<Value> = CASES
        .iter()
        .map(|case| json!({ "name": case.name, "readings": of_bug(Some(case.bug)) }))
        .collect();
    let now = json!({ "diagnostics": diagnostics, "healthy": of_bug(None), "bugs": bugs });
    assert_recorded("bugs.json", &now, 0.02);
    let recorded = include_str!("../../lessons/pages/recorded/bugs.json");
    let recorded: Value = serde_json::from_str(recorded).expect("JSON");
    let alarms = |value: &Value| value["bugs"].to_string().matches("\"fires\":true").count();
    assert_eq!(alarms(&recorded), alarms(&now));
    assert_eq!(recorded["diagnostics"], now["diagnostics"]);
}

const DRIVE: &str = r##"
const values = () => [...document.querySelectorAll('#readings [data-value]')].map(td => Number(td.dataset.value));
const inputs = [...document.querySelectorAll('#cases input')];
seen.bugs = inputs.map(input => { input.checked = true; input.dispatchEvent(new Event('change')); return {
    values: values(), verdict: document.getElementById('verdict').textContent,
    story: [...document.querySelectorAll('#stories > div')].filter(div => !div.hidden).map(div => div.querySelector('h2').textContent) }; });
const told = name => { document.querySelector(`[data-mix="${name}"]`).click(); return [document.getElementById('transposed-words').textContent, document.getElementById('dead-words').textContent]; };
seen.identity = told('identity'); seen.symmetric = told('symmetric'); seen.any = told('any');
"##;

#[test]
fn the_page_shows_the_readings_of_the_bug_that_is_in() {
    let Some(seen) = seen("break_it.html", DRIVE) else {
        return;
    };
    let recorded = include_str!("../../lessons/pages/recorded/bugs.json");
    let recorded: Value = serde_json::from_str(recorded).expect("JSON");
    for (at, shown) in seen["bugs"].as_array().expect("bugs").iter().enumerate() {
        let readings = match at {
            0 => &recorded["healthy"],
            _ => &recorded["bugs"][at - 1]["readings"],
        };
        let values: Vec<f64> = readings
            .as_array()
            .expect("readings")
            .iter()
            .flat_map(|r| numbers(&r["value"]))
            .collect();
        assert_close(&numbers(&shown["values"]), &values, "readings");
        let title = shown["story"][0].as_str().expect("a title");
        let named = at == 0 || title.contains(&CASES[at - 1].name.replace("A_r", "Ar"));
        assert!(named, "{title}");
        assert_eq!(
            shown["verdict"]
                .as_str()
                .expect("text")
                .starts_with("Alarm"),
            at > 0
        );
    }
    assert_eq!(seen["identity"], json!(["test is green", "test is green"]));
    assert_eq!(seen["symmetric"][0], "test is green");
    assert_ne!(seen["symmetric"][1], "test is green");
    assert_ne!(seen["any"][0], "test is green");
}
