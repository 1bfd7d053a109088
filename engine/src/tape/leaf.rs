//! Values that no operation has made.

use super::{Tape, Var, arena::Storage};
use crate::{op::Ints, params::ParamId, shape::Shape};

impl Tape {
    /// A constant with a copy of these elements.
    #[track_caller]
    pub fn constant(&self, shape: impl Into<Shape>, data: &[f32]) -> Var<'_> {
        self.leaf(shape.into(), data, false)
    }

    /// An input that receives a gradient, readable with [`Tape::grad`].
    #[track_caller]
    pub fn input(&self, shape: impl Into<Shape>, data: &[f32]) -> Var<'_> {
        self.leaf(shape.into(), data, true)
    }

    #[track_caller]
    fn leaf(&self, shape: Shape, data: &[f32], needs_grad: bool) -> Var<'_> {
        if shape.len() != data.len() {
            self.fail(
                "constant",
                format_args!("shape is {shape}, the data has {} elements", data.len()),
            );
        }
        let mut inner = self.inner.borrow_mut();
        let mut buffer = inner.pool.take(data.len());
        buffer.copy_from_slice(data);
        self.var(inner.push(shape, Storage::Owned(buffer.into()), needs_grad))
    }

    /// A parameter of the bound network.
    ///
    /// # Panics
    /// If no network is bound.
    #[track_caller]
    pub fn param(&self, id: ParamId) -> Var<'_> {
        let mut inner = self.inner.borrow_mut();
        let params = inner
            .params
            .as_ref()
            .expect("param: no parameters are bound to the tape");
        let param = params.get(id);
        let (shape, trainable) = (param.shape, param.trainable);
        self.var(inner.push(shape, Storage::Param(id), trainable))
    }

    /// Holds integers until the next reset.
    pub fn ints(&self, ints: &[u32]) -> Ints {
        let inner = &mut *self.inner.borrow_mut();
        let start = inner.ints.len();
        inner.ints.extend_from_slice(ints);
        Ints {
            start,
            len: ints.len(),
        }
    }
}
