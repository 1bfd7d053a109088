//! What a backend is asked to compute.

use super::{Operand, Place, Product};
use crate::kernels::Grad;

/// An element-wise function whose values may be on a device between two products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// `y = x Phi(x)`, `dx = dy (Phi(x) + x phi(x))`.
    Gelu,
    /// `y = silu(gate) up` of rows `x = gate | up`.
    SwiGlu {
        /// The width of y, half of the width of x.
        hidden: usize,
    },
}

impl Function {
    /// Its name.
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

/// What a job computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `C = op(A) op(B)`, or `C += op(A) op(B)`.
    Product(Product),
    /// `C = f(A)`; B is empty. A device does it where A is, and only there.
    Forward(Function),
    /// `C = f'(B) A`, or `C += f'(B) A`: the gradient of x, of A = dy and B = x. A device
    /// does it if it alone has A or B.
    Backward {
        /// f.
        function: Function,
        /// Add to C instead of overwriting it.
        accumulate: bool,
    },
}

impl Work {
    /// Whether C is added to instead of being overwritten.
    pub fn accumulates(&self) -> bool {
        match *self {
            Self::Product(product) => product.accumulate,
            Self::Forward(_) => false,
            Self::Backward { accumulate, .. } => accumulate,
        }
    }
}

/// Something to be computed.
#[derive(Debug)]
pub struct Job<'a> {
    /// What.
    pub work: Work,
    /// A.
    pub a: Operand<'a>,
    /// B.
    pub b: Operand<'a>,
    /// C.
    pub c: &'a mut [f32],
    /// What C will be known by, if the job makes all of it, and whether it may stay on a
    /// device.
    pub place: Option<Place<'a>>,
}

impl<'a> Job<'a> {
    /// A product of these matrices, whose result comes back.
    pub fn new(product: Product, a: Operand<'a>, b: Operand<'a>, c: &'a mut [f32]) -> Self {
        Self {
            work: Work::Product(product),
            a,
            b,
            c,
            place: None,
        }
    }

    /// `y = f(x)`, which comes back.
    pub fn forward(function: Function, x: Operand<'a>, y: &'a mut [f32]) -> Self {
        Self {
            work: Work::Forward(function),
            a: x,
            b: (&[][..]).into(),
            c: y,
            place: None,
        }
    }

    /// `dx = f'(x) dy`, or added to it, which comes back.
    pub fn backward(function: Function, dy: Operand<'a>, x: Operand<'a>, dx: Grad<'a>) -> Self {
        let accumulate = dx.accumulate;
        Self {
            work: Work::Backward {
                function,
                accumulate,
            },
            a: dy,
            b: x,
            c: dx.values,
            place: None,
        }
    }

    /// The same job with a place for its result.
    #[must_use]
    pub fn to(self, place: Option<Place<'a>>) -> Self {
        Self { place, ..self }
    }

    /// Whether only a device has what is in the place of C.
    pub fn is_away(&self) -> bool {
        self.place.is_some_and(|place| place.is_away())
    }

    /// Whether the job needs what only a device has.
    pub fn needs_device(&self) -> bool {
        self.a.away || self.b.away || (self.work.accumulates() && self.is_away())
    }

    /// For backends: looks at the sizes.
    ///
    /// # Panics
    /// If a slice does not have the number of elements that the work says.
    #[track_caller]
    pub fn check(&self) {
        let got = [self.a.values.len(), self.b.values.len(), self.c.len()];
        let (function, expected) = match self.work {
            Work::Product(product) => {
                return product.check(self.a.values, self.b.values, self.c);
            }
            Work::Forward(function) => (function, [function.inputs() * got[2], 0, got[2]]),
            Work::Backward { function, .. } => {
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
