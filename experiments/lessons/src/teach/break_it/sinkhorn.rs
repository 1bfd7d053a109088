//! Bugs of Sinkhorn mixes: on a batch of matrices, forward and backward.

use crate::teach::{
    board::Board,
    doubly_stochastic::{by_hand, exact, finite_differences, normalise, off_by, on_tape},
    stack::normal,
};
use engine::rng::Key;
use figures::terminal::scientific;
use std::io;

const N: usize = 4;
/// Few, so that the iteration has not converged and every step of it counts.
const ITERATIONS: usize = 3;
const BATCH: usize = 3;

/// A mix and the gradient of `<G, mix>`.
struct Attempt {
    name: &'static str,
    story: &'static str,
    mix: Vec<f64>,
    gradient: Vec<f64>,
    noticed_by: &'static [&'static str],
}

/// `dx = (dy - sum over the group of dy y) / sum`, the backward of [`normalise`].
fn normalise_backward(dy: &mut [f64], y: &[f64], sums: &[f64], group: impl Fn(usize) -> usize) {
    let mut along = vec![0.0; sums.len()];
    for (at, (dy, y)) in dy.iter().zip(y).enumerate() {
        along[group(at)] += dy * y;
    }
    for (at, dy) in dy.iter_mut().enumerate() {
        *dy = (*dy - along[group(at)]) / sums[group(at)];
    }
}

/// Forward right; backward with the last matrix in place of every earlier one.
fn last_matrix_only(logits: &[f64], g: &[f64]) -> Attempt {
    let (mut mix, mut gradient) = (Vec::new(), Vec::new());
    for (logits, g) in logits.chunks(N * N).zip(g.chunks(N * N)) {
        let last = by_hand(N, ITERATIONS, logits);
        let ones = vec![1.0; N];
        let mut slope = g.to_vec();
        for _ in 0..ITERATIONS {
            normalise_backward(&mut slope, &last, &ones, |at| at / N);
            normalise_backward(&mut slope, &last, &ones, |at| at % N);
        }
        gradient.extend(slope.iter().zip(&last).map(|(slope, m)| slope * m));
        mix.extend(last);
    }
    Attempt {
        name: "last matrix only",
        story: "backward as if every iteration had seen the final matrix; fine once converged",
        mix,
        gradient,
        noticed_by: &["gradient"],
    }
}

/// Columns of the whole batch at once: the sum goes over the wrong axis.
fn wrong_axis(logits: &[f64], g: &[f64]) -> Attempt {
    let forward = |logits: &[f64]| {
        let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
        for _ in 0..ITERATIONS {
            normalise(&mut m, N * N, |at| at % (N * N));
            normalise(&mut m, BATCH * N, |at| at / N);
        }
        m
    };
    Attempt {
        name: "wrong axis",
        story: "'columns' are summed over the batch; a test of row sums passes",
        mix: forward(logits),
        gradient: own_slopes(logits, g, forward),
        noticed_by: &["columns", "gradient"],
    }
}

/// Each row as a 1 x n matrix of its own.
fn one_by_n(logits: &[f64], g: &[f64]) -> Attempt {
    let forward = |logits: &[f64]| {
        let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
        for _ in 0..ITERATIONS {
            normalise(&mut m, BATCH * N, |at| at / N);
            m.fill(1.0);
        }
        m
    };
    Attempt {
        name: "1 x n matrices",
        story: "a reshape makes matrices of one row: all ones, every stream the sum of all",
        mix: forward(logits),
        gradient: own_slopes(logits, g, forward),
        noticed_by: &["rows", "columns", "gradient"],
    }
}

/// The right gradient of the wrong thing.
fn own_slopes(logits: &[f64], g: &[f64], forward: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let loss = |at: usize, nudge: f64| -> f64 {
        let mut logits = logits.to_vec();
        logits[at] += nudge;
        forward(&logits).iter().zip(g).map(|(m, g)| m * g).sum()
    };
    (0..logits.len())
        .map(|at| (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5)
        .collect()
}

/// Prints row sums, column sums and gradient errors of a right and three wrong mixes.
pub fn examine(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    board.text(&format!(
        "{BATCH} matrices 4 x 4, logits of deviation 2, {ITERATIONS} iterations. Read: the \
         largest |sum of a row - 1|, the largest |sum of a column - 1|, and the relative error \
         of the gradient against finite differences."
    ))?;
    let logits = normal(key.named("logits"), BATCH * N * N, 2.0);
    let g = normal(key.named("slopes"), BATCH * N * N, 1.0);
    let (exact_logits, exact_g) = (exact(&logits), exact(&g));
    let right = on_tape(N, ITERATIONS, &logits, &g);
    let expected = finite_differences(N, ITERATIONS, &exact_logits, &exact_g);
    let attempts = [
        Attempt {
            name: "correct",
            story: "",
            mix: exact(&right.mix),
            gradient: exact(&right.gradient),
            noticed_by: &[],
        },
        wrong_axis(&exact_logits, &exact_g),
        one_by_n(&exact_logits, &exact_g),
        last_matrix_only(&exact_logits, &exact_g),
    ];
    let [_, slack] = off_by(N, &by_hand(N, ITERATIONS, &exact_logits));
    board.line(&format!(
        "{:<19}{:>10}{:>10}{:>10}",
        "", "rows", "columns", "gradient"
    ))?;
    let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut rows = Vec::new();
    for attempt in &attempts {
        let [row, column] = off_by(N, &attempt.mix);
        let misses = attempt.gradient.iter().zip(&expected);
        let error = misses.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / size;
        board.line(&format!(
            "{:<19}{row:>10}{column:>10}{error:>10}",
            attempt.name,
            row = scientific(row, 1),
            column = scientific(column, 1),
            error = scientific(error, 1)
        ))?;
        // Three iterations leave the columns off by what they leave by hand.
        rows.push([row > 1e-4, column > slack + 1e-4, error > 1e-3]);
    }
    for (attempt, fires) in attempts.iter().zip(&rows) {
        let names = ["rows", "columns", "gradient"].iter().zip(fires);
        let fired: Vec<_> = names
            .filter(|(_, fires)| **fires)
            .map(|(n, _)| *n)
            .collect();
        let text = match attempt.name {
            "correct" => {
                "correct: no alarm (columns are off as far as 3 iterations leave them)".into()
            }
            name => format!(
                "{name}: {} ({})",
                attempt.story,
                attempt.noticed_by.join(", ")
            ),
        };
        board.claim(fired == attempt.noticed_by, &text)?;
    }
    Ok(())
}
