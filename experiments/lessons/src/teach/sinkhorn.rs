//! Lesson 9: the mix of mHC.

use super::{
    board::{Board, cell, largest_difference},
    hand::exact,
    stack::normal,
};
use crate::known_bugs::sinkhorn::{self as bench, Mixed, by_hand, finite_differences, off_by};
use engine::rng::Key;
use figures::terminal::scientific;
use std::io;

const N: usize = 4;

/// One matrix through mHC's operation.
fn on_tape(iterations: usize, logits: &[f32], g: &[f32]) -> Mixed {
    bench::on_tape(&[1], N, iterations, logits, g)
}

/// `a b` of square matrices.
fn product(n: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let entry = |i: usize, j: usize| (0..n).map(|k| a[i * n + k] * b[k * n + j]).sum();
    (0..n * n).map(|at| entry(at / n, at % n)).collect()
}

/// The largest factor by which a matrix can lengthen a vector: the root of the largest
/// eigenvalue of `mᵀ m`, by power iteration.
fn spectral_norm(n: usize, m: &[f64]) -> f64 {
    // Uneven, so that it is orthogonal to no eigenvector by symmetry.
    let mut v: Vec<f64> = (0..n).map(|i| 1.0 + 0.3 * i as f64).collect();
    let mut norm = 0.0;
    for _ in 0..300 {
        let u: Vec<f64> = (0..n)
            .map(|i| (0..n).map(|j| m[i * n + j] * v[j]).sum())
            .collect();
        let w: Vec<f64> = (0..n)
            .map(|j| (0..n).map(|i| m[i * n + j] * u[i]).sum())
            .collect();
        let length = w.iter().map(|x| x * x).sum::<f64>().sqrt();
        norm = length.sqrt();
        v = w.iter().map(|x| x / length.max(1e-300)).collect();
    }
    norm
}

/// The forward gain: the largest sum of magnitudes that goes into one stream, a row of H_res.
fn forward_gain(n: usize, m: &[f64]) -> f64 {
    let rows = m
        .chunks(n)
        .map(|row| row.iter().map(|x| x.abs()).sum::<f64>());
    rows.fold(0.0, f64::max)
}

fn show(board: &mut Board<'_>, name: &str, m: &[f64]) -> io::Result<()> {
    let rows: Vec<String> = (1..=N).map(|i| format!("to {i}")).collect();
    let mut columns: Vec<String> = (1..=N).map(|j| format!("from {j}")).collect();
    columns.push("sum".into());
    board.matrix(name, &rows, &columns, |i, j| {
        let row = &m[i * N..(i + 1) * N];
        Some(row.get(j).copied().unwrap_or_else(|| row.iter().sum()))
    })?;
    let sums: String = (0..N)
        .map(|j| cell(m[j..].iter().step_by(N).sum()))
        .collect();
    board.line(&format!("{:<12}{sums}", "sum"))
}

/// Iterates, multiplies and saturates doubly stochastic matrices.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let logits = normal(key.named("logits"), N * N, 1.0);
    let g = normal(key.named("G"), N * N, 1.0);
    let exact_logits = exact(&logits);

    board.step("Columns, then rows, again and again")?;
    board.text(
        "mHC does not let the mix be any matrix: rows and columns of H_res (= A_rᵀ: row = \
         destination) must be non-negative and sum to 1. Logits are made so by dividing in \
         turn:",
    )?;
    board.equation(
        "mHC, Eq. 9",
        "M0 = exp(logits),  M_t = rows(columns(M_{t-1}))",
    )?;
    show(
        board,
        "M0: row = to, column = from",
        &exact_logits.iter().map(|x| x.exp()).collect::<Vec<_>>(),
    )?;
    show(
        board,
        "after 1 iteration",
        &exact(&on_tape(1, &logits, &g).mix),
    )?;
    board.line("iterations   rows off by   columns off by   tape minus hand")?;
    let mut columns_off = Vec::new();
    let (mut worst, mut rows_off) = (0.0_f64, 0.0_f64);
    for iterations in [1, 2, 3, 5, 10, 20] {
        let mix = on_tape(iterations, &logits, &g).mix;
        let hand = by_hand(N, iterations, &exact_logits);
        let apart = largest_difference(&mix, &hand);
        let [_, column] = off_by(N, &hand);
        let [row, _] = off_by(N, &exact(&mix));
        board.line(&format!(
            "{iterations:>10}   {row:>11}   {column:>14}   {apart:>15}",
            row = scientific(row, 1),
            column = scientific(column, 1),
            apart = scientific(apart, 1)
        ))?;
        columns_off.push(column);
        (worst, rows_off) = (worst.max(apart), rows_off.max(row));
    }
    board.claim(
        worst < 1e-5,
        &format!(
            "mHC's operation is the formula ({worst})",
            worst = scientific(worst, 0)
        ),
    )?;
    board.claim(
        rows_off < 1e-5 && columns_off[5] < 1e-3 * columns_off[0],
        "rows, divided last, are exact at once; columns get there step by step, so mHC stops \
         after 20",
    )?;

    board.step("Backward")?;
    board.text("Three iterations, the gradient of <G, M> through every one of them:")?;
    let ours = on_tape(3, &logits, &g).gradient;
    let slopes = finite_differences(&exact_logits, &exact(&g), |logits| by_hand(N, 3, logits));
    board.heads("tape", "finite diff.", N)?;
    board.both(&["to 1", "to 2", "to 3", "to 4"], &ours, &slopes)?;
    let apart = largest_difference(&ours, &slopes);
    board.claim(
        apart < 1e-5,
        &format!(
            "they differ by {apart} at most",
            apart = scientific(apart, 0)
        ),
    )?;

    board.step("A product of many")?;
    board.text(
        "A stream that passes L layers is multiplied by L mixes. Each layer its own: mixes of \
         mHC, and free ones, I plus noise of deviation 0.4, as hyper-connections may learn. \
         Gain = the forward gain, the largest sum of magnitudes that goes into one stream (a \
         row of H_res, a column of A_r); norm = the largest factor on the length of a vector; \
         spread = how far the rows of the product differ:",
    )?;
    board.line("         doubly stochastic               free")?;
    board.line("layers      gain    norm   spread         gain      norm")?;
    let identity: Vec<f64> = (0..N * N).map(|at| f64::from(at / N == at % N)).collect();
    let (mut mixed, mut free) = (identity.clone(), identity.clone());
    let (mut gains, mut norms, mut last_spread) = (Vec::new(), Vec::new(), 0.0);
    let mut free_peak = 0.0_f64;
    for layer in 1..=60_u64 {
        let here = key.named("product").at(layer);
        let logits = normal(here.named("logits"), N * N, 1.0);
        let mix = exact(&on_tape(20, &logits, &g).mix);
        mixed = product(N, &mix, &mixed);
        let noise = normal(here.named("noise"), N * N, 0.4);
        let one: Vec<f64> = identity
            .iter()
            .zip(&noise)
            .map(|(i, &x)| i + f64::from(x))
            .collect();
        free = product(N, &one, &free);
        gains.push(forward_gain(N, &mixed));
        norms.push(spectral_norm(N, &mixed));
        last_spread = (0..N * N)
            .map(|at| (mixed[at] - mixed[at % N]).abs())
            .fold(0.0, f64::max);
        let free_gain = forward_gain(N, &free);
        free_peak = free_peak.max(free_gain);
        if [1, 2, 4, 8, 16, 30, 60].contains(&layer) {
            board.line(&format!(
                "{layer:>6}  {:>8.4}{:>8.4}  {last_spread:>7}    {:>9} {:>9}",
                gains[gains.len() - 1],
                norms[norms.len() - 1],
                scientific(free_gain, 2),
                scientific(spectral_norm(N, &free), 2),
                last_spread = scientific(last_spread, 0)
            ))?;
        }
    }
    let near_one = |x: &f64| (x - 1.0).abs() < 1e-2;
    board.claim(
        gains.iter().all(near_one) && norms.iter().all(near_one),
        "a product of doubly stochastic matrices is one again: gain 1 at any depth, and no \
         vector gets longer",
    )?;
    board.claim(
        free_peak > 10.0,
        &format!("the free product gets to a gain of {free_peak:.0}: what mHC was made against"),
    )?;
    board.claim(
        last_spread < 1e-6,
        "the price: all rows of the product have become equal, 1/n everywhere. The streams a \
         layer 60 levels down inherits are all the same average; only what was written since \
         tells them apart",
    )?;

    board.step("A start that is too sure")?;
    board.text(
        "To start near the identity, logits are set to 0 on the diagonal and -b off it. The \
         larger b, the nearer, and the less gradient gets through:",
    )?;
    board.line("     b   off-diagonal   |gradient of the logits|")?;
    let mut lengths = Vec::new();
    for b in [0.0_f32, 2.0, 4.0, 8.0, 16.0] {
        let start: Vec<f32> = (0..N * N)
            .map(|at| if at / N == at % N { 0.0 } else { -b })
            .collect();
        let m = on_tape(20, &start, &g);
        let length = m
            .gradient
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        board.line(&format!(
            "{b:>6}   {:>12}   {length:>16}",
            scientific(m.mix[1], 1),
            length = scientific(length, 1)
        ))?;
        lengths.push(length);
    }
    board.claim(
        lengths[3] < 0.01 * lengths[0] && lengths[4] < 1e-4 * lengths[0],
        &format!(
            "b = 8, a common choice, leaves {:.2} % of the gradient, b = 16 nothing to speak \
             of: the mix then keeps its first value, and tests of row and column sums pass",
            100.0 * lengths[3] / lengths[0]
        ),
    )?;
    board.question(
        "With n = 2 every doubly stochastic matrix is [1-p p; p 1-p]: one number. What is left \
         of the +- pairs of streams that the paper finds in trained hyper-connections (one \
         stream carries x, another -x, the sum cancels), when no entry may be negative?",
        "Nothing that lasts. x and -x become (1 - 2p) x and -(1 - 2p) x, so every mix shortens the \
         pair unless p is 0 or 1. And none is ever written: mHC's read and write are sigmoids, \
         so that no stream takes an output with a minus sign.",
    )
}
