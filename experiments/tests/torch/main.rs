//! Runs as PyTorch programs, and back.

mod pytorch;

use lab::{
    run_dir::{CONFIG_FILE, STATE_FILE, WEIGHTS_FILE, read_summary},
    torch::{MODEL_FILE, VALIDATION_FILE},
};
use models::weights::TensorFile;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

fn experiments(arguments: &[&str]) -> Output {
    let program = Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .output();
    program.unwrap()
}

fn works(arguments: &[&str]) -> String {
    let output = experiments(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Requires one line of complaint with these words in it.
#[track_caller]
fn fails(arguments: &[&str], words: &str) {
    let output = experiments(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(words), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A place for runs, with one in it that has ended.
struct Place(TempDir);

impl Place {
    fn new(preset: &str, settings: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let words: Vec<&str> = ["so ", "it ", "goes, ", "and ", "\u{e9}t\u{e9} ends. "].into();
        let text: String = (0..5000_usize)
            .map(|i| words[(i * i + i / 7) % 5])
            .collect();
        let text_file = place.path("text.txt");
        fs::write(&text_file, text).unwrap();
        let out = place.path("run");
        let preset = format!("--preset={preset}");
        // Far enough from the start that dynamic parts matter.
        let mut arguments = vec!["train", &preset, "--out", &out];
        arguments.extend(["--set=train.steps=20", "--set=train.learning_rate=1e-2"]);
        if !preset.contains("vit") {
            arguments.extend(["--data", &text_file]);
        }
        works(&[&arguments[..], settings].concat());
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn export(&self) -> PathBuf {
        works(&["export", &self.path("run"), "--torch", &self.path("torch")]);
        self.path("torch").into()
    }
}

fn smallest() -> Place {
    Place::new("smoke", &["--set=model.connection.type=hyper"])
}

fn weights(directory: impl AsRef<Path>) -> Vec<(String, Vec<f32>)> {
    let file = TensorFile::open(&directory.as_ref().join(WEIGHTS_FILE)).unwrap();
    let names = file
        .names()
        .map(|name| (name.to_owned(), file.floats(name).unwrap()));
    names.collect()
}

#[test]
fn weights_come_back_as_they_went_and_sample_inspect_and_train_take_them() {
    let place = smallest();
    let torch = place.export();
    for name in [MODEL_FILE, WEIGHTS_FILE, CONFIG_FILE, VALIDATION_FILE] {
        assert!(torch.join(name).is_file(), "{name}");
    }
    let back = place.path("back");
    let said = works(&["import", torch.to_str().unwrap(), "--out", &back]);
    assert!(said.contains("train --resume"), "{said}");
    assert_eq!(weights(place.path("run")), weights(&back));
    works(&["inspect", &back]);
    works(&["sample", &back, "--tokens", "8"]);
    assert!(Path::new(&back).join(STATE_FILE).is_file());
    let output = experiments(&["train", "--resume", &back]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("warning"),
        "{said}"
    );
    let [first, second] = ["run", "back"].map(|name| {
        let summary = read_summary(Path::new(&place.path(name))).unwrap().unwrap();
        summary.final_val_loss.unwrap()
    });
    assert!(second < first, "twice as long: {first}, then {second}");
    // A file of weights in the directory may be named.
    let file = torch.join(WEIGHTS_FILE);
    works(&[
        "import",
        file.to_str().unwrap(),
        "--out",
        &place.path("again"),
    ]);
}

#[test]
fn nothing_is_overwritten_and_what_cannot_be_expressed_is_said() {
    let place = smallest();
    let (run, full, torch) = (place.path("run"), place.path("full"), place.path("torch"));
    fs::create_dir(&full).unwrap();
    fs::write(Path::new(&full).join("mine"), "mine").unwrap();
    let text = place.path("text.txt");
    for taken in [&full, &text, &run] {
        fails(
            &["export", &run, "--torch", taken],
            "is there and not an empty directory",
        );
    }
    fails(&["export", &place.path("none"), "--torch", &torch], "none");
    fails(&["export", &full, "--torch", &torch], "config.toml");
    place.export();
    fails(
        &["import", &torch, "--out", &full],
        "is there and not an empty directory",
    );
    fails(
        &["import", &full, "--out", &place.path("back")],
        WEIGHTS_FILE,
    );
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    assert!(!Path::new(&place.path("back")).exists());
    let other = Place::new(
        "smoke",
        &["--set=model.connection.type=mhc", "--set=train.steps=1"],
    );
    let to = other.path("torch");
    fails(
        &["export", &other.path("run"), "--torch", &to],
        "connection.type mhc cannot be exported",
    );
    assert!(!Path::new(&to).exists());
}

#[test]
fn a_run_whose_data_are_gone_is_exported_without_them() {
    let place = smallest();
    fs::remove_file(place.path("text.txt")).unwrap();
    let output = experiments(&[
        "export",
        &place.path("run"),
        "--torch",
        &place.path("torch"),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("no validation.safetensors: "),
        "{said}"
    );
    let torch = PathBuf::from(place.path("torch"));
    assert!(torch.join(MODEL_FILE).is_file() && !torch.join(VALIDATION_FILE).exists());
    fails(
        &[
            "import",
            torch.to_str().unwrap(),
            "--out",
            &place.path("back"),
        ],
        "text.txt",
    );
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

/// Replaces weights by what `change` makes of them, without metadata, as others save them.
fn change(path: &Path, change: impl FnOnce(&mut Tensors)) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        (
            name.to_owned(),
            view.dtype(),
            view.shape().to_vec(),
            view.data().to_vec(),
        )
    });
    let mut tensors: Tensors = tensors.collect();
    change(&mut tensors);
    let views: HashMap<_, _> = tensors
        .iter()
        .map(|(name, dtype, shape, data)| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        })
        .collect();
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn weights_of_another_network_are_refused_in_one_line() {
    let place = smallest();
    let torch = place.export();
    let file = torch.join(WEIGHTS_FILE);
    let good = fs::read(&file).unwrap();
    let name = "blocks.0.attn.q.weight";
    let at = |tensors: &Tensors| tensors.iter().position(|tensor| tensor.0 == name).unwrap();
    let refused = |how: &dyn Fn(&mut Tensors), words: &str| {
        fs::write(&file, &good).unwrap();
        change(&file, how);
        let back = place.path("back");
        fails(&["import", torch.to_str().unwrap(), "--out", &back], words);
        assert!(!Path::new(&back).exists());
    };
    refused(
        &|all| drop(all.remove(at(all))),
        "blocks.0.attn.q.weight is missing",
    );
    refused(
        &|all| {
            let i = at(all);
            all[i].0 = "q".into()
        },
        "blocks.0.attn.q.weight is missing",
    );
    refused(
        &|all| {
            let one = (all[0].1, all[0].2.clone(), all[0].3.clone());
            all.push(("more".into(), one.0, one.1, one.2))
        },
        "more is not part of this network",
    );
    refused(
        &|all| {
            let i = at(all);
            let n = all[i].2.iter().product();
            all[i].2 = vec![n]
        },
        "blocks.0.attn.q.weight is [",
    );
    refused(
        &|all| {
            let i = at(all);
            all[i].3[..4].copy_from_slice(&f32::NAN.to_le_bytes())
        },
        "is NaN",
    );
    refused(
        &|all| {
            let i = at(all);
            all[i].1 = Dtype::I32
        },
        "convert it before saving",
    );
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    fails(
        &[
            "import",
            torch.to_str().unwrap(),
            "--out",
            &place.path("back"),
        ],
        "not a whole safetensors file",
    );
    // The settings of another network with parameters of the same names and shapes.
    fs::write(&file, &good).unwrap();
    let settings = fs::read_to_string(torch.join(CONFIG_FILE)).unwrap();
    let changed = settings.replace("tanh = true", "tanh = false");
    assert_ne!(changed, settings);
    fs::write(torch.join(CONFIG_FILE), changed).unwrap();
    let back = place.path("back");
    fails(
        &["import", torch.to_str().unwrap(), "--out", &back],
        "is of another network",
    );
    fs::write(torch.join(CONFIG_FILE), settings).unwrap();
    // Without metadata, as safetensors' own `save_file` writes.
    fs::write(&file, &good).unwrap();
    change(&file, |_| {});
    works(&[
        "import",
        torch.to_str().unwrap(),
        "--out",
        &place.path("back"),
    ]);
    assert_eq!(weights(place.path("run")), weights(place.path("back")));
}
