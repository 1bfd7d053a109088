//! Running operations and recording them.

use super::{
    Tape, Var,
    arena::{Record, Storage, away_of, shapes_of, slices_of},
};
use crate::{
    backend::{Identity, Place},
    buffer::Buffer,
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
        let away = AtomicBool::new(false);
        let mut buffers: [Buffer; N] = output_shapes.map(|shape| inner.pool.take(shape.len()));
        {
            let mut slices = buffers.iter_mut();
            let mut cx = Forward {
                inputs: slices_of(&inner.values, &inner.params, inputs.iter().map(|v| v.id)),
                input_shapes: shapes_of(&inner.values, inputs.iter().map(|v| v.id)),
                input_identities: inner.identities(inputs.iter().map(|v| v.id)),
                input_away: away_of(&inner.values, inputs.iter().map(|v| v.id)),
                place: Place {
                    identity: Identity::Value {
                        tape: inner.number,
                        number: inner.values.len() as u32,
                    },
                    away: inner.leaves().then_some(&away),
                },
                outputs: std::array::from_fn(|_| {
                    slices
                        .next()
                        .map(|buffer| &mut **buffer)
                        .unwrap_or_default()
                }),
                ints: &inner.ints,
                pool: &mut inner.pool,
                backend: &*inner.backend,
                parallel: inner.parallel,
            };
            op.forward(&mut cx);
        }
        if let (Some(profile), Some(started)) = (&mut inner.profile, started) {
            profile.forward(op.name(), inner.scopes.last(), started.elapsed());
        }
        let needs_grad = inner.recording
            && inputs
                .iter()
                .any(|input| inner.values[input.id as usize].needs_grad);
        let first = inner.values.len() as u32;
        for (i, (buffer, shape)) in buffers.into_iter().zip(output_shapes).enumerate() {
            let needs_grad = needs_grad && op.carries_gradient(i);
            inner.push(shape, Storage::Owned(buffer), needs_grad);
        }
        if let Some(first) = inner.values.get_mut(first as usize) {
            first.away = away.into_inner();
        }
        if needs_grad {
            let start = inner.edges.len();
            inner.edges.extend(inputs.iter().map(|input| input.id));
            let position = inner.records.len();
            inner.records.push(Record {
                inputs: start..inner.edges.len(),
                outputs: first..first + N as u32,
                scope: inner.scopes.last().cloned(),
            });
            match inner.ops.get_mut(position) {
                Some(slot) => match (slot.as_mut() as &mut dyn Any).downcast_mut::<O>() {
                    Some(old) => *old = op,
                    None => *slot = Box::new(op),
                },
                None => inner.ops.push(Box::new(op)),
            }
        }
        std::array::from_fn(|i| self.var(first + i as u32))
    }
}
