//! The coefficients of constrained hyper-connections from their logits.
//!
//! Everything here treats [`LANES`] tokens at a time, one in each lane of a vector: the
//! matrices are too small to fill vectors themselves. `mix` is `H_res` `[n, n]` as mHC
//! writes it, row the destination; `alpha` holds its transpose, row the source.

mod cayley;
mod gates;
mod kronecker;
mod permutations;
mod quaternions;
mod rule;
mod sinkhorn;
mod softmax_sinkhorn;

pub use gates::Gates;
pub use permutations::MOST_STREAMS;
pub use rule::Rule;

use crate::connection::streams::put;
use engine::{
    op::Grad,
    simd::{F32, LANES, reduce_add},
};

/// The sizes of coefficients: tokens, streams, and the rule that says how many logits.
#[derive(Clone, Copy, Debug)]
pub struct CoefficientDims {
    /// Tokens.
    pub rows: usize,
    /// Streams n.
    pub rate: usize,
    /// The gates of read and write.
    pub gates: Gates,
    /// The rule of the mix.
    pub rule: Rule,
}

impl CoefficientDims {
    /// Columns of the projection: the logits of the read, of the write and of the mix.
    pub fn columns(self) -> usize {
        2 * self.gate_logits() + self.rule.logits(self.rate)
    }

    /// Number of logits of read, write and mix.
    pub fn logits(self) -> [usize; 3] {
        let gate = self.gate_logits();
        [gate, gate, self.rule.logits(self.rate)]
    }

    /// The logits of the read, and as many of the write.
    fn gate_logits(self) -> usize {
        self.gates.logits(self.rate)
    }

    /// Which of read, write and mix a column belongs to, and its place there.
    fn part(self, column: usize) -> (usize, usize) {
        let part = (column / self.gate_logits()).min(2);
        (part, column - part * self.gate_logits())
    }

    /// Vectors of scratch memory for [`coefficients`] and its backward.
    pub fn scratch(self) -> usize {
        let (n, rule) = (self.rate, self.rule);
        4 * self.columns() + 4 * n + 2 * n * n + 3 + self.gates.scratch(n) + rule.scratch(n)
    }
}

/// The affine map from the projection to logits, `scale * projection + bias`, for read, write and
/// mix.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `alpha_pre`, `alpha_post`, `alpha_res`.
    pub scale: [f32; 3],
    /// `bias_pre`, `bias_post`, `bias_res`, as long as there are logits.
    pub bias: [&'a [f32]; 3],
}

/// Where the gradients of [`Affine`] go.
#[derive(Debug)]
pub struct AffineGrads<'a> {
    /// Of the scales, one element each.
    pub scale: [Option<Grad<'a>>; 3],
    /// Of the biases.
    pub bias: [Option<Grad<'a>>; 3],
}

/// Some consecutive tokens, one per lane.
#[derive(Clone, Copy)]
struct Tokens {
    first: usize,
    count: usize,
}

impl Tokens {
    fn blocks(rows: usize) -> impl Iterator<Item = Self> {
        (0..rows).step_by(LANES).map(move |first| Self {
            first,
            count: LANES.min(rows - first),
        })
    }

    /// Element `index` of rows of `width` elements; 0 in lanes without a token.
    #[inline(always)]
    fn gather(self, x: &[f32], width: usize, index: usize) -> F32 {
        let mut lanes = [0.0; LANES];
        for (lane, value) in lanes[..self.count].iter_mut().enumerate() {
            *value = x[(self.first + lane) * width + index];
        }
        F32::new(lanes)
    }

    /// The inverse of [`Tokens::gather`].
    #[inline(always)]
    fn scatter(self, x: &mut [f32], width: usize, index: usize, value: F32, accumulate: bool) {
        for (lane, value) in value.to_array()[..self.count].iter().enumerate() {
            let slot = &mut x[(self.first + lane) * width + index];
            *slot = if accumulate { *slot + value } else { *value };
        }
    }
}

/// The scratch memory of one block of tokens.
struct Block<'s> {
    projected: &'s mut [F32],
    logits: &'s mut [F32],
    logits_grad: &'s mut [F32],
    bias_grad: &'s mut [F32],
    scale_grad: &'s mut [F32],
    /// Read and write before a factor, n each.
    gates: &'s mut [F32],
    /// Of read and write themselves.
    gates_grad: &'s mut [F32],
    softmaxes: &'s mut [F32],
    mix: &'s mut [F32],
    mix_grad: &'s mut [F32],
    rest: &'s mut [F32],
}

impl<'s> Block<'s> {
    fn new(dims: CoefficientDims, scratch: &'s mut [F32]) -> Self {
        let (n, columns) = (dims.rate, dims.columns());
        let mut rest = scratch;
        let mut take = |len: usize| {
            let (piece, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            piece
        };
        Self {
            projected: take(columns),
            logits: take(columns),
            logits_grad: take(columns),
            bias_grad: take(columns),
            scale_grad: take(3),
            gates: take(2 * n),
            gates_grad: take(2 * n),
            softmaxes: take(dims.gates.scratch(n)),
            mix: take(n * n),
            mix_grad: take(n * n),
            rest: take(dims.rule.scratch(n)),
        }
    }

    /// Loads the projection of some tokens, and computes their logits, gates and mix.
    fn load(
        &mut self,
        dims: CoefficientDims,
        affine: &Affine<'_>,
        projected: &[f32],
        tokens: Tokens,
    ) {
        for column in 0..dims.columns() {
            let (part, place) = dims.part(column);
            let value = tokens.gather(projected, dims.columns(), column);
            let bias = F32::splat(affine.bias[part][place]);
            self.projected[column] = value;
            self.logits[column] = F32::splat(affine.scale[part]).mul_add(value, bias);
        }
        let (gate_logits, mix_logits) = self.logits.split_at(2 * dims.gate_logits());
        dims.gates
            .forward(dims.rate, gate_logits, self.gates, self.softmaxes);
        dims.rule.mix(dims.rate, mix_logits, self.mix, self.rest);
    }
}

#[track_caller]
fn expect(op: &str, name: &str, len: usize, expected: usize) {
    assert!(
        len == expected,
        "{op}: {name} has {len} elements, expected {expected}"
    );
}

/// The coefficients of every token: with the logits `z = scale * projected + bias`,
///
/// ```text
/// alpha[i, 0]     = sigmoid(z_pre[i]) + floor, or the mean over g of softmax(z_pre[g])[i]
/// beta[i]         = 2 sigmoid(z_post[i])    or the sum over g of softmax(z_post[g])[i]
/// alpha[i, 1 + j] = H_res[j, i],   H_res = rule(z_res)
/// ```
/// `projected` is `[rows, columns]`, `alpha` `[rows, n, n + 1]`, `beta` `[rows, n]`.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn coefficients(
    dims: CoefficientDims,
    affine: &Affine<'_>,
    projected: &[f32],
    alpha: &mut [f32],
    beta: &mut [f32],
    scratch: &mut [F32],
) {
    const OP: &str = "constrained_coefficients";
    let n = dims.rate;
    let width = n * (n + 1);
    expect(OP, "projected", projected.len(), dims.rows * dims.columns());
    expect(OP, "alpha", alpha.len(), dims.rows * width);
    expect(OP, "beta", beta.len(), dims.rows * n);
    let mut block = Block::new(dims, scratch);
    let (write_factor, floor) = (dims.gates.write_factor(n), dims.gates.floor());
    for tokens in Tokens::blocks(dims.rows) {
        block.load(dims, affine, projected, tokens);
        for i in 0..n {
            tokens.scatter(alpha, width, i * (n + 1), block.gates[i] + floor, false);
            tokens.scatter(beta, n, i, block.gates[n + i] * write_factor, false);
            for j in 0..n {
                let (at, mix) = (i * (n + 1) + 1 + j, block.mix[j * n + i]);
                tokens.scatter(alpha, width, at, mix, false);
            }
        }
    }
}

/// The backward of [`coefficients`]; what it needs of the forward is computed again.
///
/// # Panics
/// If a slice does not have its length.
#[track_caller]
pub fn coefficients_backward(
    dims: CoefficientDims,
    affine: &Affine<'_>,
    projected: &[f32],
    alpha_grad: Option<&[f32]>,
    beta_grad: Option<&[f32]>,
    mut projected_grad: Option<Grad<'_>>,
    grads: AffineGrads<'_>,
    scratch: &mut [F32],
) {
    const OP: &str = "constrained_coefficients_backward";
    let (n, columns) = (dims.rate, dims.columns());
    let (width, gate_logits) = (n * (n + 1), 2 * dims.gate_logits());
    expect(OP, "projected", projected.len(), dims.rows * columns);
    let mut block = Block::new(dims, scratch);
    block.bias_grad.fill(F32::ZERO);
    block.scale_grad.fill(F32::ZERO);
    for tokens in Tokens::blocks(dims.rows) {
        let of = |grad: Option<&[f32]>, width: usize, index: usize| match grad {
            Some(grad) => tokens.gather(grad, width, index),
            None => F32::ZERO,
        };
        block.load(dims, affine, projected, tokens);
        for i in 0..n {
            block.gates_grad[i] = of(alpha_grad, width, i * (n + 1));
            block.gates_grad[n + i] = of(beta_grad, n, i);
            for j in 0..n {
                block.mix_grad[j * n + i] = of(alpha_grad, width, i * (n + 1) + 1 + j);
            }
        }
        let (gate_logits_grad, mix_logits_grad) = block.logits_grad.split_at_mut(gate_logits);
        let gates = (&*block.gates, &*block.softmaxes);
        dims.gates
            .backward(n, gates, block.gates_grad, gate_logits_grad);
        dims.rule.mix_backward(
            n,
            &block.logits[gate_logits..],
            block.mix,
            block.mix_grad,
            mix_logits_grad,
            block.rest,
        );
        for column in 0..columns {
            let ((part, _), grad) = (dims.part(column), block.logits_grad[column]);
            block.bias_grad[column] += grad;
            block.scale_grad[part] = grad.mul_add(block.projected[column], block.scale_grad[part]);
            if let Some(to) = &mut projected_grad {
                let grad = grad * F32::splat(affine.scale[part]);
                tokens.scatter(to.values, columns, column, grad, to.accumulate);
            }
        }
    }
    for (part, (scale, bias)) in grads.scale.into_iter().zip(grads.bias).enumerate() {
        if let Some(mut scale) = scale {
            put(&mut scale, [reduce_add(block.scale_grad[part])]);
        }
        if let Some(mut bias) = bias {
            let sums = block.bias_grad[part * dims.gate_logits()..].iter();
            put(&mut bias, sums.map(|&sum| reduce_add(sum)));
        }
    }
}
