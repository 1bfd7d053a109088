//! Parameters: one contiguous slab, named by path, in registration order.

mod builder;
mod gradients;
mod init;

pub use builder::Builder;
pub use gradients::Gradients;
pub use init::Init;

use crate::{
    backend::{Operand, ParameterVersion, unique_number},
    buffer::Buffer,
    shape::Shape,
};
use std::{ops::Range, sync::Arc};

/// Weight decay of a parameter, on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decay {
    /// Decayed: matrices and embeddings, the dynamic parts of connections.
    Yes,
    /// Never decayed: norms, biases, scalars, the static parts of connections.
    No,
}

/// A handle to one parameter of a [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(u32);

impl ParamId {
    /// The position in registration order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named run of rows of a parameter.
///
/// A fused parameter (`q | k | v` in one matrix) is one product in the network but
/// is initialised, stored and shown as its parts.
#[derive(Clone, Debug)]
pub struct Part {
    /// The full path.
    pub name: String,
    /// The shape of this part.
    pub shape: Shape,
    /// The elements of the slab.
    pub range: Range<usize>,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// The full path, `blocks.3.attn_connection.static_alpha`.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// The elements of the slab.
    pub range: Range<usize>,
    /// Weight decay, on or off.
    pub decay: Decay,
    /// True if it is trained; a frozen parameter gets no gradient.
    pub trainable: bool,
    /// Named parts, in order of rows; a single one unless it is fused.
    pub parts: Vec<Part>,
}

/// All parameters of a network.
#[derive(Clone, Debug, Default)]
pub struct Params {
    entries: Arc<Vec<Param>>,
    slab: Arc<Buffer>,
    /// Tells these parameters from those of other networks, for backends that keep them.
    network: u64,
    /// Changes whenever the slab may have.
    version: u64,
}

impl Params {
    /// The parameters in registration order.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Param)> {
        self.entries
            .iter()
            .enumerate()
            .map(|(i, param)| (ParamId(i as u32), param))
    }

    /// One parameter.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.entries[id.index()]
    }

    /// The parameters that have elements in a range of the slab, with the range of these.
    pub(crate) fn within(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (ParamId, Range<usize>)> {
        let entries = &self.entries;
        let first = entries.partition_point(|param| param.range.end <= range.start);
        let rest = entries[first..].iter().zip(first as u32..);
        rest.take_while(move |(param, _)| param.range.start < range.end)
            .map(move |(param, i)| {
                let here = param.range.start.max(range.start)..param.range.end.min(range.end);
                (ParamId(i), here)
            })
    }

    /// Number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of elements of all parameters together.
    pub fn elements(&self) -> usize {
        self.entries.iter().map(|param| param.shape.len()).sum()
    }

    /// The named tensors in registration order: the parts of every parameter.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.entries.iter().flat_map(|param| &param.parts)
    }

    /// The part with this name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts().find(|part| part.name == name)
    }

    /// The elements of one parameter.
    pub fn value(&self, id: ParamId) -> &[f32] {
        &self.slab[self.get(id).range.clone()]
    }

    /// The whole slab: parameters in registration order, gaps of less than a cache
    /// line between them, which stay zero.
    pub fn slab(&self) -> &[f32] {
        &self.slab
    }

    /// The whole slab, to be changed.
    ///
    /// # Panics
    /// If a tape still reads it: reset every tape before the update.
    #[track_caller]
    pub fn slab_mut(&mut self) -> &mut [f32] {
        self.version = unique_number();
        Arc::get_mut(&mut self.slab)
            .expect("parameters: a tape still reads them; reset it before the update")
    }

    /// Sets the elements of one named tensor.
    ///
    /// # Panics
    /// If the number of elements differs or a tape still reads the parameters.
    #[track_caller]
    pub fn set(&mut self, range: Range<usize>, values: &[f32]) {
        self.slab_mut()[range].copy_from_slice(values);
    }

    /// The same parameters in memory of their own, to be changed apart.
    pub fn detached(&self) -> Self {
        Self {
            entries: Arc::clone(&self.entries),
            slab: Arc::new(Buffer::clone(&self.slab)),
            network: unique_number(),
            version: self.version,
        }
    }

    /// A parameter as a factor of products, known to be the same until the slab changes.
    pub fn operand(&self, id: ParamId) -> Operand<'_> {
        let version = ParameterVersion {
            network: self.network,
            start: self.get(id).range.start,
            version: self.version,
        };
        Operand::parameter(self.value(id), version)
    }

    /// The same parameters, memory shared; see [`Params::slab_mut`].
    pub(crate) fn share(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    pub(super) fn network(with_connection: bool) -> Params {
        let mut builder = Builder::new(Key::new(3));
        builder.scope("blocks.0", |b| {
            if with_connection {
                b.param("connection.static_beta", [4], Decay::No, Init::Ones);
            }
            b.param("ffn.weight", [3, 5], Decay::Yes, Init::Normal { std: 0.1 });
        });
        builder.finish()
    }

    #[test]
    fn adding_a_parameter_changes_no_other_initialisation() {
        let (a, b) = (network(false), network(true));
        let weight =
            |p: &Params| p.slab()[p.part("blocks.0.ffn.weight").unwrap().range.clone()].to_vec();
        assert_eq!(weight(&a), weight(&b));
        assert!(weight(&a).iter().any(|&x| x != 0.0));
    }

    #[test]
    #[should_panic(expected = "a tape still reads them")]
    fn an_update_under_a_living_tape_is_refused() {
        let mut params = network(false);
        let _shared = params.share();
        params.slab_mut();
    }

    #[test]
    fn windows_of_the_slab_find_every_element_of_every_parameter_once() {
        let params = network(true);
        let len = params.slab().len();
        for window in [1, 3, 16, 17, len] {
            let mut found = vec![Vec::new(); params.len()];
            for start in (0..len).step_by(window) {
                let end = len.min(start + window);
                for (id, range) in params.within(start..end) {
                    assert!(start <= range.start && range.end <= end);
                    found[id.index()].extend(range);
                }
            }
            for (id, param) in params.iter() {
                assert_eq!(found[id.index()], Vec::from_iter(param.range.clone()));
            }
        }
    }
}
