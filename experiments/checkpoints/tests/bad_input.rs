//! Files that contradict themselves or each other: one clear error each.

mod common;

use checkpoints::{Analysis, Checkpoint, CheckpointError, StateFile};
use common::{Tensors, copied, file_of, given, parsed};
use std::{fs, path::Path};

fn all(path: &Path, dialect: Option<&str>) -> Result<Analysis, CheckpointError> {
    Analysis::of(&Checkpoint::open(path, dialect)?, None)
}

/// The message of the error, of at most a few hundred characters.
fn says(path: &Path, words: &[&str]) -> String {
    let text = all(path, None).expect_err("an error").to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
    assert!(text.len() < 700, "{text}");
    text
}

/// The one shard of the folder with everything of a family.
fn change(folder: &Path, file: &str, of: impl FnOnce(&mut Tensors)) {
    let path = folder.join(file);
    let mut tensors = parsed(&fs::read(&path).expect("a shard"));
    of(&mut tensors);
    fs::write(&path, file_of(&tensors)).expect("written");
}

const THIRD: &str = "model-00003-of-00004.safetensors";
const FIRST: &str = "model-00001-of-00004.safetensors";

#[test]
fn a_truncated_shard_is_named() {
    let (_kept, folder) = copied("deepseek_v4");
    let shard = folder.join(THIRD);
    let bytes = fs::read(&shard).expect("a shard");
    fs::write(&shard, &bytes[..bytes.len() - 500]).expect("written");
    says(&folder, &[THIRD, "truncated", "download it again"]);
    fs::write(&shard, &bytes[..100]).expect("written");
    says(&folder, &[THIRD, "truncated"]);
    fs::write(&shard, b"abc").expect("written");
    says(&folder, &[THIRD, "3 bytes"]);
}

#[test]
fn a_missing_shard_is_to_be_fetched_only_if_it_is_needed() {
    let (_kept, folder) = copied("deepseek_v4");
    fs::remove_file(folder.join(THIRD)).expect("removed");
    let found = Checkpoint::open(&folder, None).expect("recognised");
    assert_eq!(found.dialect.name, "deepseek_v4");
    assert_eq!(found.to_fetch, [THIRD]);
    assert_eq!((found.streams, found.width), (4, Some(16)));
    says(&folder, &["download", THIRD]);
    let (_kept, folder) = copied("glm5_next_bf16");
    fs::remove_file(folder.join("model-00002-of-00003.safetensors")).expect("removed");
    all(&folder, None).expect("nothing of it is needed");
    for shard in 1..=3 {
        fs::remove_file(folder.join(format!("model-0000{shard}-of-00003.safetensors"))).ok();
    }
    let found = Checkpoint::open(&folder, None).expect("the index is enough");
    assert_eq!((found.dialect.name, found.to_fetch.len()), ("glm5_next", 2));
}

/// Neither is a tensor said to be missing that is in another shard.
#[test]
fn a_tensor_that_the_index_has_in_a_missing_shard_is_found_in_another() {
    let (_kept, folder) = copied("deepseek_v4");
    let index = folder.join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).expect("an index");
    let name = "model.layers.0.hc_ffn_base";
    let [from, to] = [FIRST, "ghost.safetensors"].map(|file| format!("\"{name}\": \"{file}\""));
    assert!(text.contains(&from), "{text}");
    fs::write(&index, text.replace(&from, &to)).expect("written");
    says(&folder, &[name, "ghost.safetensors, and is in", FIRST]);
}

/// An error is one line, whatever names a file has.
#[test]
fn names_that_cannot_be_shown_are_refused() {
    let (_kept, folder) = copied("lucidrains");
    change(&folder, "model.safetensors", |tensors| {
        let one = tensors.remove("layers.1.1.static_beta").expect("there");
        tensors.insert("layers.1\n.1.static_beta".into(), one);
    });
    let said = says(&folder, &["layers.1\\n.1.static_beta", "cannot be shown"]);
    assert_eq!(said.lines().count(), 1, "{said}");
    let (_kept, folder) = copied("deepseek_v4");
    let index = folder.join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).expect("an index");
    fs::write(&index, text.replacen(FIRST, "a\\nb", 1)).expect("written");
    let said = says(&folder, &["cannot be shown"]);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn shapes_must_agree_with_each_other_and_with_the_configuration() {
    let (_kept, folder) = copied("deepseek_v4");
    let config = folder.join("config.json");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text.replace("\"hc_mult\": 4", "\"hc_mult\": 8")).expect("written");
    says(&folder, &["hc_mult", "8", "4 streams"]);
    fs::write(
        &config,
        text.replace("\"hidden_size\": 16", "\"hidden_size\": 32"),
    )
    .expect("written");
    says(&folder, &["hidden_size", "32", "width 16"]);
    for (from, to) in [
        ("\"hc_sinkhorn_iters\": 20", "\"hc_sinkhorn_iters\": 1e18"),
        (
            "\"hc_sinkhorn_iters\": 20",
            "\"hc_sinkhorn_iters\": \"many\"",
        ),
        ("\"hc_eps\": 1e-06", "\"hc_eps\": -1"),
        ("\"hc_mult\": 4", "\"hc_mult\": []"),
    ] {
        fs::write(&config, text.replace(from, to)).expect("written");
        says(&folder, &["configuration", "expected a number"]);
    }
    fs::write(&config, "{").expect("written");
    says(&folder, &["config.json"]);
    fs::write(&config, &text).expect("written");
    for (name, shape) in [
        ("model.layers.1.hc_ffn_scale", vec![4]),
        ("model.layers.1.hc_ffn_base", vec![23]),
        ("model.layers.1.hc_ffn_base", vec![8]),
        ("model.layers.1.hc_ffn_fn", vec![24, 60]),
        ("model.layers.1.hc_ffn_fn", vec![24, 63]),
        ("model.layers.1.hc_ffn_fn", vec![64, 24]),
        ("model.layers.1.hc_ffn_fn", vec![0, 64]),
        ("model.layers.1.hc_ffn_base", vec![]),
    ] {
        let (_kept, folder) = copied("deepseek_v4");
        change(&folder, "model-00002-of-00004.safetensors", |tensors| {
            let count = shape.iter().product();
            tensors.insert(name.into(), (shape, vec![0.0; count]));
        });
        says(&folder, &["model.layers.1.hc_ffn_"]);
    }
}

#[test]
fn numbers_that_are_none_are_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let (_kept, folder) = copied("deepseek_v4");
        change(&folder, FIRST, |tensors| {
            tensors
                .get_mut("model.layers.0.hc_ffn_base")
                .expect("there")
                .1[5] = bad;
        });
        says(
            &folder,
            &["model.layers.0.hc_ffn_base", "number 5 of 24", FIRST],
        );
    }
}

#[test]
fn a_missing_third_of_a_site_is_named() {
    let (_kept, folder) = copied("lucidrains");
    change(&folder, "model.safetensors", |tensors| {
        tensors.remove("layers.1.1.static_beta");
    });
    says(&folder, &["layers.1.1.static_beta", "missing"]);
}

#[test]
fn a_shard_alone_shows_what_is_whole_in_it() {
    let found = Checkpoint::open(&given("deepseek_v4").join(THIRD), None).expect("one shard");
    assert_eq!(found.sites.len(), 1);
    assert!(!found.whole());
    let missing = found.missing.join(", ");
    for word in ["model.layers.2.hc_ffn_fn", "attn of layers 0 to 1"] {
        assert!(missing.contains(word), "{missing}");
    }
}

#[test]
fn headers_are_checked_against_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let write = |length: u64, header: &str| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        fs::write(&path, bytes).expect("written");
    };
    write(1 << 40, "{}");
    says(&path, &["1099511627776", "does not fit"]);
    write(u64::MAX, "{}");
    says(&path, &["does not fit"]);
    let entry = |name: &str, shape: &str, offsets: &str| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    };
    for (shape, offsets, word) in [
        ("[3]", "[0,12]", "beyond"),
        ("[18446744073709551615,2]", "[0,0]", "shape"),
        ("[4611686018427387905]", "[0,4]", "beyond"),
        ("[1]", "[18446744073709551615,3]", "ends at 3"),
        ("[1]", "[0,18446744073709551615]", "beyond"),
        ("[2]", "[0,0]", "shape"),
        ("[1]", "[-1,3]", "header"),
    ] {
        let header = format!("{{{}}}", entry("hc_attn_base", shape, offsets));
        write(header.len() as u64, &header);
        says(&path, &[word]);
    }
    let twice = entry("hc_attn_base", "[0]", "[0,0]");
    let header = format!("{{{twice},{twice}}}");
    write(header.len() as u64, &header);
    says(&path, &["hc_attn_base stands there twice"]);
    let deep = "[".repeat(100_000);
    write(deep.len() as u64, &deep);
    says(&path, &["header"]);
}

#[test]
fn duplicates_between_shards_are_an_error() {
    let (_kept, folder) = copied("deepseek_v4");
    fs::remove_file(folder.join("model.safetensors.index.json")).expect("removed");
    all(&folder, None).expect("all shards without an index");
    fs::copy(folder.join(THIRD), folder.join("more.safetensors")).expect("copied");
    says(&folder, &["more.safetensors", THIRD]);
}

#[test]
fn an_index_must_be_true() {
    let (_kept, folder) = copied("deepseek_v4");
    let index = folder.join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).expect("an index");
    let moved = text.replace(
        "hc_ffn_scale\": \"model-00004",
        "hc_ffn_scale\": \"model-00001",
    );
    assert_ne!(moved, text);
    fs::write(&index, moved).expect("written");
    let words = [
        "model.layers.2.hc_ffn_scale",
        "model-00001",
        "is in model-00004",
    ];
    says(&folder, &words);
    fs::write(&index, text.replace("model-00004", "../model-00004")).expect("written");
    says(&folder, &["no plain file name"]);
    let again = "{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}";
    fs::write(&index, again).expect("written");
    says(&folder, &["a stands there twice"]);
    fs::write(&index, "{}").expect("written");
    says(&folder, &["weight_map"]);
}

#[test]
fn pickles_are_refused_with_the_conversion() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in [
        ("model.pt", &b"PK\x03\x04rest"[..]),
        ("pytorch_model.bin", b"anything"),
        ("state", b"\x80\x02\x8a\x0al\xfc\x9cF"),
        ("x.ckpt", b""),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        let text = says(&path, &["pickle", "import torch", "save_file", name]);
        assert_eq!(text.lines().count(), 3, "a line and two of Python: {text}");
    }
    says(folder.path(), &["pickle"]);
}

#[test]
fn a_gguf_of_another_version_or_size_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.gguf");
    let good = fs::read(given("deepseek_v4.gguf")).expect("a file");
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, changed).expect("written");
    };
    with(4, &2_u32.to_le_bytes());
    all(&path, None).expect("version 2 has the same form");
    for version in [0_u32, 1, 4, 3 << 24] {
        with(4, &version.to_le_bytes());
        says(&path, &["version"]);
    }
    with(8, &u64::MAX.to_le_bytes());
    says(&path, &["m.gguf"]);
    with(16, &u64::MAX.to_le_bytes());
    says(&path, &["m.gguf"]);
    with(24, &u64::MAX.to_le_bytes());
    says(&path, &["a name of"]);
    for length in [0, 3, 30, 200, good.len() - 64] {
        fs::write(&path, &good[..length]).expect("written");
        says(&path, &["m.gguf"]);
    }
}

#[test]
fn what_is_no_checkpoint_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    says(folder.path(), &["no weights are in this folder"]);
    says(&folder.path().join("nothing"), &["cannot read"]);
    let path = folder.path().join("m.safetensors");
    let mut tensors = Tensors::new();
    tensors.insert("model.norm.weight".into(), (vec![2], vec![1.0; 2]));
    fs::write(&path, file_of(&tensors)).expect("written");
    says(&path, &["--dialect list"]);
    let text = |name| all(&path, Some(name)).expect_err("unknown").to_string();
    let unknown = text("deepseek_v5");
    assert!(unknown.contains("did you mean deepseek_v4"), "{unknown}");
    assert!(text("nonsense").contains("known are deepseek_v4"));
}

#[test]
fn states_of_another_shape_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("states.safetensors");
    let checkpoint = Checkpoint::open(&given("deepseek_v4"), None).expect("known");
    for (shape, value) in [
        (vec![2, 4, 15], 1.0),
        (vec![2, 64], 1.0),
        (vec![1, 4, 16], f32::NAN),
    ] {
        let mut tensors = Tensors::new();
        let count = shape.iter().product();
        tensors.insert("site.1.states".into(), (shape, vec![value; count]));
        fs::write(&path, file_of(&tensors)).expect("written");
        let states = StateFile::open(&path).expect("a file");
        let error = Analysis::of(&checkpoint, Some(&states))
            .expect_err("wrong")
            .to_string();
        assert!(error.contains("site.1.states"), "{error}");
    }
}
