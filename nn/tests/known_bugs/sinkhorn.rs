//! Bugs of Sinkhorn's iteration: wrong axes, matrices of one row, gradients that are not
//! those of every iteration.

use engine::{
    check::CheckInput,
    params::{Gradients, Params},
    tape::Tape,
};
use nn::connection::{
    constrained::{
        kernels::{Gates, Rule},
        ops::coefficients,
    },
    slots::Slots,
};

const N: usize = 4;
/// Leading dimensions that are not square: batch and tokens.
const BATCH: usize = 2;
const TOKENS: usize = 3;
const MATRIX: usize = N * N;

/// `H_res` `[BATCH, TOKENS, N, N]` of logits, and the gradient of `<H_res, cotangent>`, as
/// the implementation computes them.
fn implementation(logits: &[f32], cotangent: &[f32], iterations: usize) -> (Vec<f64>, Vec<f32>) {
    let columns = 2 * N + MATRIX;
    let projection: Vec<f32> = logits
        .chunks(MATRIX)
        .flat_map(|logits| [&[0.0; 2 * N], logits].concat())
        .collect();
    let tape = Tape::new();
    let state = tape.constant([BATCH, TOKENS, N, 1], &[0.0; BATCH * TOKENS * N]);
    let projected = tape.input([BATCH, TOKENS, columns], &projection);
    let one = tape.constant([1], &[1.0]);
    let zeros = |len: usize| tape.constant([len], &vec![0.0; len]);
    let (alpha, _) = coefficients(
        Slots::of_streams("test", state, 1),
        (Gates::Sigmoid, Rule::Sinkhorn { iterations }),
        projected,
        (one, zeros(N)),
        (one, zeros(N)),
        Some((one, zeros(MATRIX))),
    );
    // Alpha has the read in its first column and, after it, H_res transposed.
    let place = |token: usize, i: usize, j: usize| token * N * (N + 1) + j * (N + 1) + 1 + i;
    let value = alpha.value();
    let mut of_alpha = vec![0.0; value.len()];
    let mut mix = Vec::new();
    for token in 0..BATCH * TOKENS {
        for at in 0..MATRIX {
            let place = place(token, at / N, at % N);
            mix.push(f64::from(value[place]));
            of_alpha[place] = cotangent[token * MATRIX + at];
        }
    }
    let mut none = Gradients::new(&Params::default());
    tape.backward_from(&[(alpha, &of_alpha)], &mut none);
    let gradient = tape.grad(projected);
    let of_mix = gradient
        .chunks(columns)
        .flat_map(|row| row[2 * N..].to_vec());
    (mix, of_mix.collect())
}

/// Every iterate of one matrix: after columns, after rows, and so on.
fn iterates(logits: &[f64], iterations: usize) -> Vec<Vec<f64>> {
    let mut m: Vec<f64> = logits.iter().map(|x| x.exp()).collect();
    let mut all = Vec::new();
    for _ in 0..iterations {
        for j in 0..N {
            let sum: f64 = (0..N).map(|i| m[i * N + j]).sum();
            (0..N).for_each(|i| m[i * N + j] /= sum);
        }
        all.push(m.clone());
        for row in m.chunks_mut(N) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|x| *x /= sum);
        }
        all.push(m.clone());
    }
    all
}

/// What a backward does with the gradient of the logarithms at one normalisation.
#[derive(Clone, Copy, PartialEq)]
enum Backward {
    /// `G - P sum(G)` with the iterate P of that normalisation.
    EveryIteration,
    /// The last matrix in place of P.
    FinalMatrix,
    /// `G - P sum(G P)`: a factor too many in the quotient rule.
    ExtraFactor,
}

fn gradient(logits: &[f64], cotangent: &[f64], iterations: usize, rule: Backward) -> Vec<f64> {
    let all = iterates(logits, iterations);
    let last = all.last().unwrap();
    let mut g: Vec<f64> = last.iter().zip(cotangent).map(|(m, c)| m * c).collect();
    for (t, p) in all.iter().enumerate().rev() {
        let p = if rule == Backward::FinalMatrix {
            last
        } else {
            p
        };
        let by_columns = t % 2 == 0;
        let line = |k: usize, i: usize| if by_columns { i * N + k } else { k * N + i };
        for k in 0..N {
            let term = |i: usize| match rule {
                Backward::ExtraFactor => g[line(k, i)] * p[line(k, i)],
                _ => g[line(k, i)],
            };
            let sum: f64 = (0..N).map(term).sum();
            (0..N).for_each(|i| g[line(k, i)] -= p[line(k, i)] * sum);
        }
    }
    g
}

fn finite_differences(logits: &[f64], cotangent: &[f64], iterations: usize) -> Vec<f64> {
    let objective = |logits: &[f64]| -> f64 {
        let all = iterates(logits, iterations);
        all.last()
            .unwrap()
            .iter()
            .zip(cotangent)
            .map(|(m, c)| m * c)
            .sum()
    };
    const H: f64 = 1e-5;
    let mut moved = logits.to_vec();
    (0..MATRIX)
        .map(|i| {
            moved[i] = logits[i] + H;
            let above = objective(&moved);
            moved[i] = logits[i] - H;
            let below = objective(&moved);
            moved[i] = logits[i];
            (above - below) / (2.0 * H)
        })
        .collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The largest error of gradients, relative to the largest gradient.
fn error(got: &[f64], expected: &[f64]) -> f64 {
    let scale = expected
        .iter()
        .fold(1e-30_f64, |scale, x| scale.max(x.abs()));
    let pairs = got.iter().zip(expected);
    pairs.fold(0.0_f64, |worst, (g, e)| worst.max((g - e).abs())) / scale
}

/// The errors of the implementation and of the two bugs at logits of a standard deviation.
fn errors(std: f32, iterations: usize) -> [f64; 3] {
    let tokens = BATCH * TOKENS;
    let logits = CheckInput::normal([tokens, MATRIX], std, 1).data;
    let cotangent = CheckInput::normal([tokens, MATRIX], 1.0, 2).data;
    let (_, got) = implementation(&logits, &cotangent, iterations);
    let by_token = || {
        let pairs = logits.chunks(MATRIX).zip(cotangent.chunks(MATRIX));
        pairs.map(|(x, c)| (wide(x), wide(c)))
    };
    let expected: Vec<f64> = by_token()
        .flat_map(|(x, c)| finite_differences(&x, &c, iterations))
        .collect();
    let with = |rule| -> Vec<f64> {
        by_token()
            .flat_map(|(x, c)| gradient(&x, &c, iterations, rule))
            .collect()
    };
    assert!(error(&with(Backward::EveryIteration), &expected) < 1e-6);
    [
        error(&wide(&got), &expected),
        error(&with(Backward::FinalMatrix), &expected),
        error(&with(Backward::ExtraFactor), &expected),
    ]
}

/// Whether rows and columns of matrices `[.., N, N]` do not both sum to one.
fn is_not_doubly_stochastic(mix: &[f64]) -> bool {
    let off = |sum: f64| (sum - 1.0).abs() > 1e-4;
    mix.chunks(MATRIX).any(|m| {
        (0..N).any(|i| off(m[i * N..][..N].iter().sum()))
            || (0..N).any(|j| off(m.iter().skip(j).step_by(N).sum()))
    })
}

fn some_logits() -> Vec<f32> {
    CheckInput::normal([BATCH * TOKENS, MATRIX], 1.0, 3).data
}

#[test]
fn bug_02_normalisation_along_the_wrong_axes() {
    let (mix, _) = implementation(&some_logits(), &[0.0; BATCH * TOKENS * MATRIX], 20);
    assert!(!is_not_doubly_stochastic(&mix));
    // Put back: tokens and rows of `[BATCH, TOKENS, N, N]` in place of rows and columns.
    let mut wrong: Vec<f64> = wide(&some_logits()).iter().map(|x| x.exp()).collect();
    for _ in 0..20 {
        for lines in [[TOKENS, MATRIX], [N, N]] {
            let [len, stride] = lines;
            for start in 0..wrong.len() {
                if start / stride % len == 0 {
                    let sum: f64 = (0..len).map(|i| wrong[start + i * stride]).sum();
                    (0..len).for_each(|i| wrong[start + i * stride] /= sum);
                }
            }
        }
    }
    assert!(is_not_doubly_stochastic(&wrong));
    // One of the two sums is right: a test of it alone sees nothing.
    for m in wrong.chunks(MATRIX) {
        for j in 0..N {
            assert!((m.iter().skip(j).step_by(N).sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn bug_03_matrices_of_one_row_become_ones() {
    let logits = some_logits();
    let cotangent = CheckInput::normal([BATCH * TOKENS, MATRIX], 1.0, 2).data;
    let (mix, gradient) = implementation(&logits, &cotangent, 20);
    assert!(!is_not_doubly_stochastic(&mix));
    assert!(gradient.iter().any(|&g| g.abs() > 1e-3));
    // Put back: every row is a matrix 1 x N, whose columns come last.
    let ones = |logits: &[f64]| -> Vec<f64> {
        let rows = logits.chunks(N).map(|row| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter()
                .map(|x| x.exp() / sum)
                .map(|p| p / p)
                .collect::<Vec<f64>>()
        });
        rows.flatten().collect()
    };
    let wrong = ones(&wide(&logits));
    assert!(wrong.iter().all(|&p| p == 1.0));
    assert!(is_not_doubly_stochastic(&wrong));
}

#[test]
fn bug_04_a_backward_with_the_final_matrix_for_every_iteration() {
    for (std, iterations) in [(1.0, 1), (1.0, 3), (4.0, 20), (8.0, 20)] {
        let [own, final_matrix, _] = errors(std, iterations);
        assert!(own < 1e-4, "{own:.1e} at {std}, {iterations}");
        assert!(
            final_matrix > 2e-3,
            "{final_matrix:.1e} at {std}, {iterations}"
        );
    }
    // Where the iteration has converged the bug is invisible.
    let [_, final_matrix, _] = errors(1.0, 20);
    assert!(final_matrix < 1e-6, "{final_matrix:.1e}");
}

#[test]
fn bug_05_a_factor_too_many_in_the_quotient_rule() {
    for (std, iterations) in [(1.0, 1), (1.0, 20), (4.0, 3)] {
        let [own, _, extra_factor] = errors(std, iterations);
        assert!(own < 1e-4, "{own:.1e} at {std}, {iterations}");
        assert!(
            extra_factor > 0.1,
            "{extra_factor:.1e} at {std}, {iterations}"
        );
    }
}
