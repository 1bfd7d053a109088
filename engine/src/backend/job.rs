//! Jobs: the work of a backend.

use super::{AttentionShape, Operand, Product, Target};
use crate::kernels::{
    Grad, activation,
    attention::{SavedForward, attention_backward, attention_forward},
    rotary::Rotary,
};

/// An element-wise function that stands between two products, so that a device may compute
/// it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// `y = x Phi(x)`, `dx = dy (Phi(x) + x phi(x))`.
    Gelu,
    /// `y = silu(gate) up` of rows `x = gate | up`.
    SwiGlu {
        /// Width of y, half of the width of x.
        hidden: usize,
    },
}

impl Function {
    /// Name for messages, profiles and drawings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::SwiGlu { .. } => "swiglu",
        }
    }

    /// Elements of x for each of y.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Gelu => 1,
            Self::SwiGlu { .. } => 2,
        }
    }
}

/// Function that a job computes. A target is overwritten or added to, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `C = op(A) op(B)`: reads A and B.
    Product(Product),
    /// `y = f(x)`: reads x.
    Forward(Function),
    /// `dx = f'(x) dy`: reads dy and x.
    Backward(Function),
    /// Self-attention of every head: reads the projections `[batch * seq, 3 d]` with rows
    /// `q | k | v` and the rotary tables, cosines before sines (empty without rotary
    /// positions); makes the output `[batch * seq, d]` and the logarithms of the sums of
    /// exponentials `[batch, heads, seq]`.
    AttentionForward(AttentionShape),
    /// Gradient of the projections: reads these, the tables, both results of the forward and
    /// the gradient of the output.
    AttentionBackward(AttentionShape),
}

impl Work {
    /// Floating point operations of the products in it; `None` for an element-wise function,
    /// whose time is that of its traffic.
    pub fn flops(&self) -> Option<usize> {
        match self {
            Self::Product(product) => Some(product.flops()),
            Self::AttentionForward(shape) => Some(2 * shape.product_flops()),
            Self::AttentionBackward(shape) => Some(5 * shape.product_flops()),
            Self::Forward(_) | Self::Backward(_) => None,
        }
    }
}

/// Something to be computed.
pub struct Job<'a> {
    /// The work.
    pub work: Work,
    /// Matrices that are read, in the order of [`Work`]; the others are empty.
    pub operands: [Operand<'a>; 5],
    /// Matrices that are made; the others are empty.
    pub targets: [Target<'a>; 2],
    /// Scratch memory of the CPU, for attention.
    scratch: &'a mut [f32],
}

impl<'a> Job<'a> {
    fn with<const N: usize>(work: Work, operands: [Operand<'a>; N], target: Target<'a>) -> Self {
        let mut all = [Operand::default(); 5];
        all[..N].copy_from_slice(&operands);
        Self {
            work,
            operands: all,
            targets: [target, Target::default()],
            scratch: &mut [],
        }
    }

    /// A product of matrices, added to C if the product or C says so.
    pub fn new(
        product: Product,
        a: impl Into<Operand<'a>>,
        b: impl Into<Operand<'a>>,
        c: impl Into<Target<'a>>,
    ) -> Self {
        let c = c.into();
        let accumulate = product.accumulate || c.accumulates();
        let work = Work::Product(Product {
            accumulate,
            ..product
        });
        Self::with(work, [a.into(), b.into()], c.accumulating(accumulate))
    }

    /// `y = f(x)`.
    pub fn forward(function: Function, x: Operand<'a>, y: Target<'a>) -> Self {
        Self::with(Work::Forward(function), [x], y)
    }

    /// `dx = f'(x) dy`.
    pub fn backward(function: Function, dy: Operand<'a>, x: Operand<'a>, dx: Target<'a>) -> Self {
        Self::with(Work::Backward(function), [dy, x], dx)
    }

    /// `out, lse = attention(qkv)`. `scratch` has [`AttentionShape::forward_scratch`]
    /// floats for as many workers as [`workers`] says.
    pub fn attention_forward(
        shape: AttentionShape,
        [qkv, tables]: [Operand<'a>; 2],
        [out, lse]: [Target<'a>; 2],
        scratch: &'a mut [f32],
    ) -> Self {
        Self {
            targets: [out, lse],
            scratch,
            ..Self::with(
                Work::AttentionForward(shape),
                [qkv, tables],
                Target::default(),
            )
        }
    }

    /// Gradient of qkv, of `[qkv, tables, out, lse, dout]`. `scratch` has
    /// [`AttentionShape::backward_scratch`] floats.
    pub fn attention_backward(
        shape: AttentionShape,
        operands: [Operand<'a>; 5],
        dqkv: Target<'a>,
        scratch: &'a mut [f32],
    ) -> Self {
        Self {
            scratch,
            ..Self::with(Work::AttentionBackward(shape), operands, dqkv)
        }
    }

    /// Returns whether the job needs what only a device has.
    pub fn needs_device(&self) -> bool {
        let adds_there = |target: &Target<'_>| target.accumulates() && target.is_deferred();
        self.operands.iter().any(Operand::is_deferred) || self.targets.iter().any(adds_there)
    }

    /// Does the job on the CPU.
    ///
    /// # Panics
    /// As [`Job::check`].
    #[track_caller]
    pub fn compute(&mut self, parallel: bool) {
        let [a, b, out, lse, dout] = self.operands.each_ref().map(Operand::values);
        let [c, second] = &mut self.targets;
        let accumulate = c.accumulates();
        let c = c.values();
        let workers = workers(parallel);
        match self.work {
            Work::Product(product) => match parallel {
                true => super::matmul_parallel(product, a, b, c),
                false => super::matmul(product, a, b, c),
            },
            Work::Forward(Function::Gelu) => activation::gelu(c, a),
            Work::Forward(Function::SwiGlu { hidden }) => activation::swiglu(c, a, hidden),
            Work::Backward(Function::Gelu) => activation::gelu_backward(c, accumulate, a, b),
            Work::Backward(Function::SwiGlu { hidden }) => {
                activation::swiglu_backward(c, accumulate, a, b, hidden);
            }
            Work::AttentionForward(shape) => {
                let lse = second.values();
                attention_forward(shape, a, rotary(b), c, lse, workers, self.scratch);
            }
            Work::AttentionBackward(shape) => {
                let saved = SavedForward { out, lse, dout };
                let dqkv = Grad {
                    values: c,
                    accumulate,
                };
                attention_backward(shape, a, rotary(b), saved, dqkv, workers, self.scratch);
            }
        }
    }

    /// For devices: looks at the sizes.
    ///
    /// # Panics
    /// If a matrix does not have the number of elements that the work says.
    #[track_caller]
    pub fn check(&self) {
        let [a, b, out, lse, dout] = self.operands.each_ref().map(Operand::len);
        let [c, second] = self.targets.each_ref().map(Target::len);
        let (name, got, expected) = match self.work {
            Work::Product(product) => return product.check([a, b, c]),
            Work::Forward(function) => {
                let x = function.inputs() * c;
                (function.name(), vec![a, b, c], vec![x, 0, c])
            }
            Work::Backward(function) => {
                let x = function.inputs() * a;
                (function.name(), vec![a, b, c], vec![a, x, x])
            }
            Work::AttentionForward(shape) => {
                let [n, rows] = [shape.elements(), shape.rows()];
                let expected = vec![3 * n, shape.tables(b), n, rows];
                ("attention", vec![a, b, c, second], expected)
            }
            Work::AttentionBackward(shape) => {
                let [n, rows] = [shape.elements(), shape.rows()];
                let expected = vec![3 * n, shape.tables(b), n, rows, n, 3 * n];
                ("attention", vec![a, b, out, lse, dout, c], expected)
            }
        };
        assert!(
            got == expected,
            "{name}: the matrices have {got:?} elements, expected {expected:?}"
        );
    }
}

/// Rotation of the tables of an attention, if there are any.
fn rotary(tables: &[f32]) -> Option<Rotary<'_>> {
    let (cos, sin) = tables.split_at(tables.len() / 2);
    (!tables.is_empty()).then_some(Rotary { cos, sin })
}

/// Number of tasks into which the CPU divides an attention.
pub fn workers(parallel: bool) -> usize {
    match parallel {
        true => rayon::current_num_threads(),
        false => 1,
    }
}
