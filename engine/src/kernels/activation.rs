//! Activations and their derivatives.

use super::{expect_len, expect_rows};
use crate::simd::{self, F32, LANES, load, load_partial, map, store, store_partial};

/// The exact GELU, `y = x Phi(x)` with the normal distribution function `Phi`.
#[track_caller]
pub fn gelu(y: &mut [f32], x: &[f32]) {
    map(y, false, [x], |[x]| x * simd::normal(x).0);
}

/// `dx = dy (Phi(x) + x phi(x))`.
#[track_caller]
pub fn gelu_backward(dx: &mut [f32], accumulate: bool, dy: &[f32], x: &[f32]) {
    map(dx, accumulate, [dy, x], |[dy, x]| {
        let (distribution, density) = simd::normal(x);
        dy * x.mul_add(density, distribution)
    });
}

/// The derivative of SiLU at `x`, given `s = sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu_slope(x: F32, s: F32) -> F32 {
    let xs = x * s;
    xs.mul_neg_add(s, s + xs)
}

/// SwiGLU on a fused projection (Shazeer, 2020): `gate_up` is `[rows, 2 hidden]`, each
/// row `gate | up`; `y = silu(gate) up` is `[rows, hidden]`.
#[track_caller]
pub fn swiglu(y: &mut [f32], gate_up: &[f32], hidden: usize) {
    let rows = expect_rows("swiglu", "y", y.len(), hidden);
    expect_len("swiglu", "gate_up", gate_up.len(), rows * 2 * hidden);
    for (y, gate_up) in y
        .chunks_exact_mut(hidden)
        .zip(gate_up.chunks_exact(2 * hidden))
    {
        let (gate, up) = gate_up.split_at(hidden);
        map(y, false, [gate, up], |[gate, up]| {
            gate * simd::sigmoid(gate) * up
        });
    }
}

/// Backward of [`swiglu`]: `dgate_up` is `[rows, 2 hidden]`, from `dy` `[rows, hidden]`
/// and the input `gate_up`.
#[track_caller]
pub fn swiglu_backward(
    dgate_up: &mut [f32],
    accumulate: bool,
    dy: &[f32],
    gate_up: &[f32],
    hidden: usize,
) {
    let rows = expect_rows("swiglu_backward", "dy", dy.len(), hidden);
    expect_len(
        "swiglu_backward",
        "gate_up",
        gate_up.len(),
        rows * 2 * hidden,
    );
    expect_len(
        "swiglu_backward",
        "dgate_up",
        dgate_up.len(),
        rows * 2 * hidden,
    );
    if accumulate {
        swiglu_backward_rows(dgate_up, dy, gate_up, hidden, |old, new| old + new);
    } else {
        swiglu_backward_rows(dgate_up, dy, gate_up, hidden, |_, new| new);
    }
}

#[inline(always)]
fn swiglu_backward_rows(
    dgate_up: &mut [f32],
    dy: &[f32],
    gate_up: &[f32],
    hidden: usize,
    write: impl Fn(F32, F32) -> F32,
) {
    let gradients = |dy: F32, gate: F32, up: F32| {
        let s = simd::sigmoid(gate);
        (dy * up * silu_slope(gate, s), dy * (gate * s))
    };
    let whole = hidden / LANES * LANES;
    let inputs = dy
        .chunks_exact(hidden)
        .zip(gate_up.chunks_exact(2 * hidden));
    for (d, (dy, gate_up)) in dgate_up.chunks_exact_mut(2 * hidden).zip(inputs) {
        let (gate, up) = gate_up.split_at(hidden);
        let (dgate, dup) = d.split_at_mut(hidden);
        for at in (0..whole).step_by(LANES) {
            let (dg, du) = gradients(load(&dy[at..]), load(&gate[at..]), load(&up[at..]));
            let (old_dg, old_du) = (load(&dgate[at..]), load(&dup[at..]));
            store(&mut dgate[at..], write(old_dg, dg));
            store(&mut dup[at..], write(old_du, du));
        }
        if whole < hidden {
            let (dg, du) = gradients(
                load_partial(&dy[whole..]),
                load_partial(&gate[whole..]),
                load_partial(&up[whole..]),
            );
            let (old_dg, old_du) = (load_partial(&dgate[whole..]), load_partial(&dup[whole..]));
            store_partial(&mut dgate[whole..], write(old_dg, dg));
            store_partial(&mut dup[whole..], write(old_du, du));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn sigmoid64(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// `x Phi(x)`, with Phi as the integral of its density by Simpson's rule.
    fn gelu64(x: f64) -> f64 {
        let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let (steps, mut sum) = (400, density(0.0) + density(x));
        for i in 1..steps {
            sum += density(x * i as f64 / steps as f64) * if i % 2 == 1 { 4.0 } else { 2.0 };
        }
        x * (0.5 + sum * x / (3.0 * steps as f64))
    }

    #[test]
    fn gelu_and_its_slope_agree_with_f64() {
        for len in SIZES {
            let x: Vec<f32> = normals(len, 1).iter().map(|x| 2.5 * x).collect();
            let dy = normals(len, 2);
            let mut y = vec![f32::NAN; len];
            gelu(&mut y, &x);
            assert_close(&y, &each(&x, gelu64), 5e-7);
            let formula = |x: &[f64]| x.iter().map(|&x| gelu64(x)).collect();
            let dx = gradient(&wide(&x), &wide(&dy), formula);
            assert_written(&dx, 1e-6, |dx, acc| gelu_backward(dx, acc, &dy, &x));
        }
    }

    fn swiglu64(gate_up: &[f64], hidden: usize) -> Vec<f64> {
        gate_up
            .chunks_exact(2 * hidden)
            .flat_map(|row| (0..hidden).map(|i| row[i] * sigmoid64(row[i]) * row[hidden + i]))
            .collect()
    }

    #[test]
    fn swiglu_and_its_gradient_agree_with_f64() {
        const ROWS: usize = 3;
        for hidden in SIZES {
            let gate_up = normals(ROWS * 2 * hidden, 3);
            let dy = normals(ROWS * hidden, 4);
            let mut y = vec![f32::NAN; ROWS * hidden];
            swiglu(&mut y, &gate_up, hidden);
            assert_close(&y, &swiglu64(&wide(&gate_up), hidden), 5e-7);
            let expected = gradient(&wide(&gate_up), &wide(&dy), |x| swiglu64(x, hidden));
            assert_written(&expected, 1e-6, |d, acc| {
                swiglu_backward(d, acc, &dy, &gate_up, hidden)
            });
        }
    }

    #[test]
    #[should_panic(expected = "swiglu: gate_up has 10 elements, expected 12")]
    fn swiglu_refuses_a_projection_of_the_wrong_size() {
        swiglu(&mut [0.0; 6], &[0.0; 10], 3);
    }
}
