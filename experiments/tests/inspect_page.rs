//! The page of `inspect` in a browser without a network: it loads, says no errors, and what is
//! shown follows the slider, the choices and the mouse. Skipped with a line where there is no
//! Chromium.

#[path = "common/browser.rs"]
mod browser;

use browser::{chromium, shown, width_in, written};
use engine::skipped::skipped;
use std::{fs, path::Path, process::Command};

/// Before the page's own script: remembers everything that goes wrong.
const WATCH: &str = "<script>window.wrong=[];\
    addEventListener('error',e=>wrong.push(String(e.message)));\
    console.error=console.warn=(...all)=>wrong.push(all.join(' '));</script>";

/// After it: moves what a person would move, and writes down what is seen.
const DRIVE: &str = r#"<script>
const seen = {}, $$ = id => document.getElementById(id);
const matrices = () => $$('unfolded').textContent + $$('layers').textContent;
const choose = (id, value) => { $$(id).value = value; $$(id).dispatchEvent(new Event(id === 'step' ? 'input' : 'change')); };
seen.title = document.title;
seen.cells = document.querySelectorAll('#unfolded .cell').length;
seen.mean = matrices();
choose('source', 'step'); choose('step', 0); seen.first = matrices();
choose('step', 1); seen.second = matrices();
choose('source', 'token'); seen.token = matrices();
document.querySelectorAll('#text span')[7].click(); seen.other = matrices();
choose('source', 'mean'); choose('layer', 2); seen.layer = $$('layers').textContent;
choose('stream', 3); seen.stream = $$('unfolded').textContent;
document.querySelector('#unfolded .cell').dispatchEvent(new Event('mouseenter'));
seen.cell = $$('readout').textContent;
document.querySelectorAll('#text span')[3].dispatchEvent(new Event('mouseenter'));
seen.letter = $$('readout').textContent;
seen.cuts = document.querySelectorAll('#text .cut').length;
seen.logarithmic = document.body.textContent.includes('(logarithmic axis)');
seen.charts = document.querySelectorAll('#charts svg').length;
seen.fetched = performance.getEntriesByType('resource').length;
seen.wrong = wrong;
const out = document.createElement('pre'); out.id = 'seen';
out.textContent = '[[' + JSON.stringify(seen).replace(/[<>&]/g, '') + ']]';
document.body.append(out);
</script>"#;

fn experiments(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .output()
        .expect("the program starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}

/// What the driven page has written down.
fn driven(browser: &Path, root: &Path, page: &str) -> serde_json::Value {
    let page = page
        .replacen("<head>", &format!("<head>{WATCH}"), 1)
        .replacen("</body>", &format!("{DRIVE}</body>"), 1);
    let file = root.join("driven.html");
    fs::write(&file, page).expect("space");
    serde_json::from_str(&written(&shown(browser, root, &file))).expect("JSON")
}

#[test]
fn the_page_follows_slider_choices_and_mouse_without_a_network() {
    let Some(browser) = chromium() else {
        skipped("there is no chromium");
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    let place = |name: &str| root.join(name).display().to_string();
    let text: String = (0..6000)
        .map(|i| ["so ", "it ", "<goes> ", "and ", "ends. "][(i * i + i / 7) % 5])
        .collect();
    fs::write(root.join("text"), text).expect("a text");
    let (corpus, run, out) = (place("text"), place("run"), place("out"));
    let settings = [
        "train",
        "--preset=smoke",
        "--corpus",
        &corpus,
        "--out",
        &run,
    ];
    let hyper = ["--set=model.connection.type=hyper", "--set=train.steps=20"];
    experiments(&[&settings[..], &hyper, &["--set=train.record_every=10"]].concat());
    experiments(&["inspect", &run, "--text", &corpus, "--out", &out]);
    let page = fs::read_to_string(root.join("out/index.html")).expect("the page");
    let outside = ["src=", "href=", "@import", "url("];
    assert!(
        outside.iter().all(|way| !page.contains(way)),
        "the page reaches out"
    );

    let seen = driven(&browser, root, &page);
    let text = |name: &str| seen[name].as_str().expect("text").to_owned();
    assert_eq!(seen["wrong"], serde_json::json!([]));
    assert_eq!(seen["fetched"], 0);
    assert!(
        text("title").ends_with("/run: inspection"),
        "{}",
        text("title")
    );
    // Two lower triangles of 4 sublayers and the end.
    assert_eq!(seen["cells"], 2 * (5 * 6 / 2));
    assert!(seen["charts"].as_u64().expect("a number") >= 6);
    let states = ["mean", "first", "second", "token", "other"].map(text);
    for (i, a) in states.iter().enumerate() {
        assert!(
            states[..i].iter().all(|b| a != b),
            "state {i} shows nothing new"
        );
    }
    assert!(text("first").contains("mean at step 0"));
    assert!(text("other").contains("letter 8"));
    assert!(text("stream").contains("C(3)"));
    assert!(text("layer").contains("initialisation"));
    assert!(
        text("cell").starts_with("C(3), mean of all tokens: sublayer 1"),
        "{}",
        text("cell")
    );
    assert!(text("letter").starts_with("letter 4"), "{}", text("letter"));
    // 192 letters of windows of 32.
    assert_eq!(seen["cuts"], 5);
    assert_eq!(seen["logarithmic"], true);
}

/// Of a deep network, whose matrices have many columns, and of a run that recorded no steps.
#[test]
fn the_page_is_as_wide_as_a_phone_or_a_desktop() {
    let Some(browser) = chromium() else {
        skipped("there is no chromium");
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    let place = |name: &str| root.path().join(name).display().to_string();
    for (name, layers, connection) in [
        ("deep", 20, "hyper"),
        ("flat", 2, "mhc"),
        ("one", 2, "altup"),
    ] {
        let (run, out) = (place(name), place(&format!("{name}-page")));
        let layers = format!("--set=model.layers={layers}");
        let connection = format!("--set=model.connection.type={connection}");
        let few = "--set=train.steps=1";
        experiments(&[
            "train",
            "--preset=smoke",
            "--out",
            &run,
            &layers,
            &connection,
            few,
        ]);
        experiments(&["inspect", &run, "--windows=1", "--out", &out]);
        let page = fs::read_to_string(Path::new(&out).join("index.html")).expect("the page");
        for window in [390, 1280] {
            let width = width_in(&browser, root.path(), &page, window);
            assert!(width <= window, "{name}: {width} of {window} pixels");
        }
    }
}
