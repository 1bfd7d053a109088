//! Registration of the parameters of a network.

use super::{Decay, Init, Param, ParamId, Params, Part};
use crate::{backend::unique_number, buffer::Buffer, rng::Key, shape::Shape};
use std::{collections::HashSet, sync::Arc};

/// Parameters start at multiples of this many elements (one cache line).
const ALIGNMENT: usize = 16;

/// Registers the parameters of a network under nested paths.
pub struct Builder {
    entries: Vec<Param>,
    /// The names of all parts.
    names: HashSet<String>,
    /// Elements of the slab so far.
    length: usize,
    /// The slab, if there is to be one.
    values: Option<Vec<f32>>,
    path: String,
    key: Key,
    trainable: bool,
}

impl Builder {
    /// An empty network whose initialisation is sampled from `key`.
    pub fn new(key: Key) -> Self {
        Self {
            values: Some(Vec::new()),
            ..Self::of_shapes(key)
        }
    }

    /// An empty network that is to be counted, not used: its parameters have names and shapes,
    /// but no memory is taken for their elements.
    pub fn of_shapes(key: Key) -> Self {
        Self {
            entries: Vec::new(),
            names: HashSet::new(),
            length: 0,
            values: None,
            path: String::new(),
            key,
            trainable: true,
        }
    }

    /// Returns whether memory is taken for the elements of the parameters.
    pub fn holds_values(&self) -> bool {
        self.values.is_some()
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

    /// Registers what `build` registers outside all scopes: what belongs to the whole network,
    /// although a part of it registers it.
    pub fn at_root<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::take(&mut self.path);
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
        let start = self.length;
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
                    self.names.insert(part.name.clone()),
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
        self.length = offset.next_multiple_of(ALIGNMENT);
        if let Some(values) = &mut self.values {
            values.resize(self.length, 0.0);
            for part in &parts {
                init.fill(self.key.named(&part.name), &mut values[part.range.clone()]);
            }
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
            slab: Arc::new(Buffer::copy_of(&self.values.unwrap_or_default())),
            network: unique_number(),
            version: unique_number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::network, *};

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
    fn weights_of_one_shape_start_differently_whatever_they_are_called_and_wherever() {
        let init = Init::Normal { std: 1.0 };
        let mut b = Builder::new(Key::new(1));
        for scope in ["", "blocks.0", "blocks.1", "blocks.10"] {
            b.scope(scope, |b| {
                for name in ["a", "b"] {
                    b.param(name, [4], Decay::Yes, init.clone());
                }
                let parts = [("q", [1, 4].into()), ("k", [1, 4].into())];
                b.fused("qk", &parts, [2, 4], Decay::Yes, &init);
            });
        }
        let params = b.finish();
        let starts: Vec<&[f32]> = params
            .parts()
            .map(|part| &params.slab()[part.range.clone()])
            .collect();
        assert_eq!(starts.len(), 16);
        for (i, start) in starts.iter().enumerate() {
            assert!(!starts[..i].contains(start), "the start of weight {i}");
        }
    }

    #[test]
    fn a_network_of_shapes_has_the_layout_of_the_real_one_and_no_elements() {
        let shape = [1 << 20, 1 << 20];
        let mut builder = Builder::of_shapes(Key::new(1));
        builder.param("large", shape, Decay::Yes, Init::Zeros);
        let id = builder.param("small", [3], Decay::No, Init::Ones);
        let params = builder.finish();
        assert_eq!(params.get(id).range, 1 << 40..(1 << 40) + 3);
        assert!(params.slab().is_empty());
    }

    #[test]
    fn the_root_is_outside_all_scopes() {
        let mut builder = Builder::new(Key::new(1));
        builder.scope("a", |b| {
            b.at_root(|b| b.param("head", [1], Decay::No, Init::Ones));
            b.param("b", [1], Decay::No, Init::Ones);
        });
        let params = builder.finish();
        let names: Vec<&str> = params.parts().map(|part| &*part.name).collect();
        assert_eq!(names, ["head", "a.b"]);
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
}
