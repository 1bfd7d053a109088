//! The backward: records walked from last to first.

use super::{
    Tape, Var,
    arena::{Arena, Record, Storage, operands_of, shapes_of},
};
use crate::{
    backend::{Stored, Target},
    op::{Backward, MAX_INPUTS, MAX_OUTPUTS, Op},
    params::{Gradients, ParamId},
};
use std::{mem, time::Instant};

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
                Some(grad) => add(grad.values_mut(true), cotangent),
                None => {
                    let mut grad = inner.pool.take(cotangent.len());
                    grad.copy_from_slice(cotangent);
                    value.grad = Some(grad.into());
                }
            }
        }
        // Out of the tape while they are walked.
        let (records, ops) = (mem::take(&mut inner.records), mem::take(&mut inner.ops));
        let edges = mem::take(&mut inner.edges);
        for (record, op) in records.iter().zip(&ops).rev() {
            inner.run_backward(&**op, record, &edges[record.inputs.clone()], gradients);
        }
        (inner.records, inner.ops, inner.edges) = (records, ops, edges);
    }

    /// The gradient that a leaf made by [`Tape::input`] received, or any value of a
    /// tape that [keeps](Tape::set_keeping) them; zeros if none.
    pub fn grad(&self, var: Var<'_>) -> Vec<f32> {
        let value = &self.inner.borrow().values[var.id as usize];
        match &value.grad {
            Some(grad) => grad.to_vec(),
            None => vec![0.0; value.shape.len()],
        }
    }
}

/// Destination of the gradient of one input of a record.
#[derive(Default)]
enum Destination {
    /// Not needed.
    #[default]
    None,
    /// The gradient of a value, to which later records may have contributed already.
    Value { gradient: Stored, accumulate: bool },
    /// The gradient of a parameter.
    Param(ParamId),
    /// The same value is also input `first`: a share of that one's gradient.
    Share { share: Stored, first: usize },
}

fn add(sum: &mut [f32], share: &[f32]) {
    sum.iter_mut().zip(share).for_each(|(sum, x)| *sum += x);
}

impl Arena {
    /// The chain rule for one record. The gradients of its outputs are complete, as all
    /// later records have run; the operation makes of them its share of the gradients of
    /// its inputs. Nobody needs the outputs any more then.
    fn run_backward(
        &mut self,
        op: &dyn Op,
        record: &Record,
        inputs: &[u32],
        gradients: &mut Gradients,
    ) {
        let mut output_grads: [Option<Stored>; MAX_OUTPUTS] = Default::default();
        for (grad, id) in output_grads.iter_mut().zip(record.outputs.clone()) {
            *grad = self.values[id as usize].grad.take();
        }
        if output_grads.iter().any(Option::is_some) {
            let started = self.profile.is_some().then(Instant::now);
            let mut destinations = self.destinations(inputs);
            let mut cx = Backward {
                inputs: operands_of(&self.values, &self.params, inputs.iter().copied()),
                input_shapes: shapes_of(&self.values, inputs.iter().copied()),
                outputs: operands_of(&self.values, &self.params, record.outputs.clone()),
                output_grads: output_grads.each_ref().map(Option::as_ref),
                movable: destinations.each_ref().map(|to| self.is_movable(to)),
                input_grads: self.targets(&mut destinations, gradients),
                moved: None,
                ints: &self.ints,
                pool: &mut self.pool,
                backend: &*self.backend,
                parallel: self.parallel,
            };
            op.backward(&mut cx);
            let moved = cx.finish(op.name());
            if let Some(Destination::Value { gradient, .. }) = moved.map(|i| &mut destinations[i]) {
                mem::swap(
                    gradient,
                    output_grads[0].as_mut().expect("the gradient moved"),
                );
            }
            if let (Some(profile), Some(started)) = (&mut self.profile, started) {
                profile.backward(op.name(), record.scope.as_ref(), started.elapsed());
            }
            self.settle(inputs, destinations, gradients);
        }
        for (id, grad) in record.outputs.clone().zip(output_grads) {
            match self.keeping {
                true => self.values[id as usize].grad = grad,
                false => self.free(id, grad),
            }
        }
    }

    /// Finds a destination for the gradient of every input that needs one.
    fn destinations(&mut self, inputs: &[u32]) -> [Destination; MAX_INPUTS] {
        let mut destinations: [Destination; MAX_INPUTS] = Default::default();
        for (i, &id) in inputs.iter().enumerate() {
            let same = (0..i).find(|&j| self.same(inputs[j], id));
            let value = &mut self.values[id as usize];
            if !value.needs_grad {
                continue;
            }
            let mut unwritten = || Stored::from(self.pool.take(value.shape.len()));
            destinations[i] = match (same, &value.storage, value.grad.take()) {
                (Some(first), _, grad) => {
                    value.grad = grad;
                    Destination::Share {
                        share: unwritten(),
                        first,
                    }
                }
                (None, Storage::Param(param), _) => Destination::Param(*param),
                (None, _, grad) => Destination::Value {
                    accumulate: grad.is_some(),
                    gradient: grad.unwrap_or_else(unwritten),
                },
            };
        }
        destinations
    }

    /// Returns whether two values are one and the same memory.
    fn same(&self, a: u32, b: u32) -> bool {
        let storage = |id: u32| &self.values[id as usize].storage;
        match (storage(a), storage(b)) {
            (Storage::Param(a), Storage::Param(b)) => a == b,
            _ => a == b,
        }
    }

    /// Returns whether the gradient of an output may become the one of an input as it is.
    fn is_movable(&self, destination: &Destination) -> bool {
        let unwritten = matches!(
            destination,
            Destination::Value {
                accumulate: false,
                ..
            }
        );
        unwritten && !self.keeping
    }

    /// The memory of the destinations.
    fn targets<'a>(
        &self,
        destinations: &'a mut [Destination; MAX_INPUTS],
        gradients: &'a mut Gradients,
    ) -> [Option<Target<'a>>; MAX_INPUTS] {
        let params = destinations
            .each_ref()
            .map(|destination| match destination {
                Destination::Param(id) => Some(*id),
                _ => None,
            });
        let mut targets = match &self.params {
            Some(all) => gradients.targets(all, params, self.deferring),
            None => Default::default(),
        };
        for (target, destination) in targets.iter_mut().zip(destinations) {
            match destination {
                Destination::Value {
                    gradient,
                    accumulate,
                } => *target = Some(gradient.gradient_target(*accumulate, self.deferring)),
                Destination::Share { share, .. } => {
                    *target = Some(share.gradient_target(false, false));
                }
                Destination::Param(_) | Destination::None => {}
            }
        }
        targets
    }

    /// Makes what is in the destinations the gradients of the inputs.
    fn settle(
        &mut self,
        inputs: &[u32],
        mut destinations: [Destination; MAX_INPUTS],
        gradients: &mut Gradients,
    ) {
        for i in (0..inputs.len()).rev() {
            let Destination::Share { share, first } = &mut destinations[i] else {
                continue;
            };
            let (share, first) = (mem::take(share), *first);
            match (&mut destinations[first], &self.params) {
                (Destination::Value { gradient, .. }, _) => add(gradient.values_mut(true), &share),
                (Destination::Param(id), Some(params)) => {
                    add(gradients.values_mut(params, *id), &share);
                }
                _ => unreachable!("the first of several shares is no share"),
            }
            self.pool.give(share.into_buffer());
        }
        for (destination, &id) in destinations.into_iter().zip(inputs) {
            if let Destination::Value { gradient, .. } = destination {
                self.values[id as usize].grad = Some(gradient);
            }
        }
    }
}

impl Backward<'_> {
    /// The input to which the gradient of output 0 has moved.
    ///
    /// # Panics
    /// If the operation has left out the gradient of an input.
    fn finish(self, name: &str) -> Option<usize> {
        if let Some(i) = self.input_grads.iter().position(Option::is_some) {
            panic!("{name}: the backward left out the gradient of input {i}");
        }
        self.moved
    }
}
