//! What a backward adds up.

use super::{ParamId, Params};
use crate::{
    backend::{Away, Backend, Identity, unique_number},
    buffer::Buffer,
};
use std::ops::Range;

/// What there is of the gradient of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// None was received since the last [`Gradients::clear`].
    Untouched,
    /// It is in the slab.
    Here,
    /// Only a device has it.
    Away,
}

/// Gradients of all parameters, laid out as their slab.
#[derive(Debug)]
pub struct Gradients {
    slab: Buffer,
    marks: Vec<Mark>,
    /// Tells these gradients from others, for backends that keep them.
    number: u64,
}

impl Gradients {
    /// No gradients yet for these parameters.
    pub fn new(params: &Params) -> Self {
        Self {
            slab: Buffer::zeros(params.slab.len()),
            marks: vec![Mark::Untouched; params.len()],
            number: unique_number(),
        }
    }

    /// Forgets all gradients; the memory is overwritten by the next ones.
    pub fn clear(&mut self) {
        self.marks.fill(Mark::Untouched);
    }

    /// Whether the parameter has received a gradient since the last
    /// [`Gradients::clear`].
    pub fn touched(&self, id: ParamId) -> bool {
        self.mark(id) != Mark::Untouched
    }

    /// Whether only a device has the gradient of a parameter.
    pub(crate) fn is_away(&self, id: ParamId) -> bool {
        self.mark(id) == Mark::Away
    }

    /// Fetches what only a device has.
    pub fn bring(&mut self, params: &Params, backend: &dyn Backend, parallel: bool) {
        for (id, param) in params.iter() {
            self.bring_one(id, param.range.clone(), backend, parallel);
        }
    }

    /// [`Gradients::bring`] for the parameter at a range of the slab.
    pub(crate) fn bring_one(
        &mut self,
        id: ParamId,
        range: Range<usize>,
        backend: &dyn Backend,
        parallel: bool,
    ) {
        if self.is_away(id) {
            let (identities, values) = (&[self.identity(id)], &mut self.slab[range]);
            backend.bring(&mut [Away { identities, values }], parallel);
            self.marks[id.index()] = Mark::Here;
        }
    }

    /// Writes zeros where no gradient was received, so that the slab can be read
    /// as a whole.
    pub fn settle(&mut self, params: &Params) {
        for (id, param) in params.iter() {
            if !self.touched(id) {
                self.slab[param.range.clone()].fill(0.0);
            }
        }
    }

    /// The gradients of all parameters; bring and settle first.
    pub fn slab(&self) -> &[f32] {
        &self.slab
    }

    /// The gradients of all parameters, to be scaled or added to.
    pub fn slab_mut(&mut self) -> &mut [f32] {
        &mut self.slab
    }

    /// Fetches sums of gradients that only a device has: of every parameter with what the
    /// summands are known by, in registration order.
    pub(crate) fn bring_sums(
        &mut self,
        params: &Params,
        sums: &[(ParamId, Vec<Identity>)],
        backend: &dyn Backend,
    ) {
        let (mut rest, mut at) = (&mut *self.slab, 0);
        let mut away = Vec::with_capacity(sums.len());
        for (id, identities) in sums {
            let range = &params.get(*id).range;
            let (_, after) = rest.split_at_mut(range.start - at);
            let (values, after) = after.split_at_mut(range.len());
            (rest, at) = (after, range.end);
            away.push(Away { identities, values });
            self.marks[id.index()] = Mark::Here;
        }
        backend.bring(&mut away, true);
    }

    /// Marks as received whatever `other` has received.
    pub(crate) fn adopt_marks(&mut self, other: &Self) {
        for (mark, &other) in self.marks.iter_mut().zip(&other.marks) {
            if *mark == Mark::Untouched {
                *mark = other;
            }
        }
    }

    /// What there is of the gradient of a parameter.
    pub(crate) fn mark(&self, id: ParamId) -> Mark {
        self.marks[id.index()]
    }

    /// What the gradient of a parameter is known by.
    pub(crate) fn identity(&self, id: ParamId) -> Identity {
        Identity::Sum {
            gradients: self.number,
            index: id.0,
        }
    }

    /// The memory and the marks of all parameters.
    pub(crate) fn split(&mut self) -> (&mut [f32], &mut [Mark]) {
        (&mut self.slab, &mut self.marks)
    }
}
