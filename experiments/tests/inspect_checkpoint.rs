//! `inspect` of checkpoints that other programs wrote, as a user of the command line meets it.

use safetensors::SafeTensors;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .current_dir(given(""))
        .arg("inspect")
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// What a successful command prints.
fn shown(arguments: &[&str]) -> String {
    let output = inspect(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(
        shown.lines().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    shown
}

fn given(name: &str) -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tests/folders");
    folders.join(name)
}

#[test]
fn a_folder_is_recognised_and_written_into_files() {
    let root = tempfile::tempdir().expect("a directory");
    let (out, tensors) = (root.path().join("out"), root.path().join("got.safetensors"));
    let states = "deepseek_v4.expected.safetensors";
    let arguments = [
        "deepseek_v4",
        "--states",
        states,
        "--tensors",
        &tensors.display().to_string(),
        "--with",
        "glm5_next_bf16",
        "--out",
        &out.display().to_string(),
    ];
    let shown = shown(&arguments);
    for words in [
        "DeepSeek-V4",
        "6 sites, 4 streams of width 16",
        "iterations 20",
        "layer 2 ffn",
        "C(0)",
        "Lambda shape",
        "stand for 1 to 4",
        "6 of glm5_next_bf16",
        "At the end: learned",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let bytes = fs::read(&tensors).expect("tensors");
    let got = SafeTensors::deserialize(&bytes).expect("a file");
    assert_eq!(got.tensor("site.5.comb").expect("there").shape(), [5, 4, 4]);
    assert_eq!(got.tensor("head.weights").expect("there").shape(), [5, 4]);
    let json = fs::read(out.join("inspection.json")).expect("JSON");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["sites"].as_array().map(Vec::len), Some(6));
    assert_eq!(json["dialect"], "deepseek_v4");
    let page = fs::read_to_string(out.join("index.html")).expect("a page");
    assert!(page.contains("layer 2 ffn") && page.contains("Reach of the dynamic part"));
    assert!(page.contains("uniform, attn") && page.contains("uniform, ffn"));
    assert!(page.contains("keep of every stream"));
    assert!(page.contains("\"others\":[{\"layers\":"));
    for file in [
        "matrices.csv",
        "matrices.npz",
        "npy/sites.npy",
        "npy/bands.npy",
        "pictures/unfolded_0.svg",
        "pictures/site_5_mean.svg",
        "pictures/with_1_site_5.svg",
        "npy/with_1_site_5.npy",
        "pictures/reach.svg",
        "pictures/distances.svg",
        "pictures/defect.svg",
        "pictures/gain.svg",
        "pictures/band_read.svg",
        "pictures/band_keep.svg",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }
}

#[test]
fn several_reads_of_a_sublayer_are_shown_by_their_mean_and_written_whole() {
    let root = tempfile::tempdir().expect("a directory");
    let (out, tensors) = (root.path().join("out"), root.path().join("got.safetensors"));
    let [out, tensors] = [out, tensors].map(|path| path.display().to_string());
    let shown = shown(&["lucidrains_views", "--tensors", &tensors, "--out", &out]);
    assert!(shown.contains("up to 2 mixtures"), "{shown}");
    let bytes = fs::read(tensors).expect("tensors");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let pre = file.tensor("site.0.static_pre").expect("a read");
    assert_eq!(pre.shape(), [2, 3]);
    let (words, _) = pre.data().as_chunks();
    let pre: Vec<f64> = words
        .iter()
        .map(|w| f32::from_le_bytes(*w).into())
        .collect();
    let json = fs::read_to_string(Path::new(&out).join("inspection.json")).expect("JSON");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let site = &json["sites"][0]["static"];
    for i in 0..3 {
        let mean = (pre[i] + pre[3 + i]) / 2.0;
        assert!((site["read"][i].as_f64().expect("a number") - mean).abs() < 1e-6);
        assert!((site["views"][1][i].as_f64().expect("a number") - pre[3 + i]).abs() < 1e-6);
    }
}

#[test]
fn files_without_a_configuration_say_what_is_assumed() {
    let one = shown(&["lucidrains/model.safetensors"]);
    assert!(one.contains("by names alone") && one.contains("the sum of the streams"));
    let gguf = shown(&["deepseek_v4.gguf", "--layer", "1"]);
    assert!(gguf.contains("Site 1") && gguf.contains("reach of each logit"));
    let without = shown(&["qwen4_exp"]);
    assert!(without.contains("no static matrices"), "{without}");
    let delayed = shown(&["deepseek_v41"]);
    assert!(delayed.contains("read of sublayer 0 = e_0"), "{delayed}");
    let list = shown(&["--dialect", "list"]);
    for word in [
        "deepseek_v4:",
        "hc_attn_{fn, base, scale}",
        "tokenbender:",
        "source:",
    ] {
        assert!(list.contains(word), "{word}: {list}");
    }
}

#[test]
fn mistakes_end_with_one_line_and_a_status() {
    let fails = |arguments: &[&str], status: i32, words: &[&str]| {
        let output = inspect(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        for word in words {
            assert!(said.contains(word), "{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        said
    };
    let folder = "deepseek_v4";
    fails(
        &[folder, "--dialect", "deepsek_v4"],
        2,
        &["did you mean deepseek_v4"],
    );
    fails(&["--dialect", "hy_v4"], 2, &["--dialect"]);
    fails(&[folder, "--layer", "7"], 2, &["expected 1 to 6"]);
    fails(&[folder, "--dialect", "motif3"], 1, &["no tensor"]);
    fails(
        &[folder, "--states", "/nowhere"],
        1,
        &["cannot read /nowhere"],
    );
    let root = tempfile::tempdir().expect("a directory");
    let pickle = root.path().join("model.pt");
    fs::write(&pickle, b"PK\x03\x04").expect("written");
    let broken = root.path().join("broken.safetensors");
    fs::write(&broken, (1_u64 << 40).to_le_bytes()).expect("written");
    fails(
        &[&broken.display().to_string()],
        1,
        &["a header of 1099511627776 bytes", "truncated"],
    );
    let pipe = root.path().join("pipe.safetensors");
    let made = Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        fails(&[&pipe.display().to_string()], 1, &["a device or a pipe"]);
    }
    let said = fails(&[&pickle.display().to_string()], 1, &["import torch"]);
    assert!(said.lines().count() <= 4, "{said}");
}

#[test]
fn a_folder_of_neither_a_run_nor_a_checkpoint_is_told_what_is_wanted() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("notes.txt"), "no weights").expect("space");
    #[cfg(unix)]
    for pipe in ["pipe", "pipe.safetensors"] {
        let made = Command::new("mkfifo").arg(root.path().join(pipe)).status();
        assert!(made.expect("mkfifo starts").success());
    }
    let output = inspect(&[&root.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(
        error.contains("no weights are in this folder; name the directory of a run"),
        "{error}"
    );
}
