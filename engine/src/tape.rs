//! The tape: an arena of values and operation records for one forward and backward.

mod edit;
mod graph;

pub use edit::Edit;
pub use graph::{Call, Graph, GraphValue, Origin};

use crate::{
    backend::{Backend, CpuBackend, Identity, unique_number},
    buffer::Buffer,
    op::{Backward, Forward, Grad, Ints, MAX_INPUTS, MAX_OUTPUTS, Op},
    params::{Gradients, ParamId, Params},
    pool::Pool,
    profile::Profile,
    rng::Key,
    shape::Shape,
};
use std::{any::Any, cell::RefCell, ops::Range, sync::Arc, time::Instant};

/// Records operations as they are executed and replays them backwards.
///
/// Records are appended in execution order, so that the reverse order is a
/// topological one: no hashing, no recursion, the same bits every time. The tape is
/// owned by the caller and [`reset`](Tape::reset) every step; its memory, down to the
/// boxes of the operations, is used again.
///
/// A [`Var`] cannot outlive the step that made it:
///
/// ```compile_fail
/// let mut tape = engine::tape::Tape::new();
/// let x = tape.constant([1], &[1.0]);
/// tape.reset();
/// let y = x + x;
/// ```
#[derive(Default)]
pub struct Tape {
    inner: RefCell<Inner>,
}

/// A value on a tape: a copyable index.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    tape: &'t Tape,
    id: u32,
}

/// Where the random numbers of a training step come from.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// The key of this step.
    pub key: Key,
    /// The number of this tape's first sequence within the batch, so that a mask
    /// does not depend on how the batch is cut into shards.
    pub first_sequence: usize,
}

struct Inner {
    params: Option<Params>,
    noise: Option<Noise>,
    values: Vec<Value>,
    records: Vec<Record>,
    /// The operation of each record, kept over a reset so that its box is reused.
    ops: Vec<Box<dyn Op>>,
    edges: Vec<u32>,
    ints: Vec<u32>,
    scopes: Vec<Arc<str>>,
    probes: Option<Vec<(String, u32)>>,
    edit: Option<Edit>,
    pool: Pool,
    backend: Arc<dyn Backend>,
    /// Tells the values since the last reset from all others.
    number: u64,
    /// Gradients handed to operations since the last reset.
    gradients: u32,
    parallel: bool,
    recording: bool,
    keeping: bool,
    profile: Option<Profile>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.backend.release(self.number);
    }
}

impl Default for Inner {
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
            gradients: 0,
            parallel: false,
            recording: true,
            keeping: false,
            profile: None,
        }
    }
}

struct Value {
    shape: Shape,
    storage: Storage,
    needs_grad: bool,
    grad: Option<Buffer>,
}

enum Storage {
    /// Made by the caller or an operation.
    Owned(Buffer),
    /// A parameter of the bound slab.
    Param(ParamId),
    /// Given back to the pool by the backward.
    Freed,
}

struct Record {
    inputs: Range<usize>,
    outputs: Range<u32>,
    scope: Option<Arc<str>>,
}

/// Restores the outer scope when dropped.
pub struct ScopeGuard<'t>(&'t Tape);

impl Drop for ScopeGuard<'_> {
    fn drop(&mut self) {
        self.0.inner.borrow_mut().scopes.pop();
    }
}

impl Tape {
    /// An empty tape on the CPU, with single-threaded kernels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets kernels split their work over the threads of the current rayon pool.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.inner.get_mut().parallel = parallel;
        self
    }

    /// Multiplies matrices with `backend`.
    pub fn with_backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.inner.get_mut().backend = backend;
        self
    }

    /// Multiplies matrices with `backend` from now on.
    pub fn set_backend(&mut self, backend: Arc<dyn Backend>) {
        let inner = self.inner.get_mut();
        inner.backend.release(inner.number);
        inner.backend = backend;
    }

    /// Takes buffers from `pool`.
    pub fn with_pool(mut self, pool: Pool) -> Self {
        self.inner.get_mut().pool = pool;
        self
    }

    /// Whether operations are recorded for a backward; off for evaluation.
    pub fn set_recording(&mut self, recording: bool) {
        self.inner.get_mut().recording = recording;
    }

    /// Keeps every value and its gradient over a backward, for [`Tape::graph`]; costs
    /// memory.
    pub fn set_keeping(&mut self) {
        self.inner.get_mut().keeping = true;
    }

    /// Measures the time of every operation from now on.
    pub fn set_profiling(&mut self) {
        self.inner.get_mut().profile = Some(Profile::default());
    }

    /// The times measured since [`Tape::set_profiling`] or the last call.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.inner.get_mut().profile.as_mut().map(std::mem::take)
    }

    /// Keeps what layers [`probe`](Tape::probe) from now on.
    pub fn set_probing(&mut self) {
        self.inner.get_mut().probes = Some(Vec::new());
    }

    /// Makes the parameters readable on this tape until the next reset.
    pub fn bind(&self, params: &Params) {
        self.inner.borrow_mut().params = Some(params.share());
    }

    /// Sets where random numbers come from; `None` turns dropout off.
    pub fn set_noise(&self, noise: Option<Noise>) {
        self.inner.borrow_mut().noise = noise;
    }

    /// Where random numbers come from; `None` in evaluation.
    pub fn noise(&self) -> Option<Noise> {
        self.inner.borrow().noise
    }

    /// Empties the tape, keeping its memory, and lets go of the parameters.
    pub fn reset(&mut self) {
        let inner = self.inner.get_mut();
        for value in inner.values.drain(..) {
            if let Storage::Owned(buffer) = value.storage {
                inner.pool.give(buffer);
            }
            if let Some(grad) = value.grad {
                inner.pool.give(grad);
            }
        }
        inner.records.clear();
        inner.edges.clear();
        inner.ints.clear();
        inner.scopes.clear();
        if let Some(probes) = &mut inner.probes {
            probes.clear();
        }
        inner.params = None;
        inner.noise = None;
        inner.backend.release(inner.number);
        inner.number = unique_number();
        inner.gradients = 0;
    }

    /// Elements that this tape has allocated from the system so far.
    pub fn allocated(&self) -> usize {
        self.inner.borrow().pool.allocated()
    }

    /// A constant with a copy of these elements.
    #[track_caller]
    pub fn constant(&self, shape: impl Into<Shape>, data: &[f32]) -> Var<'_> {
        self.leaf(shape.into(), data, false)
    }

    /// An input that receives a gradient, readable with [`Tape::grad`].
    #[track_caller]
    pub fn input(&self, shape: impl Into<Shape>, data: &[f32]) -> Var<'_> {
        self.leaf(shape.into(), data, true)
    }

    #[track_caller]
    fn leaf(&self, shape: Shape, data: &[f32], needs_grad: bool) -> Var<'_> {
        if shape.len() != data.len() {
            self.fail(
                "constant",
                format_args!("shape is {shape}, the data has {} elements", data.len()),
            );
        }
        let mut inner = self.inner.borrow_mut();
        let mut buffer = inner.pool.take(data.len());
        buffer.copy_from_slice(data);
        self.var(inner.push(shape, Storage::Owned(buffer), needs_grad))
    }

    /// A parameter of the bound network.
    ///
    /// # Panics
    /// If no network is bound.
    #[track_caller]
    pub fn param(&self, id: ParamId) -> Var<'_> {
        let mut inner = self.inner.borrow_mut();
        let params = inner
            .params
            .as_ref()
            .expect("param: no parameters are bound to the tape");
        let param = params.get(id);
        let (shape, trainable) = (param.shape, param.trainable);
        self.var(inner.push(shape, Storage::Param(id), trainable))
    }

    /// Holds integers until the next reset.
    pub fn ints(&self, ints: &[u32]) -> Ints {
        let inner = &mut *self.inner.borrow_mut();
        let start = inner.ints.len();
        inner.ints.extend_from_slice(ints);
        Ints {
            start,
            len: ints.len(),
        }
    }

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
        let mut buffers: [Buffer; N] = output_shapes.map(|shape| inner.pool.take(shape.len()));
        let started = inner.profile.is_some().then(Instant::now);
        {
            let mut slices = buffers.iter_mut();
            let mut cx = Forward {
                inputs: slices_of(&inner.values, &inner.params, inputs.iter().map(|v| v.id)),
                input_shapes: shapes_of(&inner.values, inputs.iter().map(|v| v.id)),
                input_identities: inner.identities(inputs.iter().map(|v| v.id)),
                result: Identity::Value {
                    tape: inner.number,
                    number: inner.values.len() as u32,
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

    /// Adds to `gradients` the gradient of a scalar with respect to every parameter
    /// that it depends on. Values of the tape are freed on the way.
    ///
    /// # Panics
    /// If `loss` has more than one element, or was recorded without a gradient.
    #[track_caller]
    pub fn backward(&self, loss: Var<'_>, gradients: &mut Gradients) {
        if loss.shape().len() != 1 {
            self.fail(
                "backward",
                format_args!("the loss is {}, expected one element", loss.shape()),
            );
        }
        self.backward_from(&[(loss, &[1.0])], gradients);
    }

    /// As [`Tape::backward`], from given gradients of any values: computes the
    /// gradient of `sum_i <values_i, cotangents_i>`.
    ///
    /// # Panics
    /// If a cotangent has the wrong length, or a value was recorded without a
    /// gradient.
    #[track_caller]
    pub fn backward_from(&self, cotangents: &[(Var<'_>, &[f32])], gradients: &mut Gradients) {
        let inner = &mut *self.inner.borrow_mut();
        for &(var, cotangent) in cotangents {
            let value = &mut inner.values[var.id as usize];
            assert!(
                value.needs_grad,
                "backward: the value does not depend on anything that needs a gradient"
            );
            assert_eq!(
                value.shape.len(),
                cotangent.len(),
                "backward: the cotangent has the wrong length"
            );
            match &mut value.grad {
                Some(grad) => grad.iter_mut().zip(cotangent).for_each(|(g, c)| *g += c),
                None => {
                    let mut grad = inner.pool.take(cotangent.len());
                    grad.copy_from_slice(cotangent);
                    value.grad = Some(grad);
                }
            }
        }
        for position in (0..inner.records.len()).rev() {
            inner.backward_of(position, gradients);
        }
    }

    /// The gradient that a leaf made by [`Tape::input`] received, or any value of a
    /// tape that [keeps](Tape::set_keeping) them; zeros if none.
    pub fn grad(&self, var: Var<'_>) -> Vec<f32> {
        let inner = self.inner.borrow();
        let value = &inner.values[var.id as usize];
        match &value.grad {
            Some(grad) => grad.to_vec(),
            None => vec![0.0; value.shape.len()],
        }
    }

    fn var(&self, id: u32) -> Var<'_> {
        Var { tape: self, id }
    }
}

/// How the gradient of one input of a record is held during its backward.
enum Slot {
    /// Not needed.
    None,
    /// A buffer that becomes (or is) the gradient of the value.
    Value { accumulate: bool },
    /// A range of the parameter slab.
    Param { id: ParamId, accumulate: bool },
    /// The same value is also input `first`: a buffer to be added there.
    Repeated { first: usize },
}

impl Inner {
    fn push(&mut self, shape: Shape, storage: Storage, needs_grad: bool) -> u32 {
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.values.push(Value {
            shape,
            storage,
            needs_grad: needs_grad && self.recording,
            grad: None,
        });
        id
    }

    /// Whether two values are one and the same memory.
    fn same(&self, a: u32, b: u32) -> bool {
        let storage = |id: u32| &self.values[id as usize].storage;
        match (storage(a), storage(b)) {
            (Storage::Param(a), Storage::Param(b)) => a == b,
            _ => a == b,
        }
    }

    /// What the elements of values are known by until the next reset.
    fn identities(&self, ids: impl Iterator<Item = u32>) -> [Option<Identity>; MAX_INPUTS] {
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

    fn backward_of(&mut self, position: usize, gradients: &mut Gradients) {
        let outputs = self.records[position].outputs.clone();
        let mut output_grads: [Option<Buffer>; MAX_OUTPUTS] = Default::default();
        let mut any = false;
        for (slot, id) in output_grads.iter_mut().zip(outputs.clone()) {
            *slot = self.values[id as usize].grad.take();
            any |= slot.is_some();
        }
        if any {
            self.run_backward(position, &mut output_grads, gradients);
        }
        for (grad, id) in output_grads.into_iter().zip(outputs) {
            if self.keeping {
                self.values[id as usize].grad = grad;
                continue;
            }
            if let Some(grad) = grad {
                self.pool.give(grad);
            }
            let value = &mut self.values[id as usize];
            let storage = std::mem::replace(&mut value.storage, Storage::Freed);
            if let Storage::Owned(buffer) = storage {
                self.pool.give(buffer);
            }
        }
    }

    fn run_backward(
        &mut self,
        position: usize,
        output_grads: &mut [Option<Buffer>; MAX_OUTPUTS],
        gradients: &mut Gradients,
    ) {
        let record = &self.records[position];
        let mut ids = [0; MAX_INPUTS];
        let count = record.inputs.len();
        ids[..count].copy_from_slice(&self.edges[record.inputs.clone()]);
        let ids = &ids[..count];

        let mut slots = [const { Slot::None }; MAX_INPUTS];
        let mut buffers: [Buffer; MAX_INPUTS] = Default::default();
        let mut ranges: [Range<usize>; MAX_INPUTS] = std::array::from_fn(|_| 0..0);
        for (i, &id) in ids.iter().enumerate() {
            let value = &self.values[id as usize];
            if !value.needs_grad {
                continue;
            }
            let len = value.shape.len();
            if let Some(first) = (0..i).find(|&j| self.same(ids[j], id)) {
                slots[i] = Slot::Repeated { first };
                buffers[i] = self.pool.take(len);
            } else if let Storage::Param(param) = value.storage {
                let params = self.params.as_ref().expect("bound parameters");
                ranges[i] = params.get(param).range.clone();
                slots[i] = Slot::Param {
                    id: param,
                    accumulate: gradients.touched(param),
                };
            } else if let Some(grad) = self.values[id as usize].grad.take() {
                buffers[i] = grad;
                slots[i] = Slot::Value { accumulate: true };
            } else {
                buffers[i] = self.pool.take(len);
                slots[i] = Slot::Value { accumulate: false };
            }
        }

        let input_identities = self.identities(ids.iter().copied());
        self.gradients += 1;
        let gradient = Identity::Gradient {
            tape: self.number,
            number: self.gradients,
        };
        let started = self.profile.is_some().then(Instant::now);
        let op = &self.ops[position];
        let (slab, touched) = gradients.split();
        let moved = {
            let mut in_slab = slab
                .get_disjoint_mut(ranges.clone())
                .expect("parameters do not overlap")
                .into_iter();
            let mut in_buffers = buffers.iter_mut();
            let mut states = slots.iter();
            let mut cx = Backward {
                inputs: slices_of(&self.values, &self.params, ids.iter().copied()),
                input_shapes: shapes_of(&self.values, ids.iter().copied()),
                input_identities,
                gradient,
                outputs: slices_of(&self.values, &self.params, record.outputs.clone()),
                output_grads: std::array::from_fn(|i| output_grads[i].as_deref()),
                input_grads: std::array::from_fn(|_| {
                    let in_slab = in_slab.next().expect("a range for every input");
                    let in_buffer = in_buffers.next().expect("a buffer for every input");
                    match states.next()? {
                        Slot::None => None,
                        Slot::Value { accumulate } => Some(Grad {
                            values: in_buffer,
                            accumulate: *accumulate,
                        }),
                        Slot::Repeated { .. } => Some(Grad {
                            values: in_buffer,
                            accumulate: false,
                        }),
                        Slot::Param { accumulate, .. } => Some(Grad {
                            values: in_slab,
                            accumulate: *accumulate,
                        }),
                    }
                }),
                movable: std::array::from_fn(|i| {
                    !self.keeping && matches!(slots[i], Slot::Value { accumulate: false })
                }),
                moved: None,
                ints: &self.ints,
                pool: &mut self.pool,
                backend: &*self.backend,
                parallel: self.parallel,
            };
            op.backward(&mut cx);
            if let Some(i) = cx.input_grads.iter().position(Option::is_some) {
                panic!(
                    "{}: the backward left out the gradient of input {i}",
                    op.name()
                );
            }
            cx.moved
        };
        if let Some(i) = moved {
            let grad = output_grads[0].take().expect("the gradient of the output");
            self.pool.give(std::mem::replace(&mut buffers[i], grad));
        }
        if let (Some(profile), Some(started)) = (&mut self.profile, started) {
            profile.backward(op.name(), record.scope.as_ref(), started.elapsed());
        }

        // Repeated inputs last to first, so that each adds into a settled one.
        for i in (0..count).rev() {
            if let Slot::Repeated { first } = slots[i] {
                let extra = std::mem::take(&mut buffers[i]);
                let target: &mut [f32] = match slots[first] {
                    Slot::Param { .. } => &mut slab[ranges[first].clone()],
                    _ => &mut buffers[first],
                };
                target.iter_mut().zip(&*extra).for_each(|(t, e)| *t += e);
                self.pool.give(extra);
            }
        }
        for (i, buffer) in buffers.into_iter().enumerate().take(count) {
            match slots[i] {
                Slot::Value { .. } => self.values[ids[i] as usize].grad = Some(buffer),
                Slot::Param { id, .. } => touched[id.index()] = true,
                Slot::None | Slot::Repeated { .. } => {}
            }
        }
    }
}

fn slices_of<'a, const N: usize>(
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

fn slice_of<'a>(value: &'a Value, params: &'a Option<Params>) -> &'a [f32] {
    match &value.storage {
        Storage::Owned(buffer) => buffer,
        Storage::Param(id) => params.as_ref().expect("bound parameters").value(*id),
        Storage::Freed => panic!("tape: the value was freed by a backward"),
    }
}

fn shapes_of<const N: usize>(values: &[Value], ids: impl Iterator<Item = u32>) -> [Shape; N] {
    let mut shapes = [Shape::default(); N];
    for (shape, id) in shapes.iter_mut().zip(ids) {
        *shape = values[id as usize].shape;
    }
    shapes
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
        read(slice_of(&inner.values[self.id as usize], &inner.params))
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
