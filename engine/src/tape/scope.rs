//! Names for what is recorded: scopes, values offered to be inspected or changed, and
//! mistakes that say where they are.

use super::{Edit, Tape, Var};
use std::sync::Arc;

/// Restores the outer scope when dropped.
pub struct ScopeGuard<'t>(&'t Tape);

impl Drop for ScopeGuard<'_> {
    fn drop(&mut self) {
        self.0.inner.borrow_mut().scopes.pop();
    }
}

impl Tape {
    /// Names what is recorded until the guard is dropped; `name` is a full path.
    pub fn enter(&self, name: &Arc<str>) -> ScopeGuard<'_> {
        self.inner.borrow_mut().scopes.push(Arc::clone(name));
        ScopeGuard(self)
    }

    /// Offers a value to an inspector: kept under the current scope and `name` if
    /// the tape is [probing](Tape::set_probing).
    pub fn probe(&self, name: &str, var: Var<'_>) {
        if self.is_probing() {
            let path = self.path(name);
            let inner = &mut *self.inner.borrow_mut();
            inner.probes.get_or_insert_default().push((path, var.id));
        }
    }

    /// Returns whether anything that is probed is kept, so that it is worth computing.
    pub fn is_probing(&self) -> bool {
        self.inner.borrow().probes.is_some()
    }

    /// The probed values, in the order of execution.
    pub fn probes(&self) -> Vec<(String, Var<'_>)> {
        let inner = self.inner.borrow();
        let probes = inner.probes.iter().flatten();
        probes
            .map(|(name, id)| (name.clone(), self.var(*id)))
            .collect()
    }

    /// `name` below the current scope.
    pub(super) fn path(&self, name: &str) -> String {
        match self.inner.borrow().scopes.last() {
            Some(scope) => format!("{scope}.{name}"),
            None => name.to_owned(),
        }
    }

    /// Reports a mistake in shapes: `op: message (in scope)`.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub fn fail(&self, op: &str, message: impl std::fmt::Display) -> ! {
        match self.inner.borrow().scopes.last() {
            Some(scope) => panic!("{op}: {message} (in {scope})"),
            None => panic!("{op}: {message}"),
        }
    }
}

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
