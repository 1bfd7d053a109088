//! Running operations and recording them.

use super::{
    Tape, Var,
    arena::{Record, Storage, operands_of, shapes_of},
};
use crate::{
    op::{Forward, MAX_INPUTS, MAX_OUTPUTS, Op},
    shape::Shape,
};
use std::{any::Any, time::Instant};

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
        let ids = || inputs.iter().map(|input| input.id);
        let needs_grad = ids().any(|id| inner.values[id as usize].needs_grad);
        let recorded = needs_grad && inner.recording;
        let first = inner.values.len();
        for (i, &shape) in output_shapes.iter().enumerate() {
            let buffer = inner.pool.take(shape.len());
            let needs_grad = recorded && op.carries_gradient(i);
            inner.push(shape, Storage::Owned(buffer.into()), needs_grad);
        }
        let (values, made) = inner.values.split_at_mut(first);
        let mut made = made.iter_mut();
        let mut cx = Forward {
            inputs: operands_of(values, &inner.params, ids()),
            input_shapes: shapes_of(values, ids()),
            outputs: std::array::from_fn(|_| match made.next().map(|value| &mut value.storage) {
                Some(Storage::Owned(output)) => output.value_target(inner.deferring),
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
        let outputs = first as u32..inner.values.len() as u32;
        let record = recorded.then(|| {
            let start = inner.edges.len();
            inner.edges.extend(ids());
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
