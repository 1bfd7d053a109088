//! One row to many, and the adjoint, the sum of rows: a bias over rows, and replication into
//! streams.

use super::elementwise::copy;
use super::{expect_len, expect_rows};
use crate::simd::{F32, LANES, load, load_partial, store, store_partial};

/// `y += bias` for each row of `y`, which is `[rows, bias.len()]`.
#[track_caller]
pub fn add_bias(y: &mut [f32], bias: &[f32]) {
    expect_rows("add_bias", "y", y.len(), bias.len());
    for row in y.chunks_exact_mut(bias.len()) {
        copy(row, true, bias);
    }
}

/// Rows that are summed in registers before the sum goes to memory.
const BLOCK: usize = 16;

/// `dbias =` the sum of the rows of `dy`, which is `[rows, dbias.len()]`: blocks of rows
/// are added in their order.
#[track_caller]
pub fn bias_backward(dbias: &mut [f32], accumulate: bool, dy: &[f32]) {
    let width = dbias.len();
    expect_rows("bias_backward", "dy", dy.len(), width);
    if !accumulate {
        dbias.fill(0.0);
    }
    let whole = width / LANES * LANES;
    for block in dy.chunks(BLOCK * width) {
        for at in (0..whole).step_by(LANES) {
            let mut sum = F32::ZERO;
            for row in block.chunks_exact(width) {
                sum += load(&row[at..]);
            }
            let total = &mut dbias[at..];
            store(total, load(total) + sum);
        }
        if whole < width {
            let mut sum = F32::ZERO;
            for row in block.chunks_exact(width) {
                sum += load_partial(&row[whole..]);
            }
            let total = &mut dbias[whole..];
            store_partial(total, load_partial(total) + sum);
        }
    }
}

/// `y[r, j] = x[r]`, or `+=`, for every stream j: x `[rows, width]`, y `[rows, rate,
/// width]`.
#[track_caller]
pub fn replicate(y: &mut [f32], accumulate: bool, x: &[f32], rate: usize, width: usize) {
    let rows = expect_rows("replicate", "x", x.len(), width);
    expect_len("replicate", "y", y.len(), rows * rate * width);
    for (streams, x) in y.chunks_exact_mut(rate * width).zip(x.chunks_exact(width)) {
        for stream in streams.chunks_exact_mut(width) {
            copy(stream, accumulate, x);
        }
    }
}

/// `y[r] = sum over j of x[r, j]`, or `+=`, in the order of the streams: x `[rows,
/// rate, width]`, y `[rows, width]`.
#[track_caller]
pub fn sum_streams(y: &mut [f32], accumulate: bool, x: &[f32], rate: usize, width: usize) {
    let rows = expect_rows("sum_streams", "y", y.len(), width);
    expect_len("sum_streams", "x", x.len(), rows * rate * width);
    for (y, streams) in y.chunks_exact_mut(width).zip(x.chunks_exact(rate * width)) {
        for (j, stream) in streams.chunks_exact(width).enumerate() {
            copy(y, accumulate || j > 0, stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_bias_is_added_to_each_row_and_its_gradient_is_the_sum_of_rows() {
        for width in SIZES {
            for rows in [0, 1, 15, 16, 17, 50] {
                let (x, bias) = (normals(rows * width, 1), normals(width, 2));
                let mut y = x.clone();
                add_bias(&mut y, &bias);
                let shifted: Vec<f64> = (0..rows * width)
                    .map(|i| f64::from(x[i]) + f64::from(bias[i % width]))
                    .collect();
                assert_close(&y, &shifted, 1e-7);

                let sums: Vec<f64> = (0..width)
                    .map(|c| (0..rows).map(|r| f64::from(x[r * width + c])).sum())
                    .collect();
                assert_written(&sums, 2e-6, |d, acc| bias_backward(d, acc, &x));
            }
        }
    }

    #[test]
    #[should_panic(expected = "bias_backward: dy has 7 elements, expected rows of 3")]
    fn a_ragged_gradient_panics() {
        bias_backward(&mut [0.0; 3], false, &[0.0; 7]);
    }
}
