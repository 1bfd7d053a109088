//! The playground.

use crate::{
    network::{Sublayer, as_json, composed, gains, random, unfolded},
    node::{assert_close, numbers, value},
    seen, with_node,
};
use engine::rng::Key;
use figures::unfold::unfold;
use lab::inspect::{InspectedNetwork, Trace};
use serde_json::{Value, json};
use std::{env, fs, path::Path};

#[test]
fn random_networks_unfold_as_the_engine_unfolds_them() {
    with_node(|| {
        for n in 1..=4 {
            for count in [2, 5, 8] {
                let network = random(Key::new(7).at(n as u64).at(count as u64), count, n);
                let page = value(
                    &["network"],
                    "[unfold(input), composed(input), gains(composed(input))]",
                    &as_json(&network),
                );
                let what = format!("n = {n}, {count} sublayers");
                assert_close(&numbers(&page[0]), &unfolded(&network), &what);
                let mix = composed(&network).concat();
                assert_close(&numbers(&page[1]), &mix, &what);
                let [forward, backward] = gains(&network);
                assert_close(&[page[2]["forward"].as_f64().unwrap()], &[forward], &what);
                assert_close(&[page[2]["backward"].as_f64().unwrap()], &[backward], &what);
            }
        }
    });
}

#[test]
fn the_trained_networks_unfold_as_inspect_has_unfolded_them() {
    with_node(|| {
        let recorded = include_str!("../../lessons/pages/recorded/trained.json");
        let runs: Value = serde_json::from_str(recorded).expect("JSON");
        let page = value(&["network"], "input.map(run => unfold(run.network))", &runs);
        let composed =
            "input.map(run => gains(composed(run.network))).map(g => [g.forward, g.backward])";
        let gains = value(&["network"], composed, &runs);
        for (at, run) in runs.as_array().expect("runs").iter().enumerate() {
            let inspected = numbers(&run["unfolded"]);
            assert_close(&numbers(&page[at]), &inspected, "the unfolded matrix");
            assert_close(&numbers(&gains[at]), &numbers(&run["gains"]), "the gains");
        }
    });
}

/// Writes `network`, `unfolded` and `gains` of a record in `recorded/trained.json` into the
/// temporary directory; `RECORD_RUN` is the run directory of the command that the record names.
#[test]
#[ignore = "needs a trained run"]
fn record_a_static_run() {
    let run = env::var_os("RECORD_RUN").expect("a path");
    let network = InspectedNetwork::open(Path::new(&run), None, 1).expect("a run");
    let mean = Trace::of(&network).mean().expect("streams");
    let layers: Vec<Sublayer> = mean
        .iter()
        .map(|layer| Sublayer {
            alpha: layer.alpha.clone(),
            beta: layer.beta.clone(),
        })
        .collect();
    let unfolded = unfold(&mean, &vec![1.0; mean[0].rate()]).inputs;
    let now = json!({ "network": as_json(&layers), "unfolded": unfolded, "gains": gains(&layers) });
    let file = env::temp_dir().join("trained.json");
    fs::write(file, now.to_string()).expect("space");
}

#[test]
fn buttons_make_the_networks_that_they_name() {
    with_node(|| {
        let names = |network: &str| -> Vec<String> {
            let said = format!("recognised(unfold({network})).map(said => said[0])");
            let said = value(
                &["network", "presets", "patterns", "puzzles"],
                &said,
                &json!(0),
            );
            serde_json::from_value(said).expect("names")
        };
        assert_eq!(names("preNorm(6)"), ["pre-norm"]);
        assert_eq!(names("postNorm(6)"), ["post-norm-like"]);
        assert_eq!(names("parallel(4)"), ["parallel", "parallel"]);
        let third = value(
            &["network", "presets"],
            "unfold(parallel(4))[2].slice(0, 3)",
            &json!(0),
        );
        assert_eq!(third, json!([4, 1, 1]), "the numbers of its words");
        assert_eq!(names("twoHop(6)"), ["two-hop"]);
        for n in 1..=4 {
            let start = value(
                &["network", "presets"],
                "unfold(start(5, input))",
                &json!(n),
            );
            for (k, row) in start.as_array().expect("rows").iter().enumerate() {
                let expected = if k == 5 { n } else { 1 };
                assert!(
                    (0..=k).all(|j| row[j] == json!(expected)),
                    "n = {n}, row {k}"
                );
            }
        }
        let mixes =
            "mhc(8, 4, 1).flatMap(layer => [defects(layer.mix), ...layer.read, ...layer.write])";
        let numbers = numbers(&value(&["presets", "sinkhorn"], mixes, &json!(0)));
        let of_layer = 2 + 4 + 4;
        for layer in numbers.chunks(of_layer) {
            assert!(layer[0] < 1e-4 && layer[1] < 1e-4, "{layer:?}");
            assert!(layer[2..6].iter().all(|x| (0.0..=1.0).contains(x)));
            assert!(layer[6..].iter().all(|x| (0.0..=2.0).contains(x)));
        }
    });
}

#[test]
fn puzzles_begin_unsolved_and_have_the_solutions_that_they_show() {
    const MET: &str =
        "PUZZLES.map(({ start, solution, checks }) => [start(), ...(solution ? [solution()] : [])]
        .map(network => checks.every(check => check.holds(unfold(network)))))";
    with_node(|| {
        let met = value(&["network", "puzzles"], MET, &json!(0));
        let expected = json!([
            [false, true],
            [false],
            [false, true],
            [false, true],
            [false, true]
        ]);
        assert_eq!(met, expected);
    });
}

/// The puzzle that cannot be solved: no network of one stream does it.
#[test]
fn one_stream_has_no_parallel_block() {
    const TRIED: &str = "input.filter(network => PUZZLES[1].checks.every(check => check.holds(unfold(network)))).length";
    with_node(|| {
        let networks: Vec<Value> = (0..3000)
            .map(|seed| {
                let mut network = random(Key::new(seed), 4, 1);
                // Half of the numbers are 0, or hardly anything would be.
                for (at, x) in network
                    .iter_mut()
                    .flat_map(|layer| layer.alpha.iter_mut())
                    .enumerate()
                {
                    *x *= f32::from((seed >> at) % 2 == 0);
                }
                for (at, layer) in network.iter_mut().enumerate() {
                    layer.beta[0] *= f32::from((seed >> (8 + at)) % 2 == 0);
                }
                as_json(&network)
            })
            .collect();
        let solved = value(&["network", "puzzles"], TRIED, &json!(networks));
        assert_eq!(solved, 0);
    });
}

/// Types a network into the page, number by number.
const TYPE: &str = r##"
const press = id => document.getElementById(id).click();
const counter = (id, to) => { for (let i = 0; i < 8; i++) {
    const now = Number(document.querySelector(`#${id} output`).textContent);
    if (now !== to) document.querySelectorAll(`#${id} button`)[now < to ? 1 : 0].click();
} };
const type = (key, x) => {
    const input = document.querySelector(`[data-key="${key}"]`);
    input.value = x;
    input.dispatchEvent(new Event('input'));
    input.dispatchEvent(new Event('change'));
};
const shown = selector => [...document.querySelectorAll(selector)].map(td => Number(td.dataset.value));
seen.networks = networks.map(network => {
    counter('count', network.length);
    counter('rate', network[0].write.length);
    network.forEach(({ read, mix, write }, k) => {
        read.forEach((x, i) => type(`read.${k}.${i}`, x));
        write.forEach((x, j) => type(`write.${k}.${j}`, x));
        mix.forEach((row, i) => row.forEach((x, j) => type(`mix.${k}.${i}.${j}`, x)));
    });
    return { c: shown('#unfolded [data-value]'), mix: shown('#composed [data-value]'), gains: [...shown('#forward'), ...shown('#backward')],
        text: [...document.querySelectorAll('#unfolded [data-value]')].map(td => td.textContent) };
});
"##;

#[test]
fn the_page_shows_what_the_engine_computes_for_typed_networks() {
    let networks: Vec<_> = [(2, 1), (4, 2), (8, 4), (5, 3)]
        .map(|(count, n)| random(Key::new(11).at(n as u64), count, n))
        .into();
    let typed: Vec<Value> = networks.iter().map(|network| as_json(network)).collect();
    let script = format!("const networks = {};\n{TYPE}", json!(typed));
    let Some(seen) = seen("playground.html", &script) else {
        return;
    };
    for (at, network) in networks.iter().enumerate() {
        let shown = &seen["networks"][at];
        let size = network.len() + 1;
        let all = unfolded(network);
        let triangle: Vec<f64> = (0..size)
            .flat_map(|k| all[k * size..=k * size + k].to_vec())
            .collect();
        assert_close(&numbers(&shown["c"]), &triangle, "C");
        for (text, x) in shown["text"]
            .as_array()
            .expect("cells")
            .iter()
            .zip(&triangle)
        {
            let text = text.as_str().expect("text").replace('−', "-");
            if let Ok(read) = text.parse::<f64>() {
                assert!((read - x).abs() <= 0.0051, "{text} for {x}");
            }
        }
        assert_close(
            &numbers(&shown["mix"]),
            &composed(network).concat(),
            "the mix",
        );
        assert_close(&numbers(&shown["gains"]), &gains(network), "the gains");
    }
}

const WALK: &str = r##"
const $ = id => document.getElementById(id);
const c = (k, j) => $(`c-${k}-${j}`).dataset.value;
seen.scenes = [];
for (let i = 0; i < 8; i++) {
    seen.scenes.push([...document.querySelectorAll('#tour article')].filter(a => !a.hidden).length + ' ' + $('place').textContent);
    if (i === 3) seen.product = $('readout').textContent;
    if (i === 4) { document.querySelector('[data-set="write.0.0"]').click(); seen.unused = $('patterns').textContent; }
    if (i === 5) seen.hole = [c(1, 1), c(2, 1), c(4, 1)];
    $('next').click();
}
$('tab-puzzle').click();
seen.puzzle = $('puzzle').textContent;
[0, 1, 2, 3].forEach(k => { const e = document.querySelector(`[data-key="mix.${k}.0.0"]`); e.value = '1/2'; e.dispatchEvent(new Event('input')); });
seen.solved = $('solved').textContent;
const one = document.querySelector('[data-key="write.2.0"]');
const before = Number(one.getAttribute('aria-valuenow'));
one.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp' }));
seen.step = Number(one.getAttribute('aria-valuenow')) - before;
one.focus(); one.value = 'x'; one.dispatchEvent(new Event('input')); seen.invalid = one.getAttribute('aria-invalid'); one.dispatchEvent(new Event('change')); seen.kept = one.value; seen.refused = $('refused').textContent;
const drag = (e, dx) => { const at = (type, x) => e.dispatchEvent(new PointerEvent(type, { clientX: x, button: 0, bubbles: true, pointerId: 1 })); e.setPointerCapture = () => {}; at('pointerdown', 100); at('pointermove', 100 + dx); at('pointerup', 100 + dx); };
one.blur(); drag(one, -50); seen.dragged = one.getAttribute('aria-valuenow');
const corner = $('c-0-0'); corner.focus(); corner.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown' }));
seen.focused = document.activeElement.id;
seen.presets = [...document.querySelectorAll('#presets button')].map(b => { b.click(); return b.getAttribute('aria-pressed') + ' ' + $('about').textContent.length; });
"##;

#[test]
fn tour_puzzles_keys_and_dragging_work() {
    let Some(seen) = seen("playground.html", WALK) else {
        return;
    };
    let text = |name: &str| seen[name].as_str().expect("text").to_owned();
    for (at, scene) in seen["scenes"]
        .as_array()
        .expect("scenes")
        .iter()
        .enumerate()
    {
        assert_eq!(scene, &json!(format!("1 {} of 8", at + 1)));
    }
    assert!(
        text("product").contains("reads 1 × the output of T₁"),
        "{}",
        text("product")
    );
    assert!(
        text("unused").contains("Nothing ever uses the output of T₁"),
        "{}",
        text("unused")
    );
    assert_eq!(seen["hole"], json!(["0", "1", "1"]));
    assert!(text("puzzle").contains("Puzzle 1 of 5") && text("puzzle").contains("1. Fade"));
    assert!(text("solved").starts_with("Solved."), "{}", text("solved"));
    assert!((seen["step"].as_f64().expect("a number") - 0.1).abs() < 1e-9);
    assert_eq!(text("invalid"), "true");
    assert_eq!(text("kept"), "1.1");
    assert_eq!(
        text("refused"),
        "“x” is not a number from −99 to 99: 1.1 stays."
    );
    assert_eq!(text("dragged"), "0.6");
    assert_eq!(text("focused"), "c-1-0");
    for preset in seen["presets"].as_array().expect("buttons") {
        let preset = preset.as_str().expect("text");
        assert!(
            preset.starts_with("true ") && preset != "true 0",
            "{preset}"
        );
    }
}

const UNDO: &str = r##"
const $ = id => document.getElementById(id);
const more = () => document.querySelectorAll('#rate button')[1].click();
const input = () => document.querySelector('[data-key="mix.0.0.1"]');
const type = x => { input().value = x; input().dispatchEvent(new Event('input')); input().dispatchEvent(new Event('change')); };
const state = () => [$('undo').disabled, Number(document.querySelector('#rate output').textContent), input()?.getAttribute('aria-valuenow') ?? null];
seen.undone = [state()];
const undo = () => { $('undo').click(); seen.undone.push(state()); };
more(); type('0.5'); type('0.7'); more(); document.querySelectorAll('#presets button')[2].click();
undo(); undo(); undo(); undo();
$('tab-puzzle').click(); $('puzzle-next').click(); more();
seen.solved = [$('solved').textContent, $('solved').className];
[...document.querySelectorAll('#presets button')].at(-1).click(); $('c-8-0').click();
const texts = table => [...table.querySelectorAll('td')].map(td => td.textContent);
const factors = [...document.querySelectorAll('.product table')];
seen.product = [factors.length, texts(factors[1]).join() === texts($('composed')).join()];
// As on a phone: the window of the test is narrow.
const box = e => e.getBoundingClientRect();
const [c, readout, network] = ['.unfolded', '#readout', '.network'].map(name => document.querySelector(name));
seen.phone = [matchMedia('(max-width:820px)').matches, getComputedStyle(c).position,
    box(c).bottom <= box(readout).top && box(readout).bottom <= box(network).top,
    ...['c-caption', 'hc-caption'].map(id => box($(id)).height > 0)];
seen.captions = $('c-caption').textContent + $('hc-caption').textContent;
"##;

#[test]
fn changes_are_undone_and_phones_have_captions() {
    let Some(seen) = seen("playground.html", UNDO) else {
        return;
    };
    let states = json!([
        [true, 1, null],
        [false, 3, "0"],
        [false, 2, "0.7"],
        [false, 2, "0"],
        [true, 1, null]
    ]);
    assert_eq!(seen["undone"], states);
    let solved = json!(["This one is for 1 stream.", "refused"]);
    assert_eq!(seen["solved"], solved);
    assert_eq!(seen["product"], json!([3, true]));
    assert_eq!(seen["phone"], json!([true, "static", true, true, true]));
    let captions = seen["captions"].as_str().expect("text");
    assert!(
        captions.contains("Row = who reads") && captions.contains("row = from"),
        "{captions}"
    );
}
