//! Multi-head self-attention over a fused projection.

use crate::{
    buffer::Buffer,
    kernels::{
        attention::{AttentionShape, SavedForward, attention_backward, attention_forward},
        rotary::{self, fill_rotary_tables},
    },
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};
use std::sync::Arc;

/// Rotary positions (Su et al., RoFormer, 2021) in the half-split convention:
/// position t turns the pair `(x_i, x_{i + h/2})` of a head of width h by the angle
/// `t theta^(-2 i / h)`.
#[derive(Debug)]
pub struct Rotary {
    cos: Buffer,
    sin: Buffer,
    head_dim: usize,
}

impl Rotary {
    /// The tables of `positions` positions.
    ///
    /// # Panics
    /// If the width of a head is odd.
    #[track_caller]
    pub fn new(theta: f64, head_dim: usize, positions: usize) -> Self {
        let mut cos = Buffer::zeros(positions * head_dim / 2);
        let mut sin = cos.clone();
        fill_rotary_tables(theta, head_dim, &mut cos, &mut sin);
        Self { cos, sin, head_dim }
    }

    /// Number of positions that the tables cover.
    pub fn positions(&self) -> usize {
        2 * self.cos.len() / self.head_dim
    }

    fn tables(&self) -> rotary::Rotary<'_> {
        rotary::Rotary {
            cos: &self.cos,
            sin: &self.sin,
        }
    }
}

struct Attention {
    shape: AttentionShape,
    rotary: Option<Arc<Rotary>>,
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [qkv] = cx.inputs();
        let [out, lse] = cx.outputs();
        let rotary = self.rotary.as_deref().map(Rotary::tables);
        let workers = workers(cx.parallel);
        let mut scratch = cx.pool.take(self.shape.forward_scratch(workers));
        attention_forward(self.shape, qkv, rotary, out, lse, workers, &mut scratch);
        cx.pool.give(scratch);
    }

    /// With `P = softmax(S)`: `dV = Pᵀ dO`, `dS = P (dO Vᵀ - rowsum(dO O))`, `dQ = dS
    /// K`, `dK = dSᵀ Q`; P is computed again from the saved log-sum-exp.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [qkv] = cx.inputs();
        let [out, lse] = cx.outputs();
        let saved = SavedForward {
            out,
            lse,
            dout: cx.grad(),
        };
        let rotary = self.rotary.as_deref().map(Rotary::tables);
        let Some(dqkv) = cx.input_grad(0) else {
            return;
        };
        let (shape, workers) = (self.shape, workers(cx.parallel));
        let mut scratch = cx.pool.take(shape.backward_scratch(workers));
        attention_backward(shape, qkv, rotary, saved, dqkv, workers, &mut scratch);
        cx.pool.give(scratch);
    }
}

/// Number of tasks.
fn workers(parallel: bool) -> usize {
    match parallel {
        true => rayon::current_num_threads(),
        false => 1,
    }
}

/// `softmax(q kᵀ / sqrt(head_dim)) v` for every head: qkv `[batch, seq, 3 dim]` with
/// rows `q | k | v`, head h at the columns `h head_dim ..` of each; y `[batch, seq,
/// dim]`. With `causal` a position sees itself and earlier ones only. With `rotary`, q
/// and k are turned by their positions first.
///
/// # Panics
/// If the width is no multiple of `3 heads`, or the rotary tables are too short or for
/// heads of another width.
#[track_caller]
pub fn attention<'t>(
    qkv: Var<'t>,
    heads: usize,
    rotary: Option<&Arc<Rotary>>,
    causal: bool,
) -> Var<'t> {
    let shape = qkv.shape();
    let &[batch, seq, width] = shape.dims() else {
        qkv.tape().fail(
            "attention",
            format_args!("qkv is {shape}, expected [batch, seq, 3 dim]"),
        );
    };
    if heads == 0 || !width.is_multiple_of(3 * heads) {
        qkv.tape().fail(
            "attention",
            format_args!("qkv is {shape}, expected a width of 3 * heads {heads} * head_dim"),
        );
    }
    let head_dim = width / (3 * heads);
    if let Some(rotary) = rotary
        && (rotary.head_dim != head_dim || rotary.positions() < seq)
    {
        qkv.tape().fail(
            "attention",
            format_args!(
                "qkv is {shape} with heads of width {head_dim}, the rotary tables are for {} \
                 positions of heads of width {}",
                rotary.positions(),
                rotary.head_dim
            ),
        );
    }
    let op = Attention {
        shape: AttentionShape {
            batch,
            seq,
            heads,
            head_dim,
            causal,
        },
        rotary: rotary.cloned(),
    };
    let lse = Shape::from([batch, heads, seq]);
    let [y, _] = qkv
        .tape()
        .apply(op, &[qkv], [shape.with_width(width / 3), lse]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};

    const THETA: f64 = 100.0;

    /// One vector of a head, turned by its position.
    fn turned(x: &[f64], position: usize) -> Vec<f64> {
        let half = x.len() / 2;
        let mut y = x.to_vec();
        for i in 0..half {
            let angle = position as f64 * THETA.powf(-2.0 * i as f64 / x.len() as f64);
            let (sin, cos) = angle.sin_cos();
            y[i] = x[i] * cos - x[half + i] * sin;
            y[half + i] = x[i] * sin + x[half + i] * cos;
        }
        y
    }

    fn naive(x: &[f64], shape: AttentionShape, rotary: bool) -> Vec<f64> {
        let (h, dim) = (shape.head_dim, shape.heads * shape.head_dim);
        let mut y = vec![0.0; shape.batch * shape.seq * dim];
        for b in 0..shape.batch {
            for head in 0..shape.heads {
                let vector = |t: usize, part: usize| {
                    let at = (b * shape.seq + t) * 3 * dim + part * dim + head * h;
                    match rotary && part < 2 {
                        true => turned(&x[at..at + h], t),
                        false => x[at..at + h].to_vec(),
                    }
                };
                for t in 0..shape.seq {
                    let seen = if shape.causal { t + 1 } else { shape.seq };
                    let q = vector(t, 0);
                    let scores = (0..seen).map(|s| {
                        let k = vector(s, 1);
                        let dot: f64 = q.iter().zip(&k).map(|(q, k)| q * k).sum();
                        (dot / (h as f64).sqrt()).exp()
                    });
                    let scores: Vec<f64> = scores.collect();
                    let total: f64 = scores.iter().sum();
                    for (s, score) in scores.iter().enumerate() {
                        for (i, v) in vector(s, 2).iter().enumerate() {
                            y[(b * shape.seq + t) * dim + head * h + i] += score / total * v;
                        }
                    }
                }
            }
        }
        y
    }

    #[test]
    fn attention_has_the_gradients_of_its_formula() {
        for (batch, seq, heads, head_dim) in
            [(1, 1, 1, 2), (2, 5, 2, 4), (1, 17, 3, 6), (3, 4, 1, 18)]
        {
            for (causal, rotary) in [(true, true), (true, false), (false, true), (false, false)] {
                let shape = AttentionShape {
                    batch,
                    seq,
                    heads,
                    head_dim,
                    causal,
                };
                let tables = rotary.then(|| Arc::new(Rotary::new(THETA, head_dim, seq + 2)));
                let width = 3 * heads * head_dim;
                Check::new(
                    "attention",
                    vec![CheckInput::normal([batch, seq, width], 1.0, 1)],
                    |_, v| vec![attention(v[0], heads, tables.as_ref(), causal)],
                    |x| vec![naive(&x[0], shape, rotary)],
                )
                .run();
            }
        }
    }
}
