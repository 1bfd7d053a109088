//! Checks of the shapes of an operation's inputs.

use engine::{shape::Shape, tape::Var};

/// Fails, in the name of `op`, unless every value has its shape.
#[track_caller]
pub(crate) fn expect<'t, 'n>(
    op: &str,
    values: impl IntoIterator<Item = (&'n str, Var<'t>, Shape)>,
) {
    for (name, var, expected) in values {
        let shape = var.shape();
        if shape != expected {
            var.tape()
                .fail(op, format_args!("{name} is {shape}, expected {expected}"));
        }
    }
}
