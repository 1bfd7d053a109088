//! Softmax over rows, and the logarithm of the sum of exponentials.
//!
//! The maximum of a row is subtracted first, so no finite row overflows. Entries of -inf
//! get probability 0; a row of nothing but -inf, or with +inf or NaN, becomes NaN.

use super::{expect_len, expect_rows};
use crate::simd::{
    F32, LANES, dot, exp_nonpositive, load, load_partial_or, map, reduce_add, reduce_max, store,
    store_partial, visit,
};

/// `y = exp(x - max) / sum(exp(x - max))` over rows of `width`.
#[track_caller]
pub fn softmax(y: &mut [f32], x: &[f32], width: usize) {
    expect_rows("softmax", "x", x.len(), width);
    expect_len("softmax", "y", y.len(), x.len());
    let whole = width / LANES * LANES;
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let max = F32::splat(row_max(x));
        let mut sum = F32::ZERO;
        for at in (0..whole).step_by(LANES) {
            let e = exp_nonpositive(load(&x[at..]) - max);
            sum += e;
            store(&mut y[at..], e);
        }
        if whole < width {
            let e = exp_nonpositive(load_partial_or(&x[whole..], NEVER) - max);
            sum += e;
            store_partial(&mut y[whole..], e);
        }
        let scale = F32::splat(1.0 / reduce_add(sum));
        for at in (0..whole).step_by(LANES) {
            let e = load(&y[at..]);
            store(&mut y[at..], e * scale);
        }
        if whole < width {
            let e = load_partial_or(&y[whole..], F32::ZERO);
            store_partial(&mut y[whole..], e * scale);
        }
    }
}

/// `dx = y (dy - sum(dy y))` for each row, from the output `y` of [`softmax`].
#[track_caller]
pub fn softmax_backward(dx: &mut [f32], accumulate: bool, dy: &[f32], y: &[f32], width: usize) {
    expect_rows("softmax_backward", "y", y.len(), width);
    expect_len("softmax_backward", "dy", dy.len(), y.len());
    expect_len("softmax_backward", "dx", dx.len(), y.len());
    let rows = dy.chunks_exact(width).zip(y.chunks_exact(width));
    for (dx, (dy, y)) in dx.chunks_exact_mut(width).zip(rows) {
        let mean = F32::splat(dot(dy, y));
        map(dx, accumulate, [dy, y], |[dy, y]| y * (dy - mean));
    }
}

/// `lse = ln(sum(exp(x)))` for each row of `width`.
#[track_caller]
pub fn log_sum_exp(lse: &mut [f32], x: &[f32], width: usize) {
    let rows = expect_rows("log_sum_exp", "x", x.len(), width);
    expect_len("log_sum_exp", "lse", lse.len(), rows);
    for (x, lse) in x.chunks_exact(width).zip(lse) {
        let (max, sum) = max_and_sum(x);
        *lse = max + sum.ln();
    }
}

/// `dx = dlse exp(x - lse)` for each row, from the output `lse` of [`log_sum_exp`].
#[track_caller]
pub fn log_sum_exp_backward(
    dx: &mut [f32],
    accumulate: bool,
    dlse: &[f32],
    x: &[f32],
    lse: &[f32],
    width: usize,
) {
    let rows = expect_rows("log_sum_exp_backward", "x", x.len(), width);
    expect_len("log_sum_exp_backward", "dx", dx.len(), x.len());
    expect_len("log_sum_exp_backward", "dlse", dlse.len(), rows);
    expect_len("log_sum_exp_backward", "lse", lse.len(), rows);
    for row in 0..rows {
        let columns = row * width..(row + 1) * width;
        let (lse, dlse) = (F32::splat(lse[row]), F32::splat(dlse[row]));
        map(
            &mut dx[columns.clone()],
            accumulate,
            [&x[columns]],
            |[x]| {
                // Rounding may lift x above lse where one entry outweighs all.
                dlse * exp_nonpositive((x - lse).fast_min(F32::ZERO))
            },
        );
    }
}

/// Filling of the lanes beyond a row: nothing in a maximum nor in a sum of exponentials.
const NEVER: F32 = F32::splat(f32::NEG_INFINITY);

/// The largest entry of a row that is not empty.
#[inline(always)]
fn row_max(x: &[f32]) -> f32 {
    let mut max = NEVER;
    visit([x], NEVER, |[x]| max = max.fast_max(x));
    reduce_max(max)
}

/// `(max(x), sum(exp(x - max(x))))` of a row that is not empty.
#[inline(always)]
pub(super) fn max_and_sum(x: &[f32]) -> (f32, f32) {
    let max = row_max(x);
    let (mut sum, m) = (F32::ZERO, F32::splat(max));
    visit([x], NEVER, |[x]| sum += exp_nonpositive(x - m));
    (max, reduce_add(sum))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const ROWS: usize = 3;

    fn softmax64(x: &[f64], width: usize) -> Vec<f64> {
        x.chunks_exact(width)
            .flat_map(|x| {
                let max = x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                x.iter()
                    .map(move |x| (x - max).exp() / sum)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn log_sum_exp64(x: &[f64], width: usize) -> Vec<f64> {
        x.chunks_exact(width)
            .map(|x| {
                let max = x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
            })
            .collect()
    }

    #[test]
    fn softmax_and_its_gradient_agree_with_f64() {
        for width in SIZES {
            let x: Vec<f32> = normals(ROWS * width, 1)
                .iter()
                .map(|x| 3.0 * x - 5.0)
                .collect();
            let dy = normals(ROWS * width, 2);
            let mut y = vec![f32::NAN; x.len()];
            softmax(&mut y, &x, width);
            assert_close(&y, &softmax64(&wide(&x), width), 5e-7);
            let expected = gradient(&wide(&x), &wide(&dy), |x| softmax64(x, width));
            assert_written(&expected, 1e-6, |dx, acc| {
                softmax_backward(dx, acc, &dy, &y, width)
            });
        }
    }

    #[test]
    fn log_sum_exp_and_its_gradient_agree_with_f64() {
        for width in SIZES {
            let x: Vec<f32> = normals(ROWS * width, 1)
                .iter()
                .map(|x| 3.0 * x - 5.0)
                .collect();
            let dlse = normals(ROWS, 2);
            let mut lse = vec![f32::NAN; ROWS];
            log_sum_exp(&mut lse, &x, width);
            assert_close(&lse, &log_sum_exp64(&wide(&x), width), 5e-7);
            let expected = gradient(&wide(&x), &wide(&dlse), |x| log_sum_exp64(x, width));
            assert_written(&expected, 2e-6, |dx, acc| {
                log_sum_exp_backward(dx, acc, &dlse, &x, &lse, width);
            });
        }
    }

    #[test]
    fn extreme_and_masked_entries_are_exact() {
        for width in [3, 16, 33] {
            for (high, low) in [(1e4, -1e4), (0.0, f32::NEG_INFINITY), (-1e4, -3e4)] {
                let mut x = vec![low; width];
                x[width - 1] = high;
                let mut y = vec![f32::NAN; width];
                softmax(&mut y, &x, width);
                let mut expected = vec![0.0; width];
                expected[width - 1] = 1.0;
                assert_eq!(y, expected);
                let mut lse = [f32::NAN];
                log_sum_exp(&mut lse, &x, width);
                assert_eq!(lse[0], high);
            }
        }
    }

    #[test]
    fn a_row_with_nothing_to_choose_from_is_nan() {
        for bad in [f32::NEG_INFINITY, f32::NAN] {
            let mut y = [0.0; 5];
            softmax(&mut y, &[bad; 5], 5);
            assert!(y.iter().all(|y| y.is_nan()));
        }
    }
}
