//! The backward: records walked from last to first.

use super::{
    Tape, Var,
    arena::{Arena, Storage, shapes_of, slices_of},
};
use crate::{
    backend::Identity,
    buffer::Buffer,
    op::{Backward, Grad, MAX_INPUTS, MAX_OUTPUTS},
    params::{Gradients, ParamId},
};
use std::{ops::Range, time::Instant};

impl Tape {
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
}

/// Where the gradients of the inputs of a record are held during its backward.
#[derive(Default)]
struct Places {
    slots: [Slot; MAX_INPUTS],
    buffers: [Buffer; MAX_INPUTS],
    ranges: [Range<usize>; MAX_INPUTS],
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
        let inputs = self.records[position].inputs.clone();
        let mut ids = [0; MAX_INPUTS];
        let count = inputs.len();
        ids[..count].copy_from_slice(&self.edges[inputs]);
        let ids = &ids[..count];
        let mut places = self.places_of(ids, gradients);

        let input_identities = self.identities(ids.iter().copied());
        self.gradients += 1;
        let gradient = Identity::Gradient {
            tape: self.number,
            number: self.gradients,
        };
        let record = &self.records[position];
        let started = self.profile.is_some().then(Instant::now);
        let op = &self.ops[position];
        let (slab, touched) = gradients.split();
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
            self.pool
                .give(std::mem::replace(&mut places.buffers[i], grad));
        }
        if let (Some(profile), Some(started)) = (&mut self.profile, started) {
            profile.backward(op.name(), record.scope.as_ref(), started.elapsed());
        }
        self.settle(ids, places, slab, touched);
    }

    /// Finds a place for the gradient of every input that needs one.
    fn places_of(&mut self, ids: &[u32], gradients: &Gradients) -> Places {
        let mut places = Places::default();
        let Places {
            slots,
            buffers,
            ranges,
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
        places
    }

    /// Adds up what the places hold and makes it the gradients of the inputs.
    fn settle(&mut self, ids: &[u32], places: Places, slab: &mut [f32], touched: &mut [bool]) {
        let Places {
            slots,
            mut buffers,
            ranges,
        } = places;
        // Last to first, so that each repeated input adds into a settled one.
        for i in (0..ids.len()).rev() {
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
        for (i, buffer) in buffers.into_iter().enumerate().take(ids.len()) {
            match slots[i] {
                Slot::Value { .. } => self.values[ids[i] as usize].grad = Some(buffer),
                Slot::Param { id, .. } => touched[id.index()] = true,
                Slot::None | Slot::Repeated { .. } => {}
            }
        }
    }
}
