//! Parameters: one contiguous slab, named by path, in registration order.

use crate::{
    backend::{Identity, unique_number},
    buffer::Buffer,
    rng::Key,
    shape::Shape,
};
use rand::distr::Distribution;
use rand_distr::{Normal, Uniform};
use std::{ops::Range, sync::Arc};

/// Parameters start at multiples of this many elements (one cache line).
const ALIGNMENT: usize = 16;

/// How the elements of a parameter start.
#[derive(Clone, Debug)]
pub enum Init {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// All the same.
    Constant(f32),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half the width of the interval.
        bound: f32,
    },
    /// Normal with mean zero.
    Normal {
        /// The standard deviation.
        std: f32,
    },
    /// Normal with mean zero, redrawn where it is more than `cut` standard
    /// deviations from it.
    TruncatedNormal {
        /// The standard deviation before the cut.
        std: f32,
        /// The cut in standard deviations.
        cut: f32,
    },
    /// These elements.
    Values(Vec<f32>),
}

impl Init {
    fn fill(&self, key: Key, out: &mut [f32]) {
        match self {
            Init::Zeros => out.fill(0.0),
            Init::Ones => out.fill(1.0),
            Init::Constant(value) => out.fill(*value),
            Init::Uniform { bound } => {
                let mut rng = key.rng();
                let uniform = Uniform::new(-bound, *bound).expect("a positive finite bound");
                out.fill_with(|| uniform.sample(&mut rng));
            }
            Init::Normal { std } => {
                let mut rng = key.rng();
                let normal = Normal::new(0.0, *std).expect("a finite standard deviation");
                out.fill_with(|| normal.sample(&mut rng));
            }
            Init::TruncatedNormal { std, cut } => {
                let mut rng = key.rng();
                let normal = Normal::new(0.0, 1.0).expect("unit normal");
                out.fill_with(|| {
                    loop {
                        let x: f32 = normal.sample(&mut rng);
                        if x.abs() <= *cut {
                            return x * std;
                        }
                    }
                });
            }
            Init::Values(values) => {
                assert_eq!(values.len(), out.len(), "init: wrong number of values");
                out.copy_from_slice(values);
            }
        }
    }
}

/// Whether weight decay applies to a parameter.
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
    /// Whether weight decay applies.
    pub decay: Decay,
    /// Whether it is trained; a frozen parameter gets no gradient.
    pub trainable: bool,
    /// Its named parts, in order of rows; a single one unless it is fused.
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

    /// How many parameters (tensors) there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many elements all parameters have together.
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

    /// What the elements of a parameter are known by until they change.
    pub fn identity(&self, id: ParamId) -> Identity {
        Identity::Parameter {
            network: self.network,
            index: id.0,
            start: 0,
            len: self.get(id).range.len(),
            version: self.version,
        }
    }

    /// The same parameters, memory shared; see [`Params::slab_mut`].
    pub(crate) fn share(&self) -> Self {
        self.clone()
    }
}

/// Registers the parameters of a network under nested paths.
pub struct Builder {
    entries: Vec<Param>,
    values: Vec<f32>,
    path: String,
    key: Key,
    trainable: bool,
}

impl Builder {
    /// An empty network whose initialisation draws from `key`.
    pub fn new(key: Key) -> Self {
        Self {
            entries: Vec::new(),
            values: Vec::new(),
            path: String::new(),
            key,
            trainable: true,
        }
    }

    /// The path of `name` here.
    pub fn path(&self, name: &str) -> String {
        match (self.path.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (_, true) => self.path.clone(),
            _ => format!("{}.{name}", self.path),
        }
    }

    /// Registers what `build` registers below `name`.
    pub fn scope<T>(&mut self, name: impl AsRef<str>, build: impl FnOnce(&mut Self) -> T) -> T {
        let path = self.path(name.as_ref());
        let outer = std::mem::replace(&mut self.path, path);
        let result = build(self);
        self.path = outer;
        result
    }

    /// Registers what `build` registers as frozen if `frozen`.
    pub fn frozen_if<T>(&mut self, frozen: bool, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.trainable;
        self.trainable = outer && !frozen;
        let result = build(self);
        self.trainable = outer;
        result
    }

    /// Registers a parameter.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    pub fn param(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        decay: Decay,
        init: Init,
    ) -> ParamId {
        let shape = shape.into();
        self.fused(name, &[(name, shape)], shape, decay, &init)
    }

    /// Registers a parameter that consists of named parts, one below the other.
    ///
    /// # Panics
    /// If a name is taken or the parts do not add up to the shape.
    #[track_caller]
    pub fn fused(
        &mut self,
        name: &str,
        parts: &[(&str, Shape)],
        shape: impl Into<Shape>,
        decay: Decay,
        init: &Init,
    ) -> ParamId {
        let shape = shape.into();
        let name = self.path(name);
        let start = self.values.len();
        let mut offset = start;
        let parts: Vec<Part> = parts
            .iter()
            .map(|&(part, part_shape)| {
                let part = Part {
                    name: self.path(part),
                    shape: part_shape,
                    range: offset..offset + part_shape.len(),
                };
                assert!(
                    self.entries
                        .iter()
                        .flat_map(|param| &param.parts)
                        .all(|other| other.name != part.name),
                    "parameters: {} is registered twice",
                    part.name
                );
                offset = part.range.end;
                part
            })
            .collect();
        assert_eq!(
            offset - start,
            shape.len(),
            "parameters: the parts of {name} do not add up to {shape}"
        );
        self.values.resize(offset.next_multiple_of(ALIGNMENT), 0.0);
        for part in &parts {
            init.fill(
                self.key.named(&part.name),
                &mut self.values[part.range.clone()],
            );
        }
        let id = ParamId(self.entries.len() as u32);
        self.entries.push(Param {
            name,
            shape,
            range: start..offset,
            decay,
            trainable: self.trainable,
            parts,
        });
        id
    }

    /// The finished parameters.
    pub fn finish(self) -> Params {
        Params {
            entries: Arc::new(self.entries),
            slab: Arc::new(Buffer::copy_of(&self.values)),
            network: unique_number(),
            version: unique_number(),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn network(with_connection: bool) -> Params {
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
    fn a_fused_parameter_starts_like_its_parts_alone() {
        let init = Init::Uniform { bound: 0.5 };
        let mut fused = Builder::new(Key::new(1));
        let id = fused.fused(
            "qkv",
            &[("q", [2, 3].into()), ("k", [1, 3].into())],
            [3, 3],
            Decay::Yes,
            &init,
        );
        let fused = fused.finish();
        let mut apart = Builder::new(Key::new(1));
        let k = apart.param("k", [1, 3], Decay::Yes, init);
        assert_eq!(fused.value(id)[6..], *apart.finish().value(k));
    }

    #[test]
    fn parameters_start_on_cache_lines() {
        for (_, param) in network(true).iter() {
            assert_eq!(param.range.start % ALIGNMENT, 0);
        }
    }

    #[test]
    #[should_panic(expected = "registered twice")]
    fn a_name_can_be_used_once() {
        let mut builder = Builder::new(Key::new(0));
        builder.param("a", [1], Decay::No, Init::Zeros);
        builder.param("a", [1], Decay::No, Init::Zeros);
    }

    #[test]
    #[should_panic(expected = "a tape still reads them")]
    fn an_update_under_a_living_tape_is_refused() {
        let mut params = network(false);
        let _shared = params.share();
        params.slab_mut();
    }
}
