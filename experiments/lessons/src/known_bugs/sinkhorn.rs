//! Sinkhorn's iteration on a tape, with the operation of mHC, by hand, and with known bugs.
//! Matrices are `n x n`, in f64 a batch of them one after the other.

use engine::{
    params::{Builder, Gradients},
    rng::Key,
    shape::Shape,
    tape::{Tape, Var},
};
use nn::connection::{
    constrained::{
        kernels::{self, Gates},
        ops::coefficients,
    },
    streams::ops::{Coefficients, Slots},
};

/// `H_res` of logits, and the gradient of `<G, H_res>` with respect to them.
pub struct Mixed {
    /// Row by row, `[count, n, n]`.
    pub mix: Vec<f32>,
    /// Of every logit.
    pub gradient: Vec<f32>,
}

/// Sinkhorn-Knopp on logits `[leading.., n, n]`: mHC's own operation.
pub fn on_tape(leading: &[usize], n: usize, iterations: usize, logits: &[f32], g: &[f32]) -> Mixed {
    let tape = Tape::new();
    let matrix = n * n;
    let count = logits.len() / matrix;
    // Read and write have logits as well, n each; they are not looked at.
    let columns = 2 * n + matrix;
    let mut projected = vec![0.0; count * columns];
    for (row, logits) in projected.chunks_mut(columns).zip(logits.chunks(matrix)) {
        row[2 * n..].copy_from_slice(logits);
    }
    let shaped = |last: &[usize]| Shape::new(&[leading, last].concat());
    let projected = tape.input(shaped(&[columns]), &projected);
    let family = |len: usize| -> (Var<'_>, Var<'_>) {
        (
            tape.constant([1], &[1.0]),
            tape.constant([len], &vec![0.0; len]),
        )
    };
    let state = tape.constant(shaped(&[n, 1]), &vec![0.0; count * n]);
    let Coefficients { alpha, .. } = coefficients(
        Slots::of_streams("sinkhorn", state, 1),
        (Gates::Sigmoid, kernels::Rule::Sinkhorn { iterations }),
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
fn normalise(m: &mut [f64], groups: usize, group: impl Fn(usize) -> usize) {
    let mut sums = vec![0.0; groups];
    for (at, x) in m.iter().enumerate() {
        sums[group(at)] += x;
    }
    for (at, x) in m.iter_mut().enumerate() {
        *x /= sums[group(at)];
    }
}

/// Every iterate of one matrix, `M = exp(logits)`: after columns, after rows, and so on.
fn iterates(n: usize, iterations: usize, logits: &[f64]) -> Vec<Vec<f64>> {
    let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
    let mut all = Vec::new();
    for _ in 0..iterations {
        normalise(&mut m, n, |at| at % n);
        all.push(m.clone());
        normalise(&mut m, n, |at| at / n);
        all.push(m.clone());
    }
    all
}

/// The same by hand.
///
/// # Panics
/// If there are no iterations.
pub fn by_hand(n: usize, iterations: usize, logits: &[f64]) -> Vec<f64> {
    let of_matrix = |logits| iterates(n, iterations, logits).pop().expect("an iteration");
    logits.chunks(n * n).flat_map(of_matrix).collect()
}

/// The slopes of `<G, forward(logits)>` by central differences.
pub fn finite_differences(
    logits: &[f64],
    g: &[f64],
    forward: impl Fn(&[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let loss = |at: usize, nudge: f64| -> f64 {
        let mut logits = logits.to_vec();
        logits[at] += nudge;
        forward(&logits).iter().zip(g).map(|(m, g)| m * g).sum()
    };
    let slope = |at| (loss(at, 1e-5) - loss(at, -1e-5)) / 2e-5;
    (0..logits.len()).map(slope).collect()
}

/// Rule of a backward for the gradient G of the logarithms at one normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `G - P sum(G)` with the iterate P of that normalisation: right.
    EveryIteration,
    /// The last matrix in place of P.
    FinalMatrix,
    /// `G - P sum(G P)`: a factor too many in the quotient rule.
    ExtraFactor,
}

/// The gradient of `<G, Sinkhorn(logits)>` by a rule.
pub fn gradient(n: usize, iterations: usize, logits: &[f64], g: &[f64], rule: Rule) -> Vec<f64> {
    let matrices = logits.chunks(n * n).zip(g.chunks(n * n));
    let of_matrix = |(logits, g): (&[f64], &[f64])| {
        let all = iterates(n, iterations, logits);
        let last = all.last().expect("an iteration");
        let mut g: Vec<f64> = last.iter().zip(g).map(|(m, g)| m * g).collect();
        for (t, p) in all.iter().enumerate().rev() {
            let p = if rule == Rule::FinalMatrix { last } else { p };
            let group = |at: usize| if t % 2 == 0 { at % n } else { at / n };
            let mut sums = vec![0.0; n];
            for (at, (g, p)) in g.iter().zip(p).enumerate() {
                sums[group(at)] += if rule == Rule::ExtraFactor { g * p } else { *g };
            }
            for (at, (g, p)) in g.iter_mut().zip(p).enumerate() {
                *g -= p * sums[group(at)];
            }
        }
        g
    };
    matrices.flat_map(of_matrix).collect()
}

/// Sums of columns that go over the whole batch: the wrong axis.
pub fn wrong_axis(n: usize, iterations: usize, logits: &[f64]) -> Vec<f64> {
    let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
    let rows = m.len() / n;
    for _ in 0..iterations {
        normalise(&mut m, n * n, |at| at % (n * n));
        normalise(&mut m, rows, |at| at / n);
    }
    m
}

/// Each row as a 1 x n matrix of its own: rows, then columns of one element.
pub fn one_by_n(n: usize, logits: &[f64]) -> Vec<f64> {
    let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
    let (rows, elements) = (m.len() / n, m.len());
    normalise(&mut m, rows, |at| at / n);
    normalise(&mut m, elements, |at| at);
    m
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
