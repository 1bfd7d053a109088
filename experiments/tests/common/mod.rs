//! A short text and a small network, for tests that train.

use lab::{config::RunConfig, data::Corpus};
use std::{fs, sync::Arc};

/// Words in an order that can be learned and does not repeat.
pub fn corpus() -> Arc<Corpus> {
    let text: String = (0..4000)
        .map(|i| ["so ", "it ", "goes ", "and ", "ends. "][(i * i + i / 7) % 5])
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.txt");
    fs::write(&path, text).unwrap();
    Arc::new(Corpus::from_file(&path).unwrap())
}

/// Two blocks with hyper-connections, trained as `training` says, with `overrides`.
pub fn config(training: &[&str], overrides: &[&str]) -> RunConfig {
    let network = [
        "model.dim=16",
        "model.layers=2",
        "model.heads=2",
        "model.seq=16",
        "model.ffn.hidden=24",
        "model.connection.type=hyper",
    ];
    RunConfig::default()
        .with_overrides(&[&network, training, overrides].concat())
        .unwrap()
}
