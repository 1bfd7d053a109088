//! A value on a tape, as its user sees it.

use super::Tape;
use crate::shape::Shape;

/// A value on a tape: a copyable index.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    pub(super) tape: &'t Tape,
    pub(super) id: u32,
}

impl Tape {
    pub(super) fn var(&self, id: u32) -> Var<'_> {
        Var { tape: self, id }
    }
}

impl<'t> Var<'t> {
    /// The tape that it is on.
    pub fn tape(self) -> &'t Tape {
        self.tape
    }

    /// Its shape.
    pub fn shape(self) -> Shape {
        self.tape.inner.borrow().values[self.id as usize].shape
    }

    /// Whether a backward would compute a gradient for it.
    pub fn needs_grad(self) -> bool {
        self.tape.inner.borrow().values[self.id as usize].needs_grad
    }

    /// Reads its elements in place.
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

    /// A copy of its elements.
    #[track_caller]
    pub fn value(self) -> Vec<f32> {
        self.with_value(<[f32]>::to_vec)
    }

    /// Its only element.
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
