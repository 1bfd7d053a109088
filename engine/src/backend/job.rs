//! Jobs: the work of a backend.

use super::{Operand, Product, Target};
use crate::kernels::activation;

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

/// Function that a job computes. C is overwritten or added to, as its [`Target`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `C = op(A) op(B)`.
    Product(Product),
    /// `C = f(A)`; B is empty.
    Forward(Function),
    /// `C = f'(B) A`: the gradient of x, of A = dy and B = x.
    Backward(Function),
}

/// Something to be computed.
pub struct Job<'a> {
    /// The work.
    pub work: Work,
    /// A.
    pub a: Operand<'a>,
    /// B.
    pub b: Operand<'a>,
    /// C.
    pub c: Target<'a>,
}

impl<'a> Job<'a> {
    /// A product of matrices, added to C if the product or C says so.
    pub fn new(
        product: Product,
        a: impl Into<Operand<'a>>,
        b: impl Into<Operand<'a>>,
        c: impl Into<Target<'a>>,
    ) -> Self {
        let c = c.into();
        let accumulate = product.accumulate || c.accumulates();
        Self {
            work: Work::Product(Product {
                accumulate,
                ..product
            }),
            a: a.into(),
            b: b.into(),
            c: c.accumulating(accumulate),
        }
    }

    /// `y = f(x)`.
    pub fn forward(function: Function, x: Operand<'a>, y: Target<'a>) -> Self {
        Self {
            work: Work::Forward(function),
            a: x,
            b: Operand::default(),
            c: y,
        }
    }

    /// `dx = f'(x) dy`.
    pub fn backward(function: Function, dy: Operand<'a>, x: Operand<'a>, dx: Target<'a>) -> Self {
        Self {
            work: Work::Backward(function),
            a: dy,
            b: x,
            c: dx,
        }
    }

    /// Returns whether the job needs what only a device has.
    pub fn needs_device(&self) -> bool {
        let adds_there = self.c.accumulates() && self.c.is_deferred();
        self.a.is_deferred() || self.b.is_deferred() || adds_there
    }

    /// Does the job on the CPU.
    ///
    /// # Panics
    /// As [`Job::check`].
    #[track_caller]
    pub fn compute(&mut self, parallel: bool) {
        let (a, b, accumulate) = (self.a.values(), self.b.values(), self.c.accumulates());
        let c = self.c.values();
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
        }
    }

    /// For devices: looks at the sizes.
    ///
    /// # Panics
    /// If a matrix does not have the number of elements that the work says.
    #[track_caller]
    pub fn check(&self) {
        let got = [self.a.len(), self.b.len(), self.c.len()];
        let (function, expected) = match self.work {
            Work::Product(product) => return product.check(got),
            Work::Forward(function) => (function, [function.inputs() * got[2], 0, got[2]]),
            Work::Backward(function) => {
                let x = function.inputs() * got[0];
                (function, [got[0], x, x])
            }
        };
        assert!(
            got == expected,
            "{}: A, B and C have {got:?} elements, expected {expected:?}",
            function.name()
        );
    }
}
