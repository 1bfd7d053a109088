//! Bugs of Sinkhorn's iteration: wrong axes, matrices of one row, gradients that are not
//! those of every iteration.

use engine::check::CheckInput;
use lessons::known_bugs::sinkhorn::{
    Rule, by_hand, finite_differences, gradient, off_by, on_tape, one_by_n, wrong_axis,
};

const N: usize = 4;
/// Leading dimensions that are not square: batch and tokens.
const BATCH: usize = 2;
const TOKENS: usize = 3;
const MATRIX: usize = N * N;

/// `H_res` `[BATCH, TOKENS, N, N]` of logits, and the gradient of `<H_res, cotangent>`, as
/// the implementation computes them.
fn implementation(logits: &[f32], cotangent: &[f32], iterations: usize) -> (Vec<f64>, Vec<f64>) {
    let mixed = on_tape(&[BATCH, TOKENS], N, iterations, logits, cotangent);
    (wide(&mixed.mix), wide(&mixed.gradient))
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
    let (logits, cotangent) = (wide(&logits), wide(&cotangent));
    let forward = |logits: &[f64]| by_hand(N, iterations, logits);
    let expected = finite_differences(&logits, &cotangent, forward);
    let with = |rule| gradient(N, iterations, &logits, &cotangent, rule);
    assert!(error(&with(Rule::EveryIteration), &expected) < 1e-6);
    [
        error(&got, &expected),
        error(&with(Rule::FinalMatrix), &expected),
        error(&with(Rule::ExtraFactor), &expected),
    ]
}

/// Returns whether rows and columns of matrices `[.., N, N]` do not both sum to one.
fn is_not_doubly_stochastic(mix: &[f64]) -> bool {
    off_by(N, mix).iter().any(|off| *off > 1e-4)
}

fn some_logits() -> Vec<f32> {
    CheckInput::normal([BATCH * TOKENS, MATRIX], 1.0, 3).data
}

#[test]
fn bug_02_normalisation_along_the_wrong_axes() {
    let (mix, _) = implementation(&some_logits(), &[0.0; BATCH * TOKENS * MATRIX], 20);
    assert!(!is_not_doubly_stochastic(&mix));
    // Put back: sums over batch and tokens in place of rows.
    let wrong = wrong_axis(N, 20, &wide(&some_logits()));
    assert!(is_not_doubly_stochastic(&wrong));
    // One of the two sums is right: a test of it alone sees nothing.
    assert!(off_by(N, &wrong)[0] < 1e-9);
}

#[test]
fn bug_03_matrices_of_one_row_become_ones() {
    let logits = some_logits();
    let cotangent = CheckInput::normal([BATCH * TOKENS, MATRIX], 1.0, 2).data;
    let (mix, gradient) = implementation(&logits, &cotangent, 20);
    assert!(!is_not_doubly_stochastic(&mix));
    assert!(gradient.iter().any(|&g| g.abs() > 1e-3));
    // Put back: every row is a matrix 1 x N, whose columns come last.
    let wrong = one_by_n(N, &wide(&logits));
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
