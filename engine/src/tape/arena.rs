//! Contents of a tape: values, records and the memory that both use again.

use crate::{
    backend::{Backend, CpuBackend, Operand, Stored},
    buffer::Pool,
    op::Op,
    params::{ParamId, Params},
    profile::Profile,
    rng::Key,
    shape::Shape,
};
use std::{mem, ops::Range, sync::Arc};

/// Source of the random numbers of a training step.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// The key of this step.
    pub key: Key,
    /// The number of this tape's first sequence within the batch, so that a mask
    /// does not depend on how the batch is cut into shards.
    pub first_sequence: usize,
}

/// Changes a value: sees its path, its shape and its elements, and says whether it has changed
/// any.
pub type Edit = Box<dyn FnMut(&str, Shape, &mut [f32]) -> bool + Send>;

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
    pub(super) parallel: bool,
    pub(super) recording: bool,
    pub(super) keeping: bool,
    /// See [`Tape::set_deferring`](super::Tape::set_deferring).
    pub(super) deferring: bool,
    pub(super) profile: Option<Profile>,
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
            parallel: false,
            recording: true,
            keeping: false,
            deferring: false,
            profile: None,
        }
    }
}

pub(super) struct Value {
    pub(super) shape: Shape,
    pub(super) storage: Storage,
    pub(super) needs_grad: bool,
    pub(super) grad: Option<Stored>,
}

pub(super) enum Storage {
    /// Made by the caller or an operation.
    Owned(Stored),
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

impl Value {
    /// The elements.
    pub(super) fn operand<'a>(&'a self, params: &'a Option<Params>) -> Operand<'a> {
        match &self.storage {
            Storage::Owned(stored) => stored.into(),
            Storage::Param(id) => params.as_ref().expect("bound parameters").operand(*id),
            Storage::Freed => panic!("tape: the value was freed by a backward"),
        }
    }
}

impl Arena {
    pub(super) fn push(&mut self, shape: Shape, storage: Storage, needs_grad: bool) -> u32 {
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.values.push(Value {
            shape,
            storage,
            needs_grad: needs_grad && self.recording,
            grad: None,
        });
        id
    }

    /// See [`Tape::reset`](super::Tape::reset).
    pub(super) fn reset(&mut self) {
        for value in self.values.drain(..) {
            free(&mut self.pool, value.storage, value.grad);
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
    }

    /// Frees the elements of a value and a gradient that nobody reads any more.
    pub(super) fn free(&mut self, id: u32, grad: Option<Stored>) {
        let storage = &mut self.values[id as usize].storage;
        free(&mut self.pool, mem::replace(storage, Storage::Freed), grad);
    }
}

fn free(pool: &mut Pool, storage: Storage, grad: Option<Stored>) {
    if let Storage::Owned(value) = storage {
        pool.give(value.into_buffer());
    }
    if let Some(grad) = grad {
        pool.give(grad.into_buffer());
    }
}

pub(super) fn operands_of<'a, const N: usize>(
    values: &'a [Value],
    params: &'a Option<Params>,
    ids: impl Iterator<Item = u32>,
) -> [Operand<'a>; N] {
    let mut operands = [Operand::default(); N];
    for (operand, id) in operands.iter_mut().zip(ids) {
        *operand = values[id as usize].operand(params);
    }
    operands
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
