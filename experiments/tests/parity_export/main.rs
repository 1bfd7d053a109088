//! Reference values for the authors of kernels: this engine reproduces them, PyTorch in float64
//! agrees, and mistakes that kernels are written with do not pass.

mod carried;

use lab::parity::{check, export};
use safetensors::SafeTensors;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Type and settings of every connection that can be exported.
const CASES: &[(&str, &[&str])] = &[
    ("pre_norm", &[]),
    ("rezero", &[]),
    ("layer_scale", &[]),
    ("highway", &[]),
    ("altup", &["blocks=3"]),
    ("hyper", &[]),
    ("hyper", &["rate=1"]),
    ("hyper", &["rate=3", "dynamic=false", "norm=none"]),
    ("hyper", &["rate=2", "tanh=false", "norm=rmsnorm"]),
    ("hyper", &["rate=8", "norm=none", "dim=12", "eps=1e-3"]),
    ("frac", &["fractions=4"]),
    ("frac", &["fractions=2", "dynamic=false"]),
    ("frac", &["fractions=2", "tanh=false"]),
    ("mhc", &[]),
    ("hyper", &["rate=3", "delayed_reads=true"]),
    ("hyper", &["rate=2", "frozen=[\"read\"]"]),
    (
        "hyper",
        &["rate=3", "frozen=[\"mix\", \"write\"]", "norm=none"],
    ),
    ("hyper", &["frozen=[\"dynamic\"]", "delayed_reads=true"]),
    ("hyper", &["rate=2", "dynamic=false", "delayed_reads=true"]),
    ("mhc", &["rate=2", "sinkhorn_iters=3"]),
    ("mhc", &["rate=3", "sinkhorn_iters=5", "write_gain_end=0.5"]),
    ("mhc", &["sublayer_index=0", "eps=1e-9"]),
    ("mhc_lite", &[]),
    ("mhc_lite", &["rate=3"]),
    ("krom_hc", &[]),
    ("krom_hc", &["rate=8"]),
    ("identity_hc", &[]),
    ("cayley", &[]),
    ("cayley", &["rate=3"]),
    ("ohc", &[]),
    ("jpmhc", &[]),
    ("mhc_v4", &[]),
    ("mhc_v4", &["rate=2", "sinkhorn_iters=3", "hc_eps=1e-3"]),
    ("single_pass_mhc", &[]),
    (
        "single_pass_mhc",
        &["rate=3", "sinkhorn_iters=2", "hc_eps=1e-3", "dim=5"],
    ),
    ("delta_attention_residual", &[]),
    (
        "delta_attention_residual",
        &["sublayer_index=4", "dim=7", "batch=1"],
    ),
    ("two_lane", &[]),
    ("two_lane", &["first_block=1", "sublayer_index=4", "dim=9"]),
    ("gated_residual", &[]),
    ("gated_residual", &["rate=3", "rank=5"]),
    ("deep_delta", &[]),
    ("deep_delta", &["channels=1"]),
    ("virtual_width", &[]),
    ("virtual_width", &["fractions=2", "slots=6", "tau=1.5"]),
];

fn exported(connection: &str, settings: &[&str]) -> Vec<u8> {
    let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
    export(connection, &settings).unwrap()
}

fn write_cases(folder: &Path) -> Vec<PathBuf> {
    let files = CASES.iter().enumerate();
    files
        .map(|(i, (connection, settings))| {
            let path = folder.join(format!("{i}_{connection}.safetensors"));
            fs::write(&path, exported(connection, settings)).unwrap();
            path
        })
        .collect()
}

#[test]
fn the_engine_reproduces_every_exported_file() {
    let folder = tempfile::tempdir().unwrap();
    for file in write_cases(folder.path()) {
        let found = check(&file).unwrap();
        assert!(found.passed, "{found:#?}");
        assert!(found.outputs.is_some() && found.gradients.is_some());
    }
}

/// No two numbers of a file are the same, none is 0, and every parameter that learns has a gradient.
#[test]
fn everything_is_in_general_position() {
    for (connection, settings) in CASES {
        let bytes = exported(connection, settings);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut inputs = Vec::new();
        for (name, view) in file.iter() {
            let (words, _) = view.data().as_chunks();
            let values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            // The gradients of frozen columns are.
            let frozen = name.starts_with("grad.") && settings.iter().any(|s| s.contains("frozen"));
            assert!(
                values
                    .iter()
                    .all(|x| x.is_finite() && (frozen || *x != 0.0)),
                "{connection}: {name}"
            );
            if !name.starts_with("grad.") && !name.starts_with("expect.") {
                inputs.extend(values.iter().map(|x| x.to_bits()));
            }
        }
        let count = inputs.len();
        inputs.sort_unstable();
        inputs.dedup();
        // Two of a few thousand normal numbers in f32 may be the same.
        assert!(
            inputs.len() + 3 > count,
            "{connection}: {} of {count}",
            inputs.len()
        );
    }
}

/// Settings that stand for a mistake.
#[test]
fn a_file_does_not_pass_with_other_settings() {
    for (connection, from, to) in [
        ("hyper", "\"tanh\":true", "\"tanh\":false"),
        ("hyper", "\"layernorm\"", "\"rmsnorm\""),
        ("hyper", "\"eps\":0.00001", "\"eps\":0.00002"),
        ("frac", "\"tanh\":true", "\"tanh\":false"),
        ("mhc", "\"sinkhorn_iters\":20", "\"sinkhorn_iters\":19"),
        ("virtual_width", "\"tau\":null", "\"tau\":1.0"),
        (
            "delta_attention_residual",
            "\"eps\":0.00001",
            "\"eps\":0.00002",
        ),
        (
            "single_pass_mhc",
            "\"sinkhorn_iters\":20",
            "\"sinkhorn_iters\":2",
        ),
    ] {
        let bytes = exported(connection, &[]);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let mut metadata = header.metadata().clone().unwrap();
        let config = metadata.get_mut("config").unwrap();
        assert!(config.contains(from), "{config}");
        *config = config.replace(from, to);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        // A norm without bias has no parameter for it.
        let kept = |name: &str| to != "\"rmsnorm\"" || !name.ends_with("norm.bias");
        let tensors = file.iter().filter(|(name, _)| kept(name));
        let changed = safetensors::serialize(tensors, Some(metadata)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.safetensors");
        fs::write(&path, changed).unwrap();
        assert!(!check(&path).unwrap().passed, "{to}");
    }
}

/// Whether python3 has these packages; says so if it has not.
fn has(packages: &str) -> bool {
    let import = format!("import {packages}");
    let python = Command::new("python3").args(["-c", &import]).output();
    let found = python.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: python3 cannot import {packages}");
    }
    found
}

fn python(program: &str, arguments: &[&str]) -> Output {
    let python = Command::new("python3")
        .args(["-c", program])
        .args(arguments)
        .output();
    python.expect("python3 starts")
}

#[test]
fn pytorch_in_float64_agrees_and_mistakes_are_noticed() {
    if !has("torch") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = write_cases(folder.path());
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let output = python(include_str!("reference.py"), &files);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut count = 0;
    for line in lines.lines() {
        let found: serde_json::Value = serde_json::from_str(line).unwrap();
        let pair =
            |pair: &serde_json::Value| [0, 1].map(|i| pair[i].as_f64().unwrap_or(f64::INFINITY));
        let error = pair(&found["error"]);
        println!("{} {error:?}", found["file"]);
        assert!(error.iter().all(|error| *error < 1e-6), "{line}");
        for (mistake, error) in found["wrong"].as_object().unwrap() {
            let error = pair(error);
            println!("    {mistake} {error:?}");
            // Twice what passes, in output or gradients: most are hundreds of times that.
            let noticed = error[0] > 2e-5 || error[1] > 2e-4;
            assert!(noticed, "{}: {mistake}: {error:?}", found["file"]);
        }
        count += 1;
    }
    assert_eq!(count, CASES.len());
}

fn experiments(arguments: &[&str]) -> Output {
    let program = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .output();
    program.unwrap()
}

#[test]
fn the_command_writes_a_file_that_it_accepts_and_overwrites_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mhc.safetensors");
    let path = path.to_str().unwrap();
    let arguments = [
        "parity",
        "export",
        "--connection",
        "mhc",
        "--set",
        "rate=2",
        "--out",
        path,
    ];
    let output = experiments(&arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(experiments(&["parity", path]).status.success());
    let before = fs::read(path).unwrap();
    let output = experiments(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is there already"));
    assert_eq!(fs::read(path).unwrap(), before);
}

#[test]
fn what_cannot_be_exported_is_said_in_one_line() {
    for (connection, settings, message) in [
        (
            "hypest",
            &[][..],
            "connection.type: expected pre_norm, post_norm, ",
        ),
        (
            "dense_former",
            &[],
            "it needs more than a file of one sublayer has",
        ),
        ("attention_residual", &[], "it needs more"),
        ("mudd", &[], "it needs more"),
        ("two_lane", &["sublayer_index=0"], "it needs more"),
        (
            "delta_attention_residual",
            &["sublayer_index=20001"],
            "expected at most 20000",
        ),
        ("hyper", &["rate"], "--set rate: expected KEY=VALUE"),
        (
            "hyper",
            &["type=frac"],
            "--set type=frac: expected KEY=VALUE",
        ),
        (
            "hyper",
            &["ratte=2"],
            "connection.ratte: there is no such setting, expected rate, ",
        ),
        ("hyper", &["rate=0"], "rate is 0"),
        ("hyper", &["batch=0"], "batch is 0"),
        ("hyper", &["eps=0"], "eps is 0"),
        ("hyper", &["eps=big"], "eps: expected a number, not \"big\""),
        ("frac", &["dim=15"], "expected a divisor of dim 15"),
        ("hyper", &["dim=1000000000000"], "at most 16777216 are"),
        ("hyper", &["batch=1000000000000"], "at most 2147483648 are"),
        ("mhc", &["rate=256", "dim=1024"], "at most 16777216 are"),
        (
            "mhc",
            &["rate=256", "sinkhorn_iters=10000"],
            "at most 16777216 are",
        ),
    ] {
        let settings: Vec<String> = settings
            .iter()
            .map(|&text: &&str| text.to_owned())
            .collect();
        let error = export(connection, &settings).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// The connection of the page's program, as a kernel in float32 would compute it.
const KERNEL: &str = "
import torch
import torch.nn.functional as F


def connection(state, p, layer, config):
    width = state.shape[-1:]
    normed = F.layer_norm(state, width, p['norm.weight'], p['norm.bias'], config['eps'])
    alpha = p['dynamic_alpha_scale'] * torch.tanh(normed @ p['dynamic_alpha_fn']) + p['static_alpha']
    beta = p['dynamic_beta_scale'] * torch.tanh(normed @ p['dynamic_beta_fn']) + p['static_beta']
    mixed = alpha.mT @ state
    return mixed[..., 1:, :] + beta.unsqueeze(-1) * layer(mixed[..., 0, :]).unsqueeze(-2)
";

#[test]
fn the_program_of_the_page_tells_a_right_kernel_from_a_wrong_one() {
    if !has("torch, safetensors") {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/parity.md");
    let page = fs::read_to_string(page).unwrap();
    let mut programs = page.split("```python\n").skip(1);
    let program = programs
        .find(|block| block.contains("from kernel import"))
        .unwrap();
    let program = program.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("hyper.safetensors"),
        exported("hyper", &[]),
    )
    .unwrap();
    let run = |kernel: &str| {
        fs::write(folder.path().join("kernel.py"), kernel).unwrap();
        let python = Command::new("python3")
            .current_dir(folder.path())
            // A kernel that was compiled in the same second would be taken for this one.
            .args(["-B", "-c", program, "hyper.safetensors", "cpu"])
            .output();
        python.unwrap()
    };
    let right = run(KERNEL);
    let said = String::from_utf8_lossy(&right.stderr);
    assert!(right.status.success(), "{said}");
    for (from, to) in [
        ("alpha.mT @ state", "alpha.mT @ state * float('nan')"),
        (
            "torch.tanh(normed @ p['dynamic_beta_fn'])",
            "(normed @ p['dynamic_beta_fn'])",
        ),
        ("config['eps']", "0.0"),
    ] {
        assert!(KERNEL.contains(from));
        let wrong = run(&KERNEL.replace(from, to));
        let said = String::from_utf8_lossy(&wrong.stderr);
        assert!(said.contains("AssertionError"), "{to}: {said}");
    }
}
