//! Names for what is recorded: scopes, probes, and mistakes that say where they are.

use super::{Tape, Var};
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

    /// Whether anything that is probed is kept, so that it is worth computing.
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
