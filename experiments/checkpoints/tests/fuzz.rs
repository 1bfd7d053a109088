//! Thousands of damaged headers: an error or a result, no panic.

mod common;

use checkpoints::{Analysis, Checkpoint, StateFile};
use common::given;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;

/// Changes, removes or repeats some bytes among the first `within`.
fn damaged(good: &[u8], within: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..rng.random_range(1..5) {
        let at = rng.random_range(0..within.min(bytes.len()));
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = b"0123456789[]{},:\"eE-.\xff\x00"[rng.random_range(0..23)],
            2 => {
                let end = bytes.len().min(at + rng.random_range(1..9));
                bytes[at..end].fill(0xff);
            }
            3 => {
                bytes.remove(at);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[test]
fn damaged_headers_never_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut errors = 0;
    for (name, within) in [
        ("lucidrains/model.safetensors", 3700),
        ("xing4/model.safetensors", 1200),
        ("deepseek_v4.gguf", 1500),
        ("tokenbender/model.safetensors", 1200),
    ] {
        let good = fs::read(given(name)).expect("a file");
        let path = folder.path().join(name.replace('/', "_"));
        for _ in 0..1000 {
            fs::write(&path, damaged(&good, within, &mut rng)).expect("written");
            let found = Checkpoint::open(&path, None);
            errors += usize::from(found.and_then(|found| Analysis::of(&found, None)).is_err());
        }
    }
    assert!(errors > 1000, "only {errors} were noticed");
}

#[test]
fn damaged_archives_of_states_never_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("states.npz");
    let good = fs::read(given("states.npz")).expect("a file");
    let mut rng = ChaCha8Rng::seed_from_u64(18);
    for _ in 0..3000 {
        fs::write(&path, damaged(&good, good.len(), &mut rng)).expect("written");
        let Ok(file) = StateFile::open(&path) else {
            continue;
        };
        let names: Vec<_> = file.names().map(str::to_owned).collect();
        for name in names {
            file.read(&name).ok();
        }
    }
}
