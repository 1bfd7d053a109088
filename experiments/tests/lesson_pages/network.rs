//! Networks of hyper-connections: random ones, and what the engine makes of them.

use engine::{
    ops::{replicate, sum_streams},
    rng::Key,
    tape::Tape,
};
use lab::inspect::Gain;
use nn::connection::streams::ops::{depth_connection, width_connection};
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

/// `[A_m | A_r]` and B of a sublayer.
#[derive(Clone)]
pub struct Sublayer {
    pub alpha: Vec<f32>,
    pub beta: Vec<f32>,
}

/// `count` sublayers of normal numbers with two decimals, as one would type them.
pub fn random(key: Key, count: usize, n: usize) -> Vec<Sublayer> {
    let mut rng = key.rng();
    let mut numbers = |len: usize| -> Vec<f32> {
        let mut one = || {
            let x: f32 = StandardNormal.sample(&mut rng);
            (100.0 * x).round() / 100.0
        };
        (0..len).map(|_| one()).collect()
    };
    (0..count)
        .map(|_| Sublayer {
            alpha: numbers(n * (n + 1)),
            beta: numbers(n),
        })
        .collect()
}

/// The network as the pages have it.
pub fn as_json(network: &[Sublayer]) -> Value {
    let sublayer = |sublayer: &Sublayer| {
        let rows: Vec<&[f32]> = sublayer.alpha.chunks(sublayer.beta.len() + 1).collect();
        let read: Vec<f32> = rows.iter().map(|row| row[0]).collect();
        let mix: Vec<&[f32]> = rows.iter().map(|row| &row[1..]).collect();
        json!({ "read": read, "mix": mix, "write": sublayer.beta })
    };
    network.iter().map(sublayer).collect()
}

/// The unfolded matrix as the engine computes it: the embedding and the outputs of the sublayers are
/// unit vectors, so that what a sublayer reads is its row.
pub fn unfolded(network: &[Sublayer]) -> Vec<f64> {
    let (count, n) = (network.len(), network[0].beta.len());
    let tape = Tape::new();
    let unit = |at: usize| -> Vec<f32> { (0..=count).map(|i| f32::from(i == at)).collect() };
    let mut state = replicate(tape.constant([1, count + 1], &unit(0)), n);
    let mut rows = Vec::new();
    for (k, Sublayer { alpha, beta }) in network.iter().enumerate() {
        let (input, mixed) = width_connection(state, tape.constant([n, n + 1], alpha));
        rows.extend(input.value());
        let output = tape.constant([1, count + 1], &unit(k + 1));
        state = depth_connection(mixed, tape.constant([n], beta), output);
    }
    rows.extend(sum_streams(state).value());
    rows.into_iter().map(f64::from).collect()
}

/// `A_r^1 A_r^2 ...` by the engine: the streams start as unit vectors and nothing is written.
pub fn composed(network: &[Sublayer]) -> Vec<Vec<f64>> {
    let n = network[0].beta.len();
    let tape = Tape::new();
    let identity: Vec<f32> = (0..n * n).map(|i| f32::from(i / n == i % n)).collect();
    let mut state = tape.constant([1, n, n], &identity);
    for Sublayer { alpha, .. } in network {
        state = width_connection(state, tape.constant([n, n + 1], alpha)).1;
    }
    // Stream j holds the unit vector of stream i times the entry (i, j).
    let held = state.value();
    let entry = |i: usize, j: usize| f64::from(held[j * n + i]);
    (0..n)
        .map(|i| (0..n).map(|j| entry(i, j)).collect())
        .collect()
}

/// Forward and backward gain of the composed mix.
pub fn gains(network: &[Sublayer]) -> [f64; 2] {
    let gain = Gain::of(&composed(network));
    [gain.forward, gain.backward]
}
