//! Sinkhorn's iteration on a tape, with the operation of mHC, and by hand.

use engine::{
    params::{Builder, Gradients},
    rng::Key,
    tape::{Tape, Var},
};
use nn::connection::{
    constrained::{
        kernels::{Gates, Rule},
        ops::coefficients,
    },
    slots::Slots,
};

/// `H_res` of logits, and the gradient of `<G, H_res>` with respect to them.
pub struct Mixed {
    /// Row by row, `[count, n, n]`.
    pub mix: Vec<f32>,
    /// Of every logit.
    pub gradient: Vec<f32>,
}

/// Sinkhorn-Knopp on a batch of logits `[count, n, n]`: mHC's own operation.
pub fn on_tape(n: usize, iterations: usize, logits: &[f32], g: &[f32]) -> Mixed {
    let tape = Tape::new();
    let matrix = n * n;
    let count = logits.len() / matrix;
    // Read and write have logits as well, n each; they are not looked at.
    let columns = 2 * n + matrix;
    let mut projected = vec![0.0; count * columns];
    for (row, logits) in projected.chunks_mut(columns).zip(logits.chunks(matrix)) {
        row[2 * n..].copy_from_slice(logits);
    }
    let projected = tape.input([count, columns], &projected);
    let family = |len: usize| -> (Var<'_>, Var<'_>) {
        (
            tape.constant([1], &[1.0]),
            tape.constant([len], &vec![0.0; len]),
        )
    };
    let state = tape.constant([count, n, 1], &vec![0.0; count * n]);
    let (alpha, _) = coefficients(
        Slots::of_streams("sinkhorn", state, 1),
        (Gates::Sigmoid, Rule::Sinkhorn { iterations }),
        projected,
        family(n),
        family(n),
        Some(family(matrix)),
    );
    // alpha holds A_r, the transpose of H_res, behind the read.
    let at = |i: usize| {
        let (token, to, from) = (i / matrix, i / n % n, i % n);
        token * n * (n + 1) + from * (n + 1) + 1 + to
    };
    let values = alpha.value();
    let mut cotangent = vec![0.0; values.len()];
    g.iter()
        .enumerate()
        .for_each(|(i, &g)| cotangent[at(i)] = g);
    let mut gradients = Gradients::new(&Builder::new(Key::new(0)).finish());
    tape.backward_from(&[(alpha, &cotangent)], &mut gradients);
    let all = tape.grad(projected);
    Mixed {
        mix: (0..logits.len()).map(|i| values[at(i)]).collect(),
        gradient: all
            .chunks(columns)
            .flat_map(|row| row[2 * n..].to_vec())
            .collect(),
    }
}

/// Divides by the sums over groups of elements: element `at` belongs to group `group(at)`.
/// Returns the sums.
pub fn normalise(m: &mut [f64], groups: usize, group: impl Fn(usize) -> usize) -> Vec<f64> {
    let mut sums = vec![0.0; groups];
    for (at, x) in m.iter().enumerate() {
        sums[group(at)] += x;
    }
    for (at, x) in m.iter_mut().enumerate() {
        *x /= sums[group(at)];
    }
    sums
}

/// The same by hand: `M = exp(logits)`, then columns and rows divided by their sums.
pub fn by_hand(n: usize, iterations: usize, logits: &[f64]) -> Vec<f64> {
    let of_matrix = |logits: &[f64]| {
        let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
        for _ in 0..iterations {
            normalise(&mut m, n, |at| at % n);
            normalise(&mut m, n, |at| at / n);
        }
        m
    };
    logits.chunks(n * n).flat_map(of_matrix).collect()
}

/// The slopes of `<G, Sinkhorn(logits)>` by central differences.
pub fn finite_differences(n: usize, iterations: usize, logits: &[f64], g: &[f64]) -> Vec<f64> {
    let loss = |at: usize, nudge: f64| -> f64 {
        let mut logits = logits.to_vec();
        logits[at] += nudge;
        let mix = by_hand(n, iterations, &logits);
        mix.iter().zip(g).map(|(m, g)| m * g).sum()
    };
    let slope = |at| (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5;
    (0..logits.len()).map(slope).collect()
}

/// The largest distance of a row sum, and of a column sum, from 1.
pub fn off_by(n: usize, mix: &[f64]) -> [f64; 2] {
    let mut worst = [0.0_f64; 2];
    for m in mix.chunks(n * n) {
        for k in 0..n {
            let row: f64 = m[k * n..(k + 1) * n].iter().sum();
            let column: f64 = m[k..].iter().step_by(n).sum();
            worst[0] = worst[0].max((row - 1.0).abs());
            worst[1] = worst[1].max((column - 1.0).abs());
        }
    }
    worst
}

/// In f64.
pub fn exact(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}
