//! The backward: records walked from last to first.

use super::{
    Tape, Var,
    arena::{Arena, Storage, away_of, shapes_of, slices_of},
};
use crate::{
    backend::{Identity, Place},
    buffer::Buffer,
    op::{Backward, Grad, MAX_INPUTS, MAX_OUTPUTS},
    params::{Gradients, Mark, ParamId},
};
use std::{
    iter, mem,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

impl Tape {
    /// Adds to `gradients` the gradient of a scalar with respect to every parameter
    /// that it depends on. Values of the tape are freed on the way. A tape that
    /// [leaves](Tape::set_leaving) results on a device does so with gradients too:
    /// [`Gradients::bring`] fetches them.
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
        // What an earlier backward has left.
        inner.bring_gradients(0..inner.values.len() as u32);
        inner.passes += 1;
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
        let inner = &mut *self.inner.borrow_mut();
        inner.bring_gradients(iter::once(var.id));
        let value = &inner.values[var.id as usize];
        match &value.grad {
            Some(grad) => grad.to_vec(),
            None => vec![0.0; value.shape.len()],
        }
    }
}

/// Where the gradients of the inputs of a record are held during its backward.
#[derive(Default)]
struct Places {
    slots: [Slot; MAX_INPUTS],
    buffers: [Buffer; MAX_INPUTS],
    ranges: [Range<usize>; MAX_INPUTS],
    /// Whether only a device has the gradient, before and after.
    away: [AtomicBool; MAX_INPUTS],
}

/// How the gradient of one input of a record is held during its backward.
#[derive(Default)]
enum Slot {
    /// Not needed.
    #[default]
    None,
    /// A buffer that becomes (or is) the gradient of the value.
    Value { accumulate: bool },
    /// A range of the parameter slab.
    Param { id: ParamId, accumulate: bool },
    /// The same value is also input `first`: a buffer to be added there.
    Repeated { first: usize },
}

impl Arena {
    /// Whether two values are one and the same memory.
    fn same(&self, a: u32, b: u32) -> bool {
        let storage = |id: u32| &self.values[id as usize].storage;
        match (storage(a), storage(b)) {
            (Storage::Param(a), Storage::Param(b)) => a == b,
            _ => a == b,
        }
    }

    /// Hands the gradients of a record's outputs on to its inputs and frees the outputs.
    fn backward_of(&mut self, position: usize, gradients: &mut Gradients) {
        let outputs = self.records[position].outputs.clone();
        if !self.ops[position].takes_away() {
            self.bring_gradients(outputs.clone());
        }
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
            self.forget(id);
            let value = &mut self.values[id as usize];
            let storage = mem::replace(&mut value.storage, Storage::Freed);
            if let Storage::Owned(buffer) = storage {
                self.pool.give(buffer);
            }
        }
    }

    /// Lets go of what only a device has of a value.
    fn forget(&mut self, id: u32) {
        let identity = self.gradient_identity(id);
        let value = &mut self.values[id as usize];
        if mem::take(&mut value.grad_away) {
            self.backend.forget(identity);
        }
        if mem::take(&mut value.away) {
            self.backend.forget(Identity::Value {
                tape: self.number,
                number: id,
            });
        }
    }

    fn run_backward(
        &mut self,
        position: usize,
        output_grads: &mut [Option<Buffer>; MAX_OUTPUTS],
        gradients: &mut Gradients,
    ) {
        let inputs = self.records[position].inputs.clone();
        let mut ids = [0; MAX_INPUTS];
        let count = inputs.len();
        ids[..count].copy_from_slice(&self.edges[inputs]);
        let ids = &ids[..count];
        let started = self.profile.is_some().then(Instant::now);
        let takes_away = self.ops[position].takes_away();
        if !takes_away {
            self.bring(ids.iter().copied());
            self.bring(self.records[position].outputs.clone());
        }
        // What is added to itself has to be here for that.
        let repeated = (1..count).any(|i| (0..i).any(|j| self.same(ids[j], ids[i])));
        let leaves = self.leaves() && !repeated;
        if !(takes_away && leaves) {
            self.bring_gradients(ids.iter().copied());
            self.bring_sums(ids, gradients);
        }
        let mut places = self.places_of(ids, gradients);

        let input_identities = self.identities(ids.iter().copied());
        let first = self.records[position].outputs.start;
        let gradient = self.gradient_identity(first);
        let identity_of = |i: usize| match places.slots[i] {
            Slot::Value { .. } => Some(self.gradient_identity(ids[i])),
            Slot::Param { id, .. } => Some(gradients.identity(id)),
            Slot::None | Slot::Repeated { .. } => None,
        };
        let identities: [_; MAX_INPUTS] = std::array::from_fn(identity_of);
        let record = &self.records[position];
        let op = &self.ops[position];
        let (slab, marks) = gradients.split();
        let moved = {
            let mut in_slab = slab
                .get_disjoint_mut(places.ranges.clone())
                .expect("parameters do not overlap")
                .into_iter();
            let mut in_buffers = places.buffers.iter_mut();
            let mut states = places.slots.iter();
            let mut cx = Backward {
                inputs: slices_of(&self.values, &self.params, ids.iter().copied()),
                input_shapes: shapes_of(&self.values, ids.iter().copied()),
                input_identities,
                input_away: away_of(&self.values, ids.iter().copied()),
                gradient,
                gradient_away: self.values[first as usize].grad_away,
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
                places: std::array::from_fn(|i| {
                    let away = Some(&places.away[i]);
                    let identity = identities[i].filter(|_| leaves)?;
                    Some(Place { identity, away })
                }),
                movable: std::array::from_fn(|i| {
                    !self.keeping && matches!(places.slots[i], Slot::Value { accumulate: false })
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
            self.pool.give(mem::replace(&mut places.buffers[i], grad));
        }
        if let (Some(profile), Some(started)) = (&mut self.profile, started) {
            profile.backward(op.name(), record.scope.as_ref(), started.elapsed());
        }
        self.settle(ids, places, slab, marks);
    }

    /// Fetches gradients of parameters among the inputs that only a device has.
    fn bring_sums(&self, ids: &[u32], gradients: &mut Gradients) {
        for &id in ids {
            if let (Storage::Param(param), Some(params)) =
                (&self.values[id as usize].storage, &self.params)
            {
                let range = params.get(*param).range.clone();
                gradients.bring_one(*param, range, &*self.backend, self.parallel);
            }
        }
    }

    /// Finds a place for the gradient of every input that needs one.
    fn places_of(&mut self, ids: &[u32], gradients: &Gradients) -> Places {
        let mut places = Places::default();
        let Places {
            slots,
            buffers,
            ranges,
            away,
        } = &mut places;
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
                *away[i].get_mut() = gradients.is_away(param);
                slots[i] = Slot::Param {
                    id: param,
                    accumulate: gradients.touched(param),
                };
            } else if let Some(grad) = self.values[id as usize].grad.take() {
                *away[i].get_mut() = self.values[id as usize].grad_away;
                buffers[i] = grad;
                slots[i] = Slot::Value { accumulate: true };
            } else {
                buffers[i] = self.pool.take(len);
                slots[i] = Slot::Value { accumulate: false };
            }
        }
        places
    }

    /// Adds up what the places hold and makes it the gradients of the inputs.
    fn settle(&mut self, ids: &[u32], places: Places, slab: &mut [f32], marks: &mut [Mark]) {
        let Places {
            slots,
            mut buffers,
            ranges,
            away,
        } = places;
        // Last to first, so that each repeated input adds into a settled one.
        for i in (0..ids.len()).rev() {
            if let Slot::Repeated { first } = slots[i] {
                let extra = mem::take(&mut buffers[i]);
                let target: &mut [f32] = match slots[first] {
                    Slot::Param { .. } => &mut slab[ranges[first].clone()],
                    _ => &mut buffers[first],
                };
                target.iter_mut().zip(&*extra).for_each(|(t, e)| *t += e);
                self.pool.give(extra);
            }
        }
        for (i, buffer) in buffers.into_iter().enumerate().take(ids.len()) {
            match slots[i] {
                Slot::Value { .. } => {
                    let value = &mut self.values[ids[i] as usize];
                    value.grad = Some(buffer);
                    value.grad_away = away[i].load(Ordering::Relaxed);
                }
                Slot::Param { id, .. } => {
                    marks[id.index()] = match away[i].load(Ordering::Relaxed) {
                        true => Mark::Away,
                        false => Mark::Here,
                    };
                }
                Slot::None | Slot::Repeated { .. } => {}
            }
        }
    }
}
