//! The page of Sinkhorn's iteration.

use crate::{
    node::{assert_close, numbers, value},
    seen, with_node,
};
use checkpoints::{Direction, Divisor, Sinkhorn};
use engine::rng::Key;
use lessons::known_bugs::sinkhorn::{Rule, finite_differences, gradient, off_by, on_tape};
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

fn normal(key: Key, count: usize, scale: f32) -> Vec<f32> {
    let mut rng = key.rng();
    let mut one = || {
        let x: f32 = StandardNormal.sample(&mut rng);
        (100.0 * scale * x).round() / 100.0
    };
    (0..count).map(|_| one()).collect()
}

fn exact(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

fn rows(x: &[f32], n: usize) -> Value {
    x.chunks(n).map(|row| json!(row)).collect()
}

const MHC: &str = "[sinkhorn(input[0], { ...MHC, iterations: input[1] }),
    sinkhornGradient(input[0], { ...MHC, iterations: input[1] }, input[2]),
    sinkhornGradient(input[0], { ...MHC, iterations: input[1] }, input[2], true)]";

#[test]
fn matrix_and_gradient_are_those_of_the_engine() {
    with_node(|| {
        for (n, iterations, scale) in [(2, 1, 1.0), (3, 3, 2.0), (4, 3, 2.0), (4, 20, 3.0)] {
            let key = Key::new(3).at(n as u64);
            let logits = normal(key.named("logits"), n * n, scale);
            let g = normal(key.named("G"), n * n, 1.0);
            let input = json!([rows(&logits, n), iterations, rows(&g, n)]);
            let page = value(&["sinkhorn"], MHC, &input);
            let engine = on_tape(&[1], n, iterations, &logits, &g);
            assert_close(&numbers(&page[0]), &exact(&engine.mix), "the matrix");
            assert_close(&numbers(&page[1]), &exact(&engine.gradient), "the gradient");
            let frozen = gradient(
                n,
                iterations,
                &exact(&logits),
                &exact(&g),
                Rule::FinalMatrix,
            );
            assert_close(&numbers(&page[2]), &frozen, "the wrong gradient");
        }
    });
}

/// Rules of the libraries as the reader of their checkpoints has them.
fn libraries() -> [Sinkhorn; 5] {
    let plain = Sinkhorn {
        clamp: None,
        temperature: 1.0,
        softmax: None,
        first: Direction::Columns,
        iterations: 20,
        divisor: Divisor::Plus(0.0),
    };
    [
        plain,
        Sinkhorn {
            softmax: Some(1e-6),
            first: Direction::Rows,
            divisor: Divisor::Plus(1e-6),
            ..plain
        },
        Sinkhorn {
            temperature: 0.05,
            first: Direction::Rows,
            iterations: 10,
            ..plain
        },
        Sinkhorn {
            divisor: Divisor::Floor(1e-12),
            ..plain
        },
        Sinkhorn {
            clamp: Some(20.0),
            first: Direction::Rows,
            divisor: Divisor::Floor(1e-8),
            ..plain
        },
    ]
}

#[test]
fn rules_of_libraries_are_those_of_the_checkpoint_reader() {
    const ALL: &str = "LIBRARIES.flatMap(([, rule]) => [sinkhorn(input[0], rule), sinkhornGradient(input[0], rule, input[1])])";
    with_node(|| {
        for scale in [0.5, 4.0, 12.0] {
            let logits = normal(Key::new(5).named("logits"), 16, scale);
            let g = normal(Key::new(5).named("G"), 16, 1.0);
            let page = value(&["sinkhorn"], ALL, &json!([rows(&logits, 4), rows(&g, 4)]));
            for (at, rule) in libraries().iter().enumerate() {
                let what = format!("rule {at}, logits of deviation {scale}");
                let matrix = rule.apply(&exact(&logits), 4);
                assert_close(&numbers(&page[2 * at]), &matrix, &what);
                let forward = |logits: &[f64]| rule.apply(logits, 4);
                let slopes = finite_differences(&exact(&logits), &exact(&g), forward);
                let gradient = numbers(&page[2 * at + 1]);
                let apart = gradient.iter().zip(&slopes).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f64::max) < 1e-4, "{what}: gradient");
            }
        }
    });
}

const DRIVE: &str = r##"
const all = selector => [...document.querySelectorAll(selector)].map(td => Number(td.dataset.value));
const type = (i, j, x) => { const e = document.querySelector(`[data-key="logit.${i}.${j}"]`); e.value = x; e.dispatchEvent(new Event('input')); };
logits.forEach((row, i) => row.forEach((x, j) => type(i, j, x)));
const slide = (id, x) => { const e = document.getElementById(id); e.value = x; e.dispatchEvent(new Event('input')); };
slide('iterations', 2);
seen.matrix = all('#matrix td[data-value]:not(.sum)');
seen.words = document.getElementById('defect-words').textContent;
seen.g = all('#slopes td[data-value]');
seen.right = all('#right td[data-value]');
seen.differences = all('#differences td[data-value]');
seen.compared = all('#compared td[data-value]');
seen.pressed = [...document.querySelectorAll('#libraries button')].map(b => { b.click(); return [...document.querySelectorAll('#libraries button')].filter(b => b.getAttribute('aria-pressed') === 'true').map(b => b.textContent); });
slide('layers', 1); seen.one = document.getElementById('product-words').textContent;
slide('layers', 60); seen.sixty = document.getElementById('product-words').textContent;
slide('sureness', 16); seen.sure = document.getElementById('sure-words').textContent;
"##;

#[test]
fn the_page_shows_what_the_engine_computes() {
    let logits = normal(Key::new(9), 16, 1.5);
    let script = format!("const logits = {};\n{DRIVE}", rows(&logits, 4));
    let Some(seen) = seen("sinkhorn.html", &script) else {
        return;
    };
    let g: Vec<f32> = numbers(&seen["g"]).into_iter().map(|x| x as f32).collect();
    let engine = on_tape(&[1], 4, 2, &logits, &g);
    assert_close(&numbers(&seen["matrix"]), &exact(&engine.mix), "the matrix");
    for name in ["right", "differences"] {
        assert_close(&numbers(&seen[name]), &exact(&engine.gradient), name);
    }
    let reference = libraries()[0].apply(&exact(&logits), 4);
    for (at, rule) in libraries().iter().enumerate() {
        let matrix = rule.apply(&exact(&logits), 4);
        let [row, column] = off_by(4, &matrix);
        let apart = matrix.iter().zip(&reference).map(|(a, b)| (a - b).abs());
        let expected = [row, column, apart.fold(0.0, f64::max)];
        let shown = &numbers(&seen["compared"])[3 * at..3 * at + 3];
        assert_close(shown, &expected, &format!("library {at}"));
    }
    for (at, pressed) in seen["pressed"]
        .as_array()
        .expect("buttons")
        .iter()
        .enumerate()
    {
        assert_eq!(pressed.as_array().expect("names").len(), 1, "button {at}");
    }
    let text = |name: &str| seen[name].as_str().expect("text").to_owned();
    assert!(
        text("words").starts_with("After 2 iterations rows are off by"),
        "{}",
        text("words")
    );
    assert!(
        text("sixty").contains("mHC gain 1, norm 1,"),
        "{}",
        text("sixty")
    );
    assert_ne!(text("one"), text("sixty"));
    assert!(text("sure").starts_with("b = 16"));
}
