//! Gradients of parameters.

use super::{ParamId, Params};
use crate::{
    backend::{Downloads, Residence, Target},
    buffer::Buffer,
    kernels::elementwise,
};
use rayon::prelude::*;

/// Elements of the slab that one task adds up over the shards.
const BLOCK: usize = 1 << 14;

/// Gradients of all parameters, laid out as their slab.
#[derive(Debug)]
pub struct Gradients {
    slab: Buffer,
    states: Vec<State>,
}

/// The gradient of one parameter.
#[derive(Debug, Default)]
struct State {
    /// True if one was received since the last [`Gradients::clear`].
    touched: bool,
    residence: Residence,
}

impl Gradients {
    /// No gradients yet for these parameters.
    pub fn new(params: &Params) -> Self {
        Self {
            slab: Buffer::zeros(params.slab.len()),
            states: params.iter().map(|_| State::default()).collect(),
        }
    }

    /// Forgets all gradients; the memory is overwritten by the next ones.
    pub fn clear(&mut self) {
        for state in &mut self.states {
            state.touched = false;
            state.residence.discard();
        }
    }

    /// Returns whether the parameter has received a gradient since the last
    /// [`Gradients::clear`].
    pub fn touched(&self, id: ParamId) -> bool {
        self.states[id.index()].touched
    }

    /// Completes the slab, so that it can be read as a whole: writes zeros where no gradient
    /// was received, and the gradients that were deferred.
    pub fn settle(&mut self, params: &Params) {
        self.fill_untouched(params);
        for (id, _) in params.iter() {
            self.values_mut(params, id);
        }
    }

    /// Writes zeros where no gradient was received.
    pub(crate) fn fill_untouched(&mut self, params: &Params) {
        for (id, param) in params.iter() {
            if !self.touched(id) {
                self.slab[param.range.clone()].fill(0.0);
            }
        }
    }

    /// The gradients of all parameters; [settle](Gradients::settle) them first.
    pub fn slab(&self) -> &[f32] {
        &self.slab
    }

    /// The gradients of all parameters, to be scaled or added to.
    pub fn slab_mut(&mut self) -> &mut [f32] {
        &mut self.slab
    }

    /// The gradient of one parameter, to be added to.
    pub(crate) fn values_mut(&mut self, params: &Params, id: ParamId) -> &mut [f32] {
        let values = &mut self.slab[params.get(id).range.clone()];
        self.states[id.index()].residence.download(values);
        values
    }

    /// Destinations for gradients of different parameters: the first of a parameter overwrites,
    /// all others are added.
    pub(crate) fn targets<const N: usize>(
        &mut self,
        params: &Params,
        ids: [Option<ParamId>; N],
        deferrable: bool,
    ) -> [Option<Target<'_>>; N] {
        let range = |id: Option<ParamId>| id.map_or(0..0, |id| params.get(id).range.clone());
        let place = |id: Option<ParamId>| id.map_or(0..0, |id| id.index()..id.index() + 1);
        let different = "the parameters are different";
        let values = self.slab.get_disjoint_mut(ids.map(range));
        let states = self.states.get_disjoint_mut(ids.map(place));
        let mut values = values.expect(different).into_iter();
        let mut states = states.expect(different).into_iter();
        std::array::from_fn(|_| {
            let (values, states) = (values.next()?, states.next()?);
            let state = states.first_mut()?;
            let accumulate = std::mem::replace(&mut state.touched, true);
            Some(state.residence.target(values, accumulate, deferrable))
        })
    }

    /// Adds the gradients of all shards to those of the first, in their order.
    pub(crate) fn add_up(shards: &mut [Self], params: &Params) {
        let deferred: Vec<ParamId> = params
            .iter()
            .map(|(id, _)| id)
            .filter(|&id| Self::can_add_deferred(shards, params, id))
            .collect();
        let (first, others) = shards.split_first_mut().expect("a shard");
        for other in &*others {
            for (state, other) in first.states.iter_mut().zip(&other.states) {
                state.touched |= other.touched;
            }
        }
        let sums = first.slab.par_chunks_mut(BLOCK);
        sums.enumerate().for_each(|(block, sum)| {
            let start = block * BLOCK;
            for (id, range) in params.within(start..start + sum.len()) {
                if deferred.binary_search(&id).is_err() {
                    for other in &*others {
                        let addend = &other.slab[range.clone()];
                        let sum = &mut sum[range.start - start..range.end - start];
                        elementwise::copy(sum, true, addend);
                    }
                }
            }
        });
        Self::add_deferred(first, others, params, &deferred);
    }

    /// Returns whether all shards that have a gradient of the parameter have deferred it. If only
    /// some have, theirs are downloaded.
    fn can_add_deferred(shards: &mut [Self], params: &Params, id: ParamId) -> bool {
        let states = || shards.iter().map(|shard| &shard.states[id.index()]);
        let deferred = states().filter(|s| s.residence.is_deferred()).count();
        if deferred == 0 {
            return false;
        }
        if deferred == states().filter(|state| state.touched).count() {
            return true;
        }
        for shard in shards {
            shard.values_mut(params, id);
        }
        false
    }

    /// Downloads sums of deferred gradients over the shards to the slab of the first.
    fn add_deferred(first: &mut Self, others: &mut [Self], params: &Params, ids: &[ParamId]) {
        let (mut slab, mut at) = (&mut *first.slab, 0);
        let mut downloads = Downloads::default();
        for id in ids {
            let range = &params.get(*id).range;
            let (_, rest) = std::mem::take(&mut slab).split_at_mut(range.start - at);
            let (values, rest) = rest.split_at_mut(range.len());
            (slab, at) = (rest, range.end);
            let others = others.iter_mut().map(|other| &mut other.states);
            let states = std::iter::once(&mut first.states).chain(others);
            let shares = states.map(|states| &mut states[id.index()].residence);
            downloads.add(shares, values);
        }
        downloads.run();
    }
}
