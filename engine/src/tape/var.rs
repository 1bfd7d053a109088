//! Values on a tape: those that no operation has made, and how they are read.

use super::{Tape, arena::Storage};
use crate::{op::Ints, params::ParamId, shape::Shape};

/// A value on a tape: a copyable index.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(super) tape: &'t Tape,
    pub(super) id: u32,
}

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

    pub(super) fn var(&self, id: u32) -> Var<'_> {
        Var { tape: self, id }
    }
}

impl<'t> Var<'t> {
    /// The tape of the value.
    pub fn tape(self) -> &'t Tape {
        self.tape
    }

    /// Shape.
    pub fn shape(self) -> Shape {
        self.tape.inner.borrow().values[self.id as usize].shape
    }

    /// Returns whether a backward would compute a gradient for it.
    pub fn needs_grad(self) -> bool {
        self.tape.inner.borrow().values[self.id as usize].needs_grad
    }

    /// Reads the elements in place.
    ///
    /// # Panics
    /// If a backward has freed them, or if `read` uses the tape.
    #[track_caller]
    pub fn with_value<T>(self, read: impl FnOnce(&[f32]) -> T) -> T {
        let inner = self.tape.inner.borrow();
        read(
            inner.values[self.id as usize]
                .operand(&inner.params)
                .values(),
        )
    }

    /// A copy of the elements.
    #[track_caller]
    pub fn value(self) -> Vec<f32> {
        self.with_value(<[f32]>::to_vec)
    }

    /// The only element.
    ///
    /// # Panics
    /// If it has not exactly one.
    #[track_caller]
    pub fn item(self) -> f32 {
        self.with_value(|value| match value {
            [item] => *item,
            _ => panic!("item: the value has {} elements, expected one", value.len()),
        })
    }
}

impl std::fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Var({}, {})", self.id, self.shape())
    }
}
