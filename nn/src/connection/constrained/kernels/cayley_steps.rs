//! A nearly orthogonal mix: the Cayley transform by its fixed-point iteration (JPmHC).
//!
//! The transform H solves `H = I + S (I + H)`. The iteration begins with `H_0 = I + 2 S` and puts
//! H into the right-hand side, so that t steps have the powers of S up to t + 1 right: H is
//! orthogonal to the order of S to the power of t + 2. The logits are those above the diagonal of
//! S, row by row, as in [`cayley`](super::cayley).
//!
//! Backward, from the last step to the first: `dS += G (I + H_{t-1})ᵀ`, `G <- Sᵀ G`; at the start
//! `dS += 2 G`.

use engine::simd::F32;

/// Vectors of scratch memory: S, its gradient, two for G, and `H_0 .. H_t`.
pub(super) fn scratch(n: usize, iterations: usize) -> usize {
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

/// H after so many steps.
pub(super) fn mix(
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

/// The gradient of the logits from that of the mix.
pub(super) fn backward(
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
    let mut rest = logits_grad.iter_mut();
    for i in 0..n {
        for (j, grad) in (i + 1..n).zip(&mut rest) {
            *grad = total(i * n + j) - total(j * n + i);
        }
    }
}
