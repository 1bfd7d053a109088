//! What a backward adds up.

use super::{ParamId, Params};
use crate::buffer::Buffer;

/// Gradients of all parameters, laid out as their slab.
#[derive(Clone, Debug)]
pub struct Gradients {
    slab: Buffer,
    touched: Vec<bool>,
}

impl Gradients {
    /// No gradients yet for these parameters.
    pub fn new(params: &Params) -> Self {
        Self {
            slab: Buffer::zeros(params.slab.len()),
            touched: vec![false; params.len()],
        }
    }

    /// Forgets all gradients; the memory is overwritten by the next ones.
    pub fn clear(&mut self) {
        self.touched.fill(false);
    }

    /// Whether the parameter has received a gradient since the last
    /// [`Gradients::clear`].
    pub fn touched(&self, id: ParamId) -> bool {
        self.touched[id.index()]
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

    /// The gradients of all parameters; settle first.
    pub fn slab(&self) -> &[f32] {
        &self.slab
    }

    /// The gradients of all parameters, to be scaled or added to.
    pub fn slab_mut(&mut self) -> &mut [f32] {
        &mut self.slab
    }

    /// The memory and the marks of which parameters were reached.
    pub(crate) fn split(&mut self) -> (&mut [f32], &mut [bool]) {
        (&mut self.slab, &mut self.touched)
    }

    /// Marks as received whatever `other` has received.
    pub(crate) fn adopt_marks(&mut self, other: &Gradients) {
        for (mark, &other) in self.touched.iter_mut().zip(&other.touched) {
            *mark |= other;
        }
    }
}
