//! The fixtures of PyTorch, and what files that are no fixtures lead to.

use lab::parity::{Agreement, ParityError, check};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The files of the project, or of the folder that `HC_FIXTURES` names.
fn fixtures() -> Vec<PathBuf> {
    let shipped = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let folder = std::env::var_os("HC_FIXTURES").map_or_else(shipped, PathBuf::from);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
        .collect();
    files.sort();
    files
}

fn fixture(name: &str) -> PathBuf {
    let wanted = format!("{name}.safetensors");
    fixtures()
        .into_iter()
        .find(|path| path.file_name().unwrap() == &*wanted)
        .unwrap()
}

/// A fixture with something changed: its tensors and its metadata.
struct Changed {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl Changed {
    fn new(name: &str) -> Self {
        let bytes = fs::read(fixture(name)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let shape = view.shape().to_vec();
            (name.to_owned(), view.dtype(), shape, view.data().to_vec())
        });
        Self {
            tensors: tensors.collect(),
            metadata: header.metadata().clone().unwrap(),
        }
    }

    fn config(mut self, from: &str, to: &str) -> Self {
        let config = self.metadata.get_mut("config").unwrap();
        assert!(config.contains(from), "{config}");
        *config = config.replace(from, to);
        self
    }

    fn without(mut self, name: &str) -> Self {
        let before = self.tensors.len();
        self.tensors.retain(|tensor| tensor.0 != name);
        assert_eq!(self.tensors.len() + 1, before);
        self
    }

    fn renamed(mut self, from: &str, to: &str) -> Self {
        let mut tensors = self.tensors.iter_mut();
        tensors.find(|tensor| tensor.0 == from).unwrap().0 = to.to_owned();
        self
    }

    fn first_word(mut self, name: &str, word: [u8; 4]) -> Self {
        let mut tensors = self.tensors.iter_mut();
        let tensor = tensors.find(|tensor| tensor.0 == name).unwrap();
        tensor.3[..4].copy_from_slice(&word);
        self
    }

    fn check(self) -> Result<Agreement, ParityError> {
        let views = self.tensors.iter().map(|(name, dtype, shape, data)| {
            let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
            (name.clone(), view)
        });
        let bytes = safetensors::serialize(views, Some(self.metadata)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.safetensors");
        fs::write(&path, bytes).unwrap();
        check(&path)
    }

    #[track_caller]
    fn refused(self, message: &str) {
        let error = self.check().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains("changed.safetensors: "), "{error}");
    }
}

#[test]
fn every_fixture_is_reproduced_within_the_rounding_of_f32() {
    let files = fixtures();
    assert!(files.len() >= 22);
    for file in files {
        let report = check(&file).unwrap();
        assert!(report.passed, "{report:#?}");
        assert!(report.outputs.is_some() && report.gradients.is_some());
    }
}

#[test]
fn a_transposed_mix_does_not_pass() {
    let mut changed = Changed::new("connection_shc2");
    let tensor = |name: &str| name == "param.connection.static_alpha";
    let mut tensors = changed.tensors.iter_mut();
    let alpha = tensors.find(|(name, ..)| tensor(name)).unwrap();
    // [A_m | A_r] is [2, 3]: elements 2 and 4 are off the diagonal of A_r.
    let (upper, lower) = (alpha.3[8..12].to_vec(), alpha.3[16..20].to_vec());
    alpha.3[8..12].copy_from_slice(&lower);
    alpha.3[16..20].copy_from_slice(&upper);
    assert!(!changed.check().unwrap().passed);
}

#[test]
fn another_weight_decay_or_clip_does_not_pass() {
    for (from, to) in [
        ("\"weight_decay\": 0.1", "\"weight_decay\": 0.0"),
        ("\"clip\": 1.0", "\"clip\": 0.1"),
        ("\"lr\": 0.01", "\"lr\": 0.0101"),
    ] {
        let report = Changed::new("network_shc2").config(from, to).check();
        let report = report.unwrap();
        assert!(!report.passed, "{to}");
        assert!(report.gradients.unwrap().passes());
    }
}

#[test]
fn what_is_not_implemented_is_said_to_be_skipped() {
    let unknown = |fixture: &str, from: &str, to: &str, message: &str| {
        let error = Changed::new(fixture).config(from, to).check().unwrap_err();
        assert!(matches!(error, ParityError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    };
    let (from, to) = ("\"hyper\"", "\"hypest\"");
    let message = "skipped: connection type \"hypest\" is not known here";
    unknown("connection_dhc2", from, to, message);
    unknown("network_dhc4", from, to, message);
    let static_two =
        r#"{"dynamic": false, "norm": "none", "rate": 2, "tanh": true, "type": "hyper"}"#;
    let values = r#"{"type": "value_residual"}"#;
    let message = "around a layer that is no attention is not known here";
    unknown("connection_shc2", static_two, values, message);
    unknown("network_shc2", "swiglu", "relu", "ffn type \"relu\"");
    unknown("network_shc2", "transformer", "rnn", "arch \"rnn\"");
}

#[test]
fn contradictions_are_named() {
    let network = || Changed::new("network_pre_norm");
    let query = "param.blocks.0.attn.q.weight";
    network().without(query).refused(query);
    network().renamed(query, "param.x").refused(query);
    let targets = "input.targets";
    network().without(targets).refused(targets);
    network()
        .first_word(targets, 31_i32.to_le_bytes())
        .refused("input.targets contains 31, expected 0 to 30");
    network()
        .first_word(targets, (-1_i32).to_le_bytes())
        .refused("contains -1");
    network()
        .first_word(query, f32::NAN.to_le_bytes())
        .refused("is NaN");
    network()
        .config("\"dim\": 24", "\"dim\": 26")
        .refused("dim 26 is not divisible by heads 3");
    network()
        .config("\"dim\": 24", "\"dim\": 30")
        .refused("is [31, 24], expected [31, 30]");
    network()
        .config("\"seq\"", "\"sequence\"")
        .refused("sequence");
    network()
        .config("\"steps\": 5", "\"steps\": 6")
        .refused("expect.train_losses is [5], expected [6]");
    network()
        .renamed("expect.logits", "expect.entropy")
        .refused("expect.entropy");
    Changed::new("connection_dhc2")
        .config("\"seq\": 3", "\"seq\": 4")
        .refused("input.hidden is [2, 3, 2, 16], expected [2, 4, 2, 16]");
    network()
        .config("\"layers\": 3", "\"layers\": 3000000000")
        .refused("layers is 3000000000, but all tensors together have");
    let mut bare = network();
    bare.metadata.clear();
    bare.refused("__metadata__ has no kind, so these are no reference values; a parity file is");
}

#[test]
fn a_head_that_is_missing_is_tied_to_the_embedding() {
    // The references are those of another network: what counts is that it runs.
    let mut tied = Changed::new("network_pre_norm").without("param.head.weight");
    tied.tensors
        .retain(|tensor| !tensor.0.starts_with("grad.") && !tensor.0.contains("train"));
    let from = tied.metadata["config"].find(", \"train\"").unwrap();
    let config = tied.metadata.get_mut("config").unwrap();
    let to = from + config[from..].find('}').unwrap() + 1;
    config.replace_range(from..to, "");
    let report = tied.check().unwrap();
    assert!(report.outputs.unwrap().error > 0.1 && report.gradients.is_none());
}

fn parity(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .arg("parity")
        .args(arguments)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output, stderr)
}

#[test]
fn the_exit_status_says_what_happened() {
    let good = fixture("network_dhc4");
    let good = good.to_str().unwrap();
    let (output, stderr) = parity(&[good]);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    let (output, stderr) = parity(&[good, "no such file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("error: no such file: "), "{stderr}");
    let (output, _) = parity(&[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_text_is_told_what_a_parity_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    fs::write(&path, "so it goes\n").unwrap();
    let (output, stderr) = parity(&[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("it is a text; a parity file is a safetensors file with"),
        "{stderr}"
    );
    assert!(!stderr.contains("run directory"), "{stderr}");
}

#[test]
fn a_truncated_file_is_refused_at_any_length() {
    let bytes = fs::read(fixture("connection_shc1")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = check(&path).unwrap_err().to_string();
        assert!(error.contains("not a whole safetensors file"), "{error}");
    }
}

#[test]
fn json_has_one_line_for_each_file() {
    let good = fixture("connection_dhc4");
    let (output, _) = parity(&["--json", good.to_str().unwrap(), "no such file"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["passed"], true);
    assert!(lines[0]["gradients"]["error"].as_f64().unwrap() < 1e-4);
    assert_eq!(lines[1]["passed"], false);
}

/// What decays in a file is its own business as long as it says so.
#[test]
fn a_file_may_list_what_decays() {
    let train = "\"weight_decay\": 0.1}";
    let listed = |names: &[String]| {
        let list = serde_json::to_string(names).unwrap();
        let with_list = format!("\"weight_decay\": 0.1, \"decays\": {list}}}");
        Changed::new("network_dhc4").config(train, &with_list)
    };
    let by_rule: Vec<String> = Changed::new("network_dhc4")
        .tensors
        .iter()
        .filter_map(|(name, _, shape, _)| Some((name.strip_prefix("param.")?, shape)))
        .filter(|(name, shape)| {
            let exempt = [".static_", "norm", "bias"];
            shape.iter().product::<usize>() > 1 && !exempt.iter().any(|word| name.contains(word))
        })
        .map(|(name, _)| name.to_owned())
        .collect();
    let report = listed(&by_rule).check().unwrap();
    assert!(
        report.passed && report.decay_differs.is_empty(),
        "{report:?}"
    );
    let report = listed(&by_rule[1..]).check().unwrap();
    assert_eq!(report.decay_differs, by_rule[..1]);
    assert!(!report.passed);
    listed(&["no.such.weight".to_owned()]).refused("decays names no.such.weight");
}
