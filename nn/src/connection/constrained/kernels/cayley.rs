//! Orthogonal mixes: the Cayley transform of a skew-symmetric matrix.
//!
//! `H = (I - S)⁻¹ (I + S)` with the logits above the diagonal of S, row by row, and their
//! negatives below it. H is orthogonal with determinant 1, and I where the logits are 0.
//!
//! The system needs no pivoting: the symmetric part of `I - S`, and of every Schur
//! complement that the elimination leaves, is at least I, so no pivot is below 1.
//!
//! Backward: from `(I - S) H = I + S`, `dH = (I - S)⁻¹ dS (I + H)`, and `(I - S)⁻¹ =
//! (I + H) / 2`; the gradient of S is therefore `(I + H)ᵀ G (I + H)ᵀ / 2`, without a second
//! system, and that of a logit the difference of its two elements.
//!
//! By its fixed-point iteration (JPmHC) the mix is nearly orthogonal. The transform solves `H = I +
//! S (I + H)`; the iteration begins with `H_0 = I + 2 S` and puts H into the right-hand side, so
//! that t steps have the powers of S up to t + 1 right: H is orthogonal to the order of S to the
//! power of t + 2. Backward, from the last step to the first: `dS += G (I + H_{t-1})ᵀ`, `G <- Sᵀ
//! G`; at the start `dS += 2 G`.

use engine::simd::F32;

/// Vectors of scratch memory: the system's matrix, or two products.
pub(super) fn scratch(n: usize) -> usize {
    2 * n * n
}

/// Solves `(I - S) H = I + S`.
pub(super) fn mix(n: usize, logits: &[F32], mix: &mut [F32], scratch: &mut [F32]) {
    let system = &mut scratch[..n * n];
    let mut rest = logits.iter();
    for i in 0..n {
        system[i * n + i] = F32::ONE;
        mix[i * n + i] = F32::ONE;
        for (j, &s) in (i + 1..n).zip(&mut rest) {
            (mix[i * n + j], mix[j * n + i]) = (s, -s);
            (system[i * n + j], system[j * n + i]) = (-s, s);
        }
    }
    for pivot in 0..n {
        for i in pivot + 1..n {
            let factor = system[i * n + pivot] / system[pivot * n + pivot];
            for j in pivot + 1..n {
                system[i * n + j] = factor.mul_neg_add(system[pivot * n + j], system[i * n + j]);
            }
            for j in 0..n {
                mix[i * n + j] = factor.mul_neg_add(mix[pivot * n + j], mix[i * n + j]);
            }
        }
    }
    for i in (0..n).rev() {
        for j in 0..n {
            let mut value = mix[i * n + j];
            for k in i + 1..n {
                value = system[i * n + k].mul_neg_add(mix[k * n + j], value);
            }
            mix[i * n + j] = value / system[i * n + i];
        }
    }
}

/// The gradient of the logits from the mix and its gradient.
pub(super) fn backward(
    n: usize,
    mix: &[F32],
    mix_grad: &[F32],
    logits_grad: &mut [F32],
    scratch: &mut [F32],
) {
    let (left, both) = scratch[..2 * n * n].split_at_mut(n * n);
    // (I + H)[i, j]
    let sum = |i: usize, j: usize| {
        let h = mix[i * n + j];
        if i == j { h + F32::ONE } else { h }
    };
    for i in 0..n {
        for j in 0..n {
            left[i * n + j] = (0..n).fold(F32::ZERO, |value, k| {
                sum(k, i).mul_add(mix_grad[k * n + j], value)
            });
        }
    }
    for i in 0..n {
        for j in 0..n {
            let value = (0..n).fold(F32::ZERO, |value, k| {
                left[i * n + k].mul_add(sum(j, k), value)
            });
            both[i * n + j] = value * F32::splat(0.5);
        }
    }
    of_skew(n, |at| both[at], logits_grad);
}

/// The gradient of the logits from that of S: above the diagonal less below it.
fn of_skew(n: usize, grad: impl Fn(usize) -> F32, logits_grad: &mut [F32]) {
    let mut rest = logits_grad.iter_mut();
    for i in 0..n {
        for (j, to) in (i + 1..n).zip(&mut rest) {
            *to = grad(i * n + j) - grad(j * n + i);
        }
    }
}

/// Vectors of scratch memory: S, its gradient, two for G, and `H_0 .. H_t`.
pub(super) fn scratch_of_steps(n: usize, iterations: usize) -> usize {
    (5 + iterations) * n * n
}

/// S of its logits.
fn skew(n: usize, logits: &[F32], s: &mut [F32]) {
    let mut rest = logits.iter();
    for i in 0..n {
        s[i * n + i] = F32::ZERO;
        for (j, &value) in (i + 1..n).zip(&mut rest) {
            (s[i * n + j], s[j * n + i]) = (value, -value);
        }
    }
}

/// `I + 2 S`.
fn start(n: usize, s: &[F32], h: &mut [F32]) {
    for (at, (h, &s)) in h.iter_mut().zip(s).enumerate() {
        *h = s + s + unit(n, at);
    }
}

fn unit(n: usize, at: usize) -> F32 {
    if at / n == at % n {
        F32::ONE
    } else {
        F32::ZERO
    }
}

/// `I + S (I + H)`.
fn step(n: usize, s: &[F32], h: &[F32], next: &mut [F32]) {
    for i in 0..n {
        for j in 0..n {
            next[i * n + j] = (0..n).fold(s[i * n + j] + unit(n, i * n + j), |value, k| {
                s[i * n + k].mul_add(h[k * n + j], value)
            });
        }
    }
}

/// H after so many steps of the iteration.
pub(super) fn mix_by_steps(
    n: usize,
    iterations: usize,
    logits: &[F32],
    mix: &mut [F32],
    scratch: &mut [F32],
) {
    let (s, rest) = scratch.split_at_mut(n * n);
    let before = &mut rest[..n * n];
    skew(n, logits, s);
    start(n, s, mix);
    for _ in 0..iterations {
        before.copy_from_slice(mix);
        step(n, s, before, mix);
    }
}

/// The gradient of the logits from that of the mix by steps.
pub(super) fn backward_of_steps(
    n: usize,
    iterations: usize,
    logits: &[F32],
    mix_grad: &[F32],
    logits_grad: &mut [F32],
    scratch: &mut [F32],
) {
    let size = n * n;
    let (s, rest) = scratch.split_at_mut(size);
    let (s_grad, rest) = rest.split_at_mut(size);
    let (g, rest) = rest.split_at_mut(size);
    let (next_g, h) = rest.split_at_mut(size);
    skew(n, logits, s);
    start(n, s, &mut h[..size]);
    for t in 0..iterations {
        let (before, after) = h.split_at_mut((t + 1) * size);
        step(n, s, &before[t * size..], &mut after[..size]);
    }
    s_grad.fill(F32::ZERO);
    g.copy_from_slice(mix_grad);
    for t in (0..iterations).rev() {
        let h = &h[t * size..][..size];
        for i in 0..n {
            for j in 0..n {
                s_grad[i * n + j] = (0..n).fold(s_grad[i * n + j] + g[i * n + j], |value, k| {
                    g[i * n + k].mul_add(h[j * n + k], value)
                });
                next_g[i * n + j] = (0..n).fold(F32::ZERO, |value, k| {
                    s[k * n + i].mul_add(g[k * n + j], value)
                });
            }
        }
        g.copy_from_slice(next_g);
    }
    let total = |at: usize| s_grad[at] + g[at] + g[at];
    of_skew(n, total, logits_grad);
}
