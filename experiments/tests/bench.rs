//! The step of the race computes what PyTorch computes.

use std::process::Command;

/// The losses before the first steps, from PyTorch in f32.
const CASES: [(&[&str], &[f64]); 8] = [
    (
        &["--size=small", "--connection=pre_norm"],
        &[5.70266, 5.53403, 5.38535, 5.24705],
    ),
    (
        &["--size=small", "--connection=dhc", "--rate=4"],
        &[
            5.70267, 5.53609, 5.38527, 5.24021, 5.09128, 4.93846, 4.7877, 4.63811,
        ],
    ),
    (
        &["--size=s", "--connection=pre_norm"],
        &[
            5.70209, 5.41022, 5.15779, 4.91171, 4.67297, 4.44448, 4.22262, 4.00904,
        ],
    ),
    (
        &["--size=s", "--connection=dhc", "--rate=4"],
        &[
            5.70209, 5.40513, 5.14262, 4.87555, 4.61094, 4.35817, 4.11598, 3.88688,
        ],
    ),
    (
        &["--size=s", "--connection=shc", "--rate=4"],
        &[5.70209, 5.40549, 5.14390, 4.87888],
    ),
    (
        &["--size=s", "--connection=dhc", "--rate=8"],
        &[5.70209, 5.40309, 5.13353, 4.84984],
    ),
    (
        &["--size=m", "--connection=pre_norm"],
        &[5.71265, 4.90626, 4.20766, 3.62625],
    ),
    (
        &["--size=m", "--connection=dhc", "--rate=4"],
        &[5.71265, 4.90941, 4.19790, 3.61037],
    ),
];

#[test]
fn the_losses_are_those_of_pytorch() {
    for (arguments, expected) in CASES {
        let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
            .args(["bench", "--json", &format!("--steps={}", expected.len())])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        check_rates(&report);
        let losses = report["losses"].as_array().unwrap();
        assert_eq!(losses.len(), expected.len());
        for (step, (loss, expected)) in losses.iter().zip(expected).enumerate() {
            let difference = (loss.as_f64().unwrap() - expected).abs();
            assert!(
                difference < 1e-3,
                "{arguments:?}, step {step}: {loss}, PyTorch {expected}"
            );
        }
    }
}

/// A step is slower than its multiply-adds alone.
fn check_rates(report: &serde_json::Value) {
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let rate = 1e3 * number("gflop") / number("median_ms");
    let fraction = number("fraction_of_peak");
    assert!(fraction > 0.0 && fraction < 1.0, "{report}");
    assert!(
        (fraction * number("peak_gflops") / rate - 1.0).abs() < 1e-9,
        "{report}"
    );
}

/// `--size small` is the main job.
#[test]
fn the_size_small_is_the_step_of_the_preset() {
    use lab::{bench::named, preset::Preset};
    let size = named("small").expect("a size");
    let config = Preset::named("small").expect("a preset").config();
    let model = config.model.transformer().expect("a decoder");
    let hidden = model.ffn.hidden();
    let network = [model.dim, model.layers, model.heads, hidden];
    assert_eq!(size.network, network);
    assert_eq!((size.seq, model.vocab_size), (model.seq, 256));
    let train = &config.train;
    assert_eq!(
        (size.batch, size.micro_batch),
        (train.batch, train.micro_batch)
    );
    assert_eq!(train.shards, 2);
}

#[test]
fn a_growth_table_has_the_fraction_of_the_peak_in_each_row() {
    let growth = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
            .args(["bench", "--growth=seq", "--rate=1", "--steps=1"])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rows: Vec<serde_json::Value> = serde_json::from_str(&growth(&["--json"])).unwrap();
    assert_eq!(rows.len(), 5);
    rows.iter().for_each(check_rates);
    let text = growth(&[]);
    let head = text.split('─').next().unwrap();
    assert!(
        head.contains("peak") && text.contains("FMA peak of"),
        "{text}"
    );
}

#[test]
fn a_request_that_makes_no_sense_is_refused_in_one_line() {
    for arguments in [
        &["bench", "--rate=0"][..],
        &["bench", "--steps=0"],
        &["bench", "--size=x"],
        &["bench", "--no-such-flag"],
        &["--threads=0", "bench"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: "), "{message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}
