//! What a tape holds: values, records and the memory that both use again.

use super::{Edit, Noise};
use crate::{
    backend::{Away, Backend, CpuBackend, Identity, unique_number},
    buffer::Buffer,
    op::{MAX_INPUTS, Op},
    params::{ParamId, Params},
    pool::Pool,
    profile::Profile,
    shape::Shape,
};
use std::{ops::Range, sync::Arc};

/// The contents of a [`Tape`](super::Tape).
pub(super) struct Arena {
    pub(super) params: Option<Params>,
    pub(super) noise: Option<Noise>,
    pub(super) values: Vec<Value>,
    pub(super) records: Vec<Record>,
    /// The operation of each record, kept over a reset so that its box is reused.
    pub(super) ops: Vec<Box<dyn Op>>,
    pub(super) edges: Vec<u32>,
    pub(super) ints: Vec<u32>,
    pub(super) scopes: Vec<Arc<str>>,
    pub(super) probes: Option<Vec<(String, u32)>>,
    pub(super) edit: Option<Edit>,
    pub(super) pool: Pool,
    pub(super) backend: Arc<dyn Backend>,
    /// Tells the values since the last reset from all others.
    pub(super) number: u64,
    /// Backwards since the last reset.
    pub(super) passes: u32,
    pub(super) parallel: bool,
    pub(super) recording: bool,
    pub(super) keeping: bool,
    /// See [`Tape::set_leaving`](super::Tape::set_leaving).
    pub(super) leaving: bool,
    pub(super) profile: Option<Profile>,
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.backend.release(self.number);
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            params: None,
            noise: None,
            values: Vec::new(),
            records: Vec::new(),
            ops: Vec::new(),
            edges: Vec::new(),
            ints: Vec::new(),
            scopes: Vec::new(),
            probes: None,
            edit: None,
            pool: Pool::default(),
            backend: Arc::new(CpuBackend),
            number: unique_number(),
            passes: 0,
            parallel: false,
            recording: true,
            keeping: false,
            leaving: false,
            profile: None,
        }
    }
}

pub(super) struct Value {
    pub(super) shape: Shape,
    pub(super) storage: Storage,
    pub(super) needs_grad: bool,
    pub(super) grad: Option<Buffer>,
    /// Whether only a device has the elements.
    pub(super) away: bool,
    /// Whether only a device has the gradient.
    pub(super) grad_away: bool,
}

pub(super) enum Storage {
    /// Made by the caller or an operation.
    Owned(Buffer),
    /// A parameter of the bound slab.
    Param(ParamId),
    /// Given back to the pool by the backward.
    Freed,
}

pub(super) struct Record {
    pub(super) inputs: Range<usize>,
    pub(super) outputs: Range<u32>,
    pub(super) scope: Option<Arc<str>>,
}

impl Arena {
    pub(super) fn push(&mut self, shape: Shape, storage: Storage, needs_grad: bool) -> u32 {
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.values.push(Value {
            shape,
            storage,
            needs_grad: needs_grad && self.recording,
            grad: None,
            away: false,
            grad_away: false,
        });
        id
    }

    /// See [`Tape::reset`](super::Tape::reset).
    pub(super) fn reset(&mut self) {
        for value in self.values.drain(..) {
            if let Storage::Owned(buffer) = value.storage {
                self.pool.give(buffer);
            }
            if let Some(grad) = value.grad {
                self.pool.give(grad);
            }
        }
        self.records.clear();
        self.edges.clear();
        self.ints.clear();
        self.scopes.clear();
        if let Some(probes) = &mut self.probes {
            probes.clear();
        }
        self.params = None;
        self.noise = None;
        self.backend.release(self.number);
        self.number = unique_number();
        self.passes = 0;
    }

    /// Whether results may stay on a device until something else than a job of the backend
    /// reads them.
    pub(super) fn leaves(&self) -> bool {
        self.leaving && self.recording && !self.keeping
    }

    /// What the gradient of a value is known by.
    pub(super) fn gradient_identity(&self, id: u32) -> Identity {
        Identity::Gradient {
            tape: self.number,
            pass: self.passes,
            number: id,
        }
    }

    /// Fetches values that only a device has.
    pub(super) fn bring(&mut self, ids: impl Iterator<Item = u32>) {
        for number in ids {
            let value = &mut self.values[number as usize];
            if let (true, Storage::Owned(values)) = (value.away, &mut value.storage) {
                let tape = self.number;
                let identities = &[Identity::Value { tape, number }];
                let away = Away { identities, values };
                self.backend.bring(&mut [away], self.parallel);
                value.away = false;
            }
        }
    }

    /// Fetches gradients that only a device has.
    pub(super) fn bring_gradients(&mut self, ids: impl Iterator<Item = u32>) {
        for id in ids {
            let identity = self.gradient_identity(id);
            let value = &mut self.values[id as usize];
            if let (true, Some(values)) = (value.grad_away, &mut value.grad) {
                let identities = &[identity];
                let away = Away { identities, values };
                self.backend.bring(&mut [away], self.parallel);
                // It may change from now on.
                self.backend.forget(identity);
                value.grad_away = false;
            }
        }
    }

    /// What the elements of values are known by until the next reset.
    pub(super) fn identities(
        &self,
        ids: impl Iterator<Item = u32>,
    ) -> [Option<Identity>; MAX_INPUTS] {
        let mut identities = [None; MAX_INPUTS];
        for (identity, id) in identities.iter_mut().zip(ids) {
            *identity = match (&self.values[id as usize].storage, &self.params) {
                (Storage::Param(param), Some(params)) => Some(params.identity(*param)),
                _ => Some(Identity::Value {
                    tape: self.number,
                    number: id,
                }),
            };
        }
        identities
    }
}

pub(super) fn slices_of<'a, const N: usize>(
    values: &'a [Value],
    params: &'a Option<Params>,
    ids: impl Iterator<Item = u32>,
) -> [&'a [f32]; N] {
    let mut slices = [&[][..]; N];
    for (slice, id) in slices.iter_mut().zip(ids) {
        *slice = slice_of(&values[id as usize], params);
    }
    slices
}

pub(super) fn slice_of<'a>(value: &'a Value, params: &'a Option<Params>) -> &'a [f32] {
    match &value.storage {
        Storage::Owned(buffer) => buffer,
        Storage::Param(id) => params.as_ref().expect("bound parameters").value(*id),
        Storage::Freed => panic!("tape: the value was freed by a backward"),
    }
}

pub(super) fn shapes_of<const N: usize>(
    values: &[Value],
    ids: impl Iterator<Item = u32>,
) -> [Shape; N] {
    let mut shapes = [Shape::default(); N];
    for (shape, id) in shapes.iter_mut().zip(ids) {
        *shape = values[id as usize].shape;
    }
    shapes
}

/// Which values only a device has.
pub(super) fn away_of<const N: usize>(
    values: &[Value],
    ids: impl Iterator<Item = u32>,
) -> [bool; N] {
    let mut away = [false; N];
    for (away, id) in away.iter_mut().zip(ids) {
        *away = values[id as usize].away;
    }
    away
}
