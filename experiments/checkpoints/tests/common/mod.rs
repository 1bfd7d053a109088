//! Files of tests, written and compared.
#![allow(dead_code)] // Every test file uses a part.

use checkpoints::{Analysis, Checkpoint, StateFile, to_safetensors};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Tensors of F32 by name.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A file or folder beside the tests.
pub fn given(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/folders")
        .join(name)
}

/// The tensors of a safetensors file.
pub fn parsed(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        let numbers = view.data().chunks_exact(4);
        let numbers = numbers.map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
        (name, (view.shape().to_vec(), numbers.collect()))
    });
    tensors.collect()
}

/// The bytes of a safetensors file.
pub fn file_of(tensors: &Tensors) -> Vec<u8> {
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let kept: Vec<_> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, shape.clone(), bytes(values)))
        .collect();
    let views = kept.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name, view.expect("as many numbers as the shape says"))
    });
    serialize(views, None).expect("names and shapes")
}

/// What is computed of a checkpoint, with states.
pub fn computed(path: &Path, dialect: Option<&str>, states: Option<&Path>) -> Tensors {
    let checkpoint = Checkpoint::open(path, dialect).unwrap_or_else(|error| panic!("{error}"));
    let states = states.map(|path| StateFile::open(path).expect("states"));
    let analysis = Analysis::of(&checkpoint, states.as_ref()).unwrap_or_else(|e| panic!("{e}"));
    parsed(&to_safetensors(&analysis))
}

/// The largest difference relative to the largest magnitude of each tensor that is wanted.
pub fn worst(got: &Tensors, want: &Tensors) -> f32 {
    let mut worst = 0.0_f32;
    for (name, (shape, values)) in want {
        if name.ends_with(".states") {
            continue;
        }
        let (mine, numbers) = got.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(mine, shape, "{name}");
        let largest = values.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
        for (a, b) in numbers.iter().zip(values) {
            worst = worst.max((a - b).abs() / largest);
        }
    }
    worst
}

/// A copy of a given folder in a temporary one.
pub fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = temporary.path().join(name);
    fs::create_dir(&folder).expect("a folder");
    for entry in fs::read_dir(given(name)).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = folder.join(from.file_name().expect("a name"));
        fs::copy(&from, to).expect("copied");
    }
    (temporary, folder)
}
