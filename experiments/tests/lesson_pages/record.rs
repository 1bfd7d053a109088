//! Recorded values of the pages: what the engine gives now beside what the pages have.
//!
//! A test that fails leaves the values of now in the temporary directory of the machine and names the
//! file; it takes the place of the one under `lessons/pages/recorded/`.

use crate::node::numbers;
use serde_json::Value;
use std::{env, fs, path::Path};

/// A number with so many decimals.
pub fn rounded(x: impl Into<f64>, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    // Not -0.
    (x.into() * scale).round() / scale + 0.0
}

/// Compares values with those recorded under a name; numbers may differ by `slack`.
#[track_caller]
pub fn assert_recorded(name: &str, now: &Value, slack: f64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/pages/recorded");
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|_| "[]".into());
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    let (old, new) = (numbers(&recorded), numbers(now));
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= slack;
    if old.len() == new.len() && old.iter().zip(&new).all(close) {
        return;
    }
    let fresh = env::temp_dir().join(name);
    fs::write(&fresh, now.to_string() + "\n").expect("space");
    panic!(
        "recorded/{name} is not what the engine gives now, which is in {}",
        fresh.display()
    );
}
