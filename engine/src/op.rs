//! Operations: a forward and, without exception, a backward.

use crate::{
    backend::{Backend, Operand, Stored, Target},
    buffer::Pool,
    kernels::elementwise,
    shape::Shape,
};

use std::any::Any;

pub use crate::kernels::Grad;

/// The most inputs an operation may have.
pub const MAX_INPUTS: usize = 16;
/// The most outputs an operation may have.
pub const MAX_OUTPUTS: usize = 8;

/// A differentiable operation with any number of inputs and outputs.
///
/// Recorded by [`Tape::apply`](crate::tape::Tape::apply). An operation of any crate is as
/// good as one of this crate: write `forward` and `backward` over slices, a function that
/// checks the shapes and calls `apply`, and a test with [`check`](crate::check).
pub trait Op: Any + Send {
    /// Name for messages, profiles and drawings.
    fn name(&self) -> &'static str;

    /// Computes all of every output from the inputs. The outputs hold garbage at
    /// first.
    fn forward(&self, cx: &mut Forward<'_>);

    /// Computes, for every input that needs one, the gradient of the loss from the
    /// gradients of the outputs.
    fn backward(&self, cx: &mut Backward<'_>);

    /// Returns whether output `i` depends on the inputs smoothly; an operation that reads an
    /// output without a gradient (indices, counts, a saved statistic) does not ask for
    /// one either.
    fn carries_gradient(&self, i: usize) -> bool {
        let _ = i;
        true
    }
}

/// Context of a forward.
pub struct Forward<'a> {
    pub(crate) inputs: [Operand<'a>; MAX_INPUTS],
    pub(crate) input_shapes: [Shape; MAX_INPUTS],
    pub(crate) outputs: [Target<'a>; MAX_OUTPUTS],
    pub(crate) ints: &'a [u32],
    /// Source of scratch memory.
    pub pool: &'a mut Pool,
    /// Backend for matrix products.
    pub backend: &'a dyn Backend,
    /// True if kernels may split their work over threads: false where the batch is
    /// already cut into shards.
    pub parallel: bool,
}

impl<'a> Forward<'a> {
    /// The first `N` inputs.
    pub fn inputs<const N: usize>(&self) -> [&'a [f32]; N] {
        std::array::from_fn(|i| self.input(i))
    }

    /// Input `i`.
    pub fn input(&self, i: usize) -> &'a [f32] {
        self.inputs[i].values()
    }

    /// Input `i` as an operand of a job.
    pub fn operand(&self, i: usize) -> Operand<'a> {
        self.inputs[i]
    }

    /// The shape of an input.
    pub fn input_shape(&self, i: usize) -> Shape {
        self.input_shapes[i]
    }

    /// The first `N` outputs; each can be taken once.
    pub fn outputs<const N: usize>(&mut self) -> [&'a mut [f32]; N] {
        std::array::from_fn(|i| self.target(i).into_values())
    }

    /// Output `i` as the result of a job; can be taken once.
    pub fn target(&mut self, i: usize) -> Target<'a> {
        std::mem::take(&mut self.outputs[i])
    }

    /// Integers recorded with [`Tape::ints`](crate::tape::Tape::ints).
    pub fn ints(&self, ints: Ints) -> &'a [u32] {
        &self.ints[ints.start..ints.start + ints.len]
    }
}

/// Context of a backward.
pub struct Backward<'a> {
    pub(crate) inputs: [Operand<'a>; MAX_INPUTS],
    pub(crate) input_shapes: [Shape; MAX_INPUTS],
    pub(crate) outputs: [Operand<'a>; MAX_OUTPUTS],
    pub(crate) output_grads: [Option<&'a Stored>; MAX_OUTPUTS],
    pub(crate) input_grads: [Option<Target<'a>>; MAX_INPUTS],
    /// Inputs whose gradient may be the very buffer of the output's.
    pub(crate) movable: [bool; MAX_INPUTS],
    /// The input that takes over the gradient buffer of output 0.
    pub(crate) moved: Option<usize>,
    pub(crate) ints: &'a [u32],
    /// Source of scratch memory.
    pub pool: &'a mut Pool,
    /// Backend for matrix products.
    pub backend: &'a dyn Backend,
    /// True if kernels may split their work over threads.
    pub parallel: bool,
}

impl<'a> Backward<'a> {
    /// The first `N` inputs.
    pub fn inputs<const N: usize>(&self) -> [&'a [f32]; N] {
        std::array::from_fn(|i| self.inputs[i].values())
    }

    /// Input `i` as an operand of a job.
    pub fn operand(&self, i: usize) -> Operand<'a> {
        self.inputs[i]
    }

    /// The shape of an input.
    pub fn input_shape(&self, i: usize) -> Shape {
        self.input_shapes[i]
    }

    /// The first `N` outputs.
    pub fn outputs<const N: usize>(&self) -> [&'a [f32]; N] {
        std::array::from_fn(|i| self.outputs[i].values())
    }

    /// Output `i` as an operand of a job.
    pub fn output_operand(&self, i: usize) -> Operand<'a> {
        self.outputs[i]
    }

    /// The gradient of the loss with respect to output `i`; `None` stands for zero.
    pub fn output_grad(&self, i: usize) -> Option<&'a [f32]> {
        self.output_grads[i].map(|grad| &**grad)
    }

    /// The gradient of the only output that carries one.
    ///
    /// # Panics
    /// If there is none: `backward` is not called unless some output has one.
    pub fn grad(&self) -> &'a [f32] {
        self.grad_operand().values()
    }

    /// [`Backward::grad`] as an operand of a job.
    ///
    /// # Panics
    /// As [`Backward::grad`].
    pub fn grad_operand(&self) -> Operand<'a> {
        self.output_grads[0]
            .expect("the gradient of the output")
            .into()
    }

    /// Returns whether input `i` needs a gradient (and it has not been taken yet).
    pub fn needs(&self, i: usize) -> bool {
        self.input_grads[i].is_some()
    }

    /// Destination of the gradient of input `i`, if it needs one; can be taken once.
    pub fn input_grad(&mut self, i: usize) -> Option<Grad<'a>> {
        let target = self.grad_target(i)?;
        let accumulate = target.accumulates();
        let values = target.into_values();
        Some(Grad { values, accumulate })
    }

    /// [`Backward::input_grad`] as the result of a job.
    pub fn grad_target(&mut self, i: usize) -> Option<Target<'a>> {
        self.input_grads[i].take()
    }

    /// Passes the gradient of output 0 on to input `i` as it is: moved where
    /// possible, added or copied otherwise.
    pub fn pass_grad(&mut self, i: usize) {
        if self.movable[i] && self.moved.is_none() && self.grad_target(i).is_some() {
            self.moved = Some(i);
        } else if let Some(grad) = self.input_grad(i) {
            elementwise::copy(grad.values, grad.accumulate, self.grad());
        }
    }

    /// Integers recorded with [`Tape::ints`](crate::tape::Tape::ints).
    pub fn ints(&self, ints: Ints) -> &'a [u32] {
        &self.ints[ints.start..ints.start + ints.len]
    }
}

/// Integers (tokens, labels, expert ids) held by a tape until its reset.
#[derive(Clone, Copy, Debug)]
pub struct Ints {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Ints {
    /// Number of integers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
