//! Multi-head self-attention over a fused projection.

use crate::{
    backend::{AttentionShape, Job, Operand, ParameterVersion, unique_number, workers},
    buffer::Buffer,
    kernels::rotary::fill_rotary_tables,
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
    /// Cosines, then sines.
    tables: Buffer,
    head_dim: usize,
    /// Identity of the tables, which never change.
    number: u64,
}

impl Rotary {
    /// The tables of `positions` positions.
    ///
    /// # Panics
    /// If the width of a head is odd.
    #[track_caller]
    pub fn new(theta: f64, head_dim: usize, positions: usize) -> Self {
        let mut tables = Buffer::zeros(positions * head_dim);
        let (cos, sin) = tables.split_at_mut(positions * head_dim / 2);
        fill_rotary_tables(theta, head_dim, cos, sin);
        Self {
            tables,
            head_dim,
            number: unique_number(),
        }
    }

    /// Number of positions that the tables cover.
    pub fn positions(&self) -> usize {
        self.tables.len() / self.head_dim
    }

    /// The tables as an operand of an attention.
    pub fn operand(&self) -> Operand<'_> {
        let constant = ParameterVersion {
            network: self.number,
            start: 0,
            version: 0,
        };
        Operand::parameter(&self.tables, constant)
    }
}

struct Attention {
    shape: AttentionShape,
    rotary: Option<Arc<Rotary>>,
}

impl Attention {
    fn tables(&self) -> Operand<'_> {
        let rotary = self.rotary.as_deref();
        rotary.map(Rotary::operand).unwrap_or_default()
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let scratch = self.shape.forward_scratch(workers(cx.parallel));
        let mut scratch = cx.pool.take(scratch);
        let operands = [cx.operand(0), self.tables()];
        let targets = [cx.target(0), cx.target(1)];
        let job = Job::attention_forward(self.shape, operands, targets, &mut scratch);
        cx.backend.compute(&mut [Some(job)], cx.parallel);
        cx.pool.give(scratch);
    }

    /// With `P = softmax(S)`: `dV = Pᵀ dO`, `dS = P (dO Vᵀ - rowsum(dO O))`, `dQ = dS
    /// K`, `dK = dSᵀ Q`; P is computed again from the saved log-sum-exp.
    fn backward(&self, cx: &mut Backward<'_>) {
        let Some(dqkv) = cx.grad_target(0) else {
            return;
        };
        let scratch = self.shape.backward_scratch(workers(cx.parallel));
        let mut scratch = cx.pool.take(scratch);
        let [out, lse] = [0, 1].map(|i| cx.output_operand(i));
        let operands = [cx.operand(0), self.tables(), out, lse, cx.grad_operand()];
        let job = Job::attention_backward(self.shape, operands, dqkv, &mut scratch);
        cx.backend.compute(&mut [Some(job)], cx.parallel);
        cx.pool.give(scratch);
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
