//! Running operations and recording them.

use super::{
    Tape, Var,
    arena::{Record, Storage, away_of, shapes_of, slices_of},
};
use crate::{
    backend::{Identity, Place},
    op::{Forward, MAX_INPUTS, MAX_OUTPUTS, Op},
    shape::Shape,
};
use std::{any::Any, sync::atomic::AtomicBool, time::Instant};

impl Tape {
    /// Executes an operation and records it.
    ///
    /// # Panics
    /// If there are more than [`MAX_INPUTS`] inputs or an input belongs to another
    /// tape.
    #[track_caller]
    pub fn apply<'t, O: Op, const N: usize>(
        &'t self,
        op: O,
        inputs: &[Var<'t>],
        output_shapes: [Shape; N],
    ) -> [Var<'t>; N] {
        const { assert!(N <= MAX_OUTPUTS, "too many outputs") };
        let (first, record) = self.run(&op, inputs, &output_shapes);
        if let Some(record) = record {
            let ops = &mut self.inner.borrow_mut().ops;
            let old = ops.get_mut(record).map(Box::as_mut);
            match old.and_then(|old| (old as &mut dyn Any).downcast_mut::<O>()) {
                Some(old) => *old = op,
                None => put(ops, record, Box::new(op)),
            }
        }
        std::array::from_fn(|i| self.var(first + i as u32))
    }

    /// The part of [`Tape::apply`] that is the same for all operations: returns the first
    /// output and, if the operation is to be recorded, the number of its record.
    #[track_caller]
    fn run(
        &self,
        op: &dyn Op,
        inputs: &[Var<'_>],
        output_shapes: &[Shape],
    ) -> (u32, Option<usize>) {
        assert!(inputs.len() <= MAX_INPUTS, "{}: too many inputs", op.name());
        assert!(
            inputs.iter().all(|input| std::ptr::eq(input.tape, self)),
            "{}: an input belongs to another tape",
            op.name()
        );
        let inner = &mut *self.inner.borrow_mut();
        let started = inner.profile.is_some().then(Instant::now);
        if !op.takes_away() {
            inner.bring(inputs.iter().map(|v| v.id));
        }
        let needs_grad = inner.recording
            && inputs
                .iter()
                .any(|input| inner.values[input.id as usize].needs_grad);
        let away = AtomicBool::new(false);
        let identities = inner.identities(inputs.iter().map(|v| v.id));
        let leaves = inner.leaves();
        let first = inner.values.len();
        for (i, &shape) in output_shapes.iter().enumerate() {
            let buffer = inner.pool.take(shape.len());
            let needs_grad = needs_grad && op.carries_gradient(i);
            inner.push(shape, Storage::Owned(buffer), needs_grad);
        }
        let (values, made) = inner.values.split_at_mut(first);
        let mut made = made.iter_mut();
        let mut cx = Forward {
            inputs: slices_of(values, &inner.params, inputs.iter().map(|v| v.id)),
            input_shapes: shapes_of(values, inputs.iter().map(|v| v.id)),
            input_identities: identities,
            input_away: away_of(values, inputs.iter().map(|v| v.id)),
            place: Place {
                identity: Identity::Value {
                    tape: inner.number,
                    number: first as u32,
                },
                away: leaves.then_some(&away),
            },
            outputs: std::array::from_fn(|_| match made.next().map(|value| &mut value.storage) {
                Some(Storage::Owned(buffer)) => &mut **buffer,
                _ => Default::default(),
            }),
            ints: &inner.ints,
            pool: &mut inner.pool,
            backend: &*inner.backend,
            parallel: inner.parallel,
        };
        op.forward(&mut cx);
        if let (Some(profile), Some(started)) = (&mut inner.profile, started) {
            profile.forward(op.name(), inner.scopes.last(), started.elapsed());
        }
        if let Some(first) = inner.values.get_mut(first) {
            first.away = away.into_inner();
        }
        let outputs = first as u32..inner.values.len() as u32;
        let record = needs_grad.then(|| {
            let start = inner.edges.len();
            inner.edges.extend(inputs.iter().map(|input| input.id));
            inner.records.push(Record {
                inputs: start..inner.edges.len(),
                outputs: outputs.clone(),
                scope: inner.scopes.last().cloned(),
            });
            inner.records.len() - 1
        });
        (outputs.start, record)
    }
}

/// Puts the operation of a record in its place, that of another one or the next.
fn put(ops: &mut Vec<Box<dyn Op>>, record: usize, op: Box<dyn Op>) {
    match ops.get_mut(record) {
        Some(old) => *old = op,
        None => ops.push(op),
    }
}
