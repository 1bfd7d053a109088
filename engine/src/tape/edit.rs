//! Values changed by an inspector on their way.

use super::{Tape, Var};
use crate::shape::Shape;

/// Changes a value: sees its path, its shape and its elements, and says whether it has changed
/// any.
pub type Edit = Box<dyn FnMut(&str, Shape, &mut [f32]) -> bool + Send>;

impl Tape {
    /// Passes what layers [offer](Tape::edited) to `edit` from now on.
    pub fn set_editing(&mut self, edit: Edit) {
        self.inner.get_mut().edit = Some(edit);
    }

    /// Offers a value to be changed, under the current scope and `name`. If an editor changes
    /// it, the value to go on with: a constant, no gradient passes it.
    #[track_caller]
    pub fn edited(&self, name: &str, var: Var<'_>) -> Option<Var<'_>> {
        // Out of the tape while it runs, so that it may look at the tape.
        let mut edit = self.inner.borrow_mut().edit.take()?;
        let (shape, mut values) = (var.shape(), var.value());
        let changed = edit(&self.path(name), shape, &mut values);
        self.inner.borrow_mut().edit = Some(edit);
        changed.then(|| self.constant(shape, &values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn an_editor_sees_paths_and_changes_what_it_wants() {
        let mut tape = Tape::new();
        tape.set_editing(Box::new(|path, shape, values| {
            assert_eq!(shape.dims(), [2]);
            values[0] = 7.0;
            path == "a.gate"
        }));
        let x = tape.constant([2], &[1.0, 2.0]);
        let _scope = tape.enter(&Arc::from("a"));
        assert!(tape.edited("other", x).is_none());
        let changed = tape.edited("gate", x).expect("a change");
        assert_eq!(changed.value(), [7.0, 2.0]);
        assert_eq!(x.value(), [1.0, 2.0]);
    }

    #[test]
    fn without_an_editor_nothing_is_offered() {
        let tape = Tape::new();
        let x = tape.constant([1], &[1.0]);
        assert!(tape.edited("gate", x).is_none());
    }
}
