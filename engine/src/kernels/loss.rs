//! Losses: softmax cross-entropy with class or probability targets.
//!
//! Totals are accumulated in f64 in row order; a mean is the total over the number of
//! rows, and its gradient has `scale = 1 / rows`.

use super::softmax::max_and_sum;
use super::{expect_len, expect_rows};
use crate::simd::{F32, exp_nonpositive, map, reduce_add, visit};

/// Softmax cross-entropy of `logits` `[rows, classes]` with one target class a row:
/// `loss = ln(sum(exp(x))) - x[target]`. Returns the sum of the losses.
///
/// `stats` `[rows, 2]` receives the maximum `m` and `sum(exp(x - m))` of each row, for
/// the backward; their log-sum-exp is `m + ln(sum)`.
///
/// # Panics
/// If a target is not a class.
#[track_caller]
pub fn cross_entropy(
    losses: &mut [f32],
    stats: &mut [f32],
    logits: &[f32],
    targets: &[u32],
    classes: usize,
) -> f64 {
    let rows = expect_rows("cross_entropy", "logits", logits.len(), classes);
    expect_len("cross_entropy", "losses", losses.len(), rows);
    expect_len("cross_entropy", "stats", stats.len(), 2 * rows);
    expect_targets("cross_entropy", targets, rows, classes);
    let mut total = 0.0;
    let inputs = logits.chunks_exact(classes).zip(targets);
    let outputs = losses.iter_mut().zip(stats.chunks_exact_mut(2));
    for ((x, &target), (loss, stats)) in inputs.zip(outputs) {
        let (max, sum) = max_and_sum(x);
        // Not (max + ln sum) - x: with large logits the sum would lose its digits.
        *loss = sum.ln() + (max - x[target as usize]);
        stats[0] = max;
        stats[1] = sum;
        total += f64::from(*loss);
    }
    total
}

/// Backward of [`cross_entropy`] for `scale` times the sum of the losses:
/// `dlogits = (softmax(logits) - onehot(target)) scale`.
#[track_caller]
pub fn cross_entropy_backward(
    dlogits: &mut [f32],
    accumulate: bool,
    logits: &[f32],
    stats: &[f32],
    targets: &[u32],
    classes: usize,
    scale: f32,
) {
    let op = "cross_entropy_backward";
    let rows = expect_rows(op, "logits", logits.len(), classes);
    expect_len(op, "dlogits", dlogits.len(), logits.len());
    expect_len(op, "stats", stats.len(), 2 * rows);
    expect_targets(op, targets, rows, classes);
    let inputs = logits.chunks_exact(classes).zip(stats.chunks_exact(2));
    let outputs = dlogits.chunks_exact_mut(classes).zip(targets);
    for ((x, stats), (dx, &target)) in inputs.zip(outputs) {
        let max = F32::splat(stats[0]);
        let factor = F32::splat(scale / stats[1]);
        map(dx, accumulate, [x], |[x]| exp_nonpositive(x - max) * factor);
        dx[target as usize] -= scale;
    }
}

/// Softmax cross-entropy with target weights `[rows, classes]`, as Mixup and label
/// smoothing make them: `loss = sum_c t[c] (ln(sum(exp(x))) - x[c])`. Returns the sum of
/// the losses; `stats` as in [`cross_entropy`].
#[track_caller]
pub fn soft_cross_entropy(
    losses: &mut [f32],
    stats: &mut [f32],
    logits: &[f32],
    targets: &[f32],
    classes: usize,
) -> f64 {
    let rows = expect_rows("soft_cross_entropy", "logits", logits.len(), classes);
    expect_len("soft_cross_entropy", "losses", losses.len(), rows);
    expect_len("soft_cross_entropy", "stats", stats.len(), 2 * rows);
    expect_len("soft_cross_entropy", "targets", targets.len(), logits.len());
    let mut total = 0.0;
    let inputs = logits
        .chunks_exact(classes)
        .zip(targets.chunks_exact(classes));
    let outputs = losses.iter_mut().zip(stats.chunks_exact_mut(2));
    for ((x, targets), (loss, stats)) in inputs.zip(outputs) {
        let (max, sum) = max_and_sum(x);
        let (m, log_sum) = (F32::splat(max), F32::splat(sum.ln()));
        let mut lanes = F32::ZERO;
        // Padding lanes have target 0.
        visit([x, targets], F32::ZERO, |[x, t]| {
            lanes = t.mul_add(log_sum + (m - x), lanes);
        });
        *loss = reduce_add(lanes);
        stats[0] = max;
        stats[1] = sum;
        total += f64::from(*loss);
    }
    total
}

/// Backward of [`soft_cross_entropy`] for `scale` times the sum of the losses:
/// `dlogits = (softmax(logits) sum(t) - t) scale`.
#[track_caller]
pub fn soft_cross_entropy_backward(
    dlogits: &mut [f32],
    accumulate: bool,
    logits: &[f32],
    stats: &[f32],
    targets: &[f32],
    classes: usize,
    scale: f32,
) {
    let op = "soft_cross_entropy_backward";
    let rows = expect_rows(op, "logits", logits.len(), classes);
    expect_len(op, "dlogits", dlogits.len(), logits.len());
    expect_len(op, "stats", stats.len(), 2 * rows);
    expect_len(op, "targets", targets.len(), logits.len());
    let inputs = logits.chunks_exact(classes).zip(stats.chunks_exact(2));
    let outputs = dlogits
        .chunks_exact_mut(classes)
        .zip(targets.chunks_exact(classes));
    for ((x, stats), (dx, targets)) in inputs.zip(outputs) {
        let max = F32::splat(stats[0]);
        let factor = F32::splat(crate::simd::sum(targets) / stats[1]);
        map(dx, accumulate, [x, targets], |[x, t]| {
            exp_nonpositive(x - max).mul_sub(factor, t) * F32::splat(scale)
        });
    }
}

#[track_caller]
fn expect_targets(op: &str, targets: &[u32], rows: usize, classes: usize) {
    expect_len(op, "targets", targets.len(), rows);
    for (row, &target) in targets.iter().enumerate() {
        assert!(
            (target as usize) < classes,
            "{op}: the target of row {row} is {target}, expected less than {classes} classes"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const ROWS: usize = 4;

    fn soft_cross_entropy64(x: &[f64], targets: &[f64], classes: usize) -> Vec<f64> {
        x.chunks_exact(classes)
            .zip(targets.chunks_exact(classes))
            .map(|(x, t)| {
                let max = x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let lse = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
                x.iter().zip(t).map(|(x, t)| t * (lse - x)).sum()
            })
            .collect()
    }

    fn onehot(targets: &[u32], classes: usize) -> Vec<f64> {
        let mut rows = vec![0.0; targets.len() * classes];
        for (row, &target) in targets.iter().enumerate() {
            rows[row * classes + target as usize] = 1.0;
        }
        rows
    }

    #[test]
    fn cross_entropy_and_its_gradient_agree_with_f64() {
        for classes in SIZES {
            for (shift, spread) in [(0.0, 1.0), (1e4, 30.0), (-1e4, 30.0)] {
                let logits: Vec<f32> = normals(ROWS * classes, 1)
                    .iter()
                    .map(|x| spread * x + shift)
                    .collect();
                let targets: Vec<u32> = (0..ROWS).map(|r| (r * 7 % classes) as u32).collect();
                let weights = onehot(&targets, classes);
                let (mut losses, mut stats) = (vec![f32::NAN; ROWS], vec![f32::NAN; 2 * ROWS]);
                let total = cross_entropy(&mut losses, &mut stats, &logits, &targets, classes);
                let expected = soft_cross_entropy64(&wide(&logits), &weights, classes);
                assert_close(&losses, &expected, 1e-6);
                let sum: f64 = losses.iter().map(|&x| f64::from(x)).sum();
                assert!((total - sum).abs() < 1e-12 * sum.abs().max(1.0));

                let expected = gradient(&wide(&logits), &[0.25; ROWS], |x| {
                    soft_cross_entropy64(x, &weights, classes)
                });
                assert_written(&expected, 1e-6, |d, acc| {
                    cross_entropy_backward(d, acc, &logits, &stats, &targets, classes, 0.25);
                });
            }
        }
    }

    #[test]
    fn soft_cross_entropy_and_its_gradient_agree_with_f64() {
        for classes in SIZES {
            for shift in [0.0, 1e4] {
                let logits: Vec<f32> = normals(ROWS * classes, 1)
                    .iter()
                    .map(|x| x + shift)
                    .collect();
                // Weights that do not sum to one, so that their sum matters.
                let targets: Vec<f32> = normals(ROWS * classes, 2)
                    .iter()
                    .map(|x| x.abs() / classes as f32)
                    .collect();
                let (mut losses, mut stats) = (vec![f32::NAN; ROWS], vec![f32::NAN; 2 * ROWS]);
                let total = soft_cross_entropy(&mut losses, &mut stats, &logits, &targets, classes);
                let expected = soft_cross_entropy64(&wide(&logits), &wide(&targets), classes);
                assert_close(&losses, &expected, 1e-6);
                assert!((total - expected.iter().sum::<f64>()).abs() < 1e-5);
                let expected = gradient(&wide(&logits), &[0.25; ROWS], |x| {
                    soft_cross_entropy64(x, &wide(&targets), classes)
                });
                assert_written(&expected, 1e-6, |d, acc| {
                    soft_cross_entropy_backward(d, acc, &logits, &stats, &targets, classes, 0.25);
                });
            }
        }
    }

    #[test]
    fn a_hopeless_and_a_certain_prediction_stay_finite() {
        let logits = [1e4, -1e4, -1e4];
        let (mut losses, mut stats, mut d) = ([f32::NAN], [f32::NAN; 2], [f32::NAN; 3]);
        cross_entropy(&mut losses, &mut stats, &logits, &[1], 3);
        assert_eq!(losses, [2e4]);
        cross_entropy_backward(&mut d, false, &logits, &stats, &[1], 3, 1.0);
        assert_eq!(d, [1.0, -1.0, 0.0]);
        cross_entropy(&mut losses, &mut stats, &logits, &[0], 3);
        assert_eq!(losses, [0.0]);
        cross_entropy_backward(&mut d, false, &logits, &stats, &[0], 3, 1.0);
        assert_eq!(d, [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "the target of row 1 is 3, expected less than 3 classes")]
    fn a_target_that_is_no_class_panics() {
        cross_entropy(&mut [0.0; 2], &mut [0.0; 4], &[0.0; 6], &[2, 3], 3);
    }
}
